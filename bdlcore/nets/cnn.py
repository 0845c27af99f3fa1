"""Convolutional networks that evaluate a whole stack of weights at once; see `bdlcore.nets`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._support import validate
from .activations import ACTIVATIONS
from .protocol import StackedModule

PADDINGS = ("zeros", "circular")
POOLINGS = ("average", "max", "stride", "none")
HEADS = ("flatten", "mean")

# Pixels up to which a CPU convolves the images of many settings faster in groups (2.5 times at 8 x 8, 1.3 times at
# 16 x 16, 0.8 times at 28 x 28).
_SMALL_IMAGE = 400


class CNN(StackedModule):
    """A small convolutional classifier: [convolution, activation, 2x2 pooling] per channel count, then dense.

    Average pooling keeps the function smooth in its weights when the activation is. No BatchNorm (see
    `bdlcore.nets`). With `padding="circular"` the convolutions commute with (circular) shifts of the image; zero
    padding breaks that at the border, pooling for shifts that are not multiples of its step, and only
    `head="mean"` makes the outputs invariant.

    Args:
        image: (channels, height, width) of the inputs.
        channels: number of filters of each convolution.
        hidden: units of the dense layer before the outputs; 0 for none.
        outputs: number of outputs (classes).
        activation: a key of `ACTIVATIONS`.
        kernel: side of the square filters, odd; the padding keeps the size of the image.
        padding: what lies outside the image: "zeros", or "circular", the opposite side.
        pooling: "average" or "max" of 2 x 2 pixels, "stride" for a convolution evaluated at every second pixel
            instead, or "none".
        head: "flatten" gives every pixel of the last feature maps its own weight; "mean" averages each map over
            its pixels (global average pooling).
    """

    def __init__(
        self,
        image: tuple[int, int, int] = (1, 8, 8),
        channels: Sequence[int] = (8, 16),
        hidden: int = 32,
        outputs: int = 10,
        activation: str = "relu",
        *,
        kernel: int = 3,
        padding: str = "zeros",
        pooling: str = "average",
        head: str = "flatten",
    ):
        super().__init__()
        options = {
            "activation": (activation, ACTIVATIONS),
            "padding": (padding, PADDINGS),
            "pooling": (pooling, POOLINGS),
            "head": (head, HEADS),
        }
        for name, (value, known) in options.items():
            if value not in known:
                raise ValueError(f"Unknown {name} {value!r}; choose one of {', '.join(known)}.")
        if validate.count("kernel", kernel) % 2 == 0:
            raise ValueError(f"kernel must be odd, so that it has a middle; got {kernel}.")
        if pooling != "none" and min(image[1:]) < 2 ** len(channels):
            raise ValueError(
                f"{len(channels)} poolings need images of at least {2 ** len(channels)} pixels, got {image}."
            )
        self.image, self.activation, self.outputs = tuple(image), activation, outputs
        self.kernel, self.padding, self.pooling, self.head = kernel, padding, pooling, head
        counts = (image[0], *channels)
        self.stride = 2 if pooling == "stride" else 1
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, kernel, self.stride, kernel // 2, padding_mode=padding)
            for a, b in zip(counts[:-1], counts[1:], strict=True)
        )
        pixels = 1 if head == "mean" else math.prod(self.map_size)
        features = counts[-1] * pixels
        dense = [features, hidden, outputs] if hidden else [features, outputs]
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dense[:-1], dense[1:], strict=True))

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the last feature maps."""
        layers, (height, width) = len(self.convolutions), self.image[1:]
        if self.pooling == "none":
            return height, width
        if self.pooling == "stride":  # keeps the last pixel of an odd side, which 2 x 2 pooling drops
            return -(-height >> layers), -(-width >> layers)
        return height >> layers, width >> layers

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x does not fit."""
        super().check_inputs(x)
        if tuple(x.shape[1:]) != self.image:
            raise ValueError(
                f"This network takes images of shape (N, {self.image}), got x of shape {tuple(x.shape)}."
            )

    def widest_activation(self, x: Tensor) -> int:
        """Values of the largest feature maps, before pooling: the first convolution's or a wider later one's."""
        height, width = self.image[1:]
        widest = math.prod(self.image)
        for convolution in self.convolutions:
            height, width = -(-height // self.stride), -(-width // self.stride)
            widest = max(widest, convolution.out_channels * height * width)
            if self.pooling in ("average", "max"):
                height, width = height // 2, width // 2
        return max(widest, *(layer.in_features for layer in self.dense))

    def forward(self, x: Tensor) -> Tensor:
        act = ACTIVATIONS[self.activation]
        for convolution in self.convolutions:
            x = self._pool(act(convolution(x)))
        h = x.mean((2, 3)) if self.head == "mean" else x.flatten(1)
        for layer in self.dense[:-1]:
            h = act(layer(h))
        return self.dense[-1](h)

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, N, C) for weights (S, D), by grouped convolutions: one group of channels per setting.

        Larger images go one setting at a time on a CPU, where a group saves nothing any more and costs cache.
        """
        act, S = ACTIVATIONS[self.activation], len(weights)
        if S > 1 and weights.device.type == "cpu" and math.prod(self.image[1:]) > _SMALL_IMAGE:
            return torch.cat([self.forward_stack(row, x) for row in weights.split(1)])
        maps, parameters = self._maps(weights, x)
        h = maps.mean((3, 4)) if self.head == "mean" else maps.flatten(2)
        while parameters:
            W, b, *parameters = parameters
            h = torch.baddbmm(b[:, None], h, W.mT)
            h = act(h) if parameters else h
        return h

    def feature_maps(self, weights: Tensor, x: Tensor) -> Tensor:
        """The last feature maps (S, N, channels, height, width), before the head, for weights (S, D)."""
        return self._maps(weights, x)[0]

    def _maps(self, weights: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last feature maps, and the parameters of the dense layers."""
        act, S = ACTIVATIONS[self.activation], len(weights)
        shapes = [p.shape for p in self.parameters()]
        parts = weights.split([shape.numel() for shape in shapes], dim=1)
        parameters = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        h, groups = x, 1  # the first layer sees the same images whatever the setting
        for _ in self.convolutions:
            kernel, bias, *parameters = parameters
            h = self._convolve(h, kernel.flatten(0, 1), bias.flatten(), groups)
            h, groups = self._pool(act(h)), S
        return h.unflatten(1, (S, -1)).transpose(0, 1), parameters

    def _convolve(self, h: Tensor, kernel: Tensor, bias: Tensor, groups: int) -> Tensor:
        """The convolution of a layer for the maps (N, channels, height, width) of all settings at once."""
        margin = self.kernel // 2
        if self.padding == "circular":
            h, margin = F.pad(h, [margin] * 4, mode="circular"), 0
        return F.conv2d(h, kernel, bias, self.stride, margin, groups=groups)

    def _pool(self, h: Tensor) -> Tensor:
        if self.pooling == "average":
            return average_pool(h)
        return F.max_pool2d(h, 2) if self.pooling == "max" else h


def average_pool(h: Tensor) -> Tensor:
    """The means of 2 x 2 pixels of maps (N, C, H, W), without a last odd row or column, as `F.avg_pool2d(h, 2)`.

    On a CPU that takes two to nine times as long as a matrix product of pairs of rows with who belongs to whom, which
    adds up the same four numbers.
    """
    height, width = h.shape[2] // 2, h.shape[3]
    if h.device.type != "cpu" or width < 4:  # a product with a single column saves nothing
        return F.avg_pool2d(h, 2)
    pairs = h[:, :, : 2 * height].reshape(*h.shape[:2], height, 2 * width)
    return pairs @ _belonging(width, h.dtype)


@cache
@torch.inference_mode(False)
def _belonging(width: int, dtype: torch.dtype) -> Tensor:
    """(2 width, width // 2): a quarter where a pixel of a pair of rows belongs to a mean."""
    whose = torch.arange(width) // 2
    return (whose[:, None] == torch.arange(width // 2)).to(dtype).repeat(2, 1) / 4


cnn = CNN  # as `nets.cnn`
