"""A picture in a notebook that one can paint on with the mouse."""

from __future__ import annotations

import math
from pathlib import Path

import anywidget
import torch
import traitlets
from torch import Tensor


class Canvas(anywidget.AnyWidget):
    """A square picture, enlarged; with a brush, dragging the mouse over it paints a hole into it.

    The browser draws what is painted by itself; the kernel gets it at the end of each stroke. All coordinates are
    pixels of the picture: x to the right, y down, centres of pixels at whole numbers.

    Args:
        picture: (channels, side, side) in [0, 1], of one channel or three.
        brush: diameter of the brush in pixels; 0 for a picture that is only looked at.

    Attributes:
        side, picture, hole: the side, and the picture's colours and what is painted (1) as bytes.
    """

    _esm = Path(__file__).with_name("painting.js")
    side = traitlets.Int().tag(sync=True)
    brush = traitlets.Int().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    hole = traitlets.Bytes().tag(sync=True, echo_update=False)

    def __init__(self, picture: Tensor, brush: int = 0):
        side = picture.shape[-1]
        super().__init__(side=side, brush=brush, picture=_colours(picture), hole=bytes(side**2))
        self.on_msg(self._receive)

    def show(self, picture: Tensor) -> None:
        """Show another picture of the same size; what is painted stays."""
        self.picture = _colours(picture)

    def clear(self) -> None:
        """Take away all paint."""
        self.hole = bytes(self.side**2)

    def paint(self, x: float, y: float) -> None:
        """Paint a dot with the brush, as a click of the mouse does."""
        row, column = torch.arange(self.side)[:, None], torch.arange(self.side)
        reach = max(self.brush / 2, math.sqrt(0.5))  # no dot is too small to hit a pixel
        dot = (column - x) ** 2 + (row - y) ** 2 <= reach**2
        self.hole = (self.painted | dot).to(torch.uint8).numpy().tobytes()

    @property
    def painted(self) -> Tensor:
        """(side, side), True where there is paint."""
        return torch.tensor(list(self.hole), dtype=torch.bool).reshape(self.side, self.side)

    def _receive(self, _, content: dict, buffers: list[memoryview]) -> None:
        """The hole after a stroke in the browser, which need not hear of it again."""
        if content.get("event") == "painted":
            self.set_state({"hole": bytes(buffers[0])})


def _colours(picture: Tensor) -> bytes:
    colours = picture.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    return colours.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy().tobytes()
