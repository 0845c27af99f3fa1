"""What `deep_image_prior` returns: pictures at many steps, the step that it chose, and the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from ..models.stack import Stack
from ..nets.generators import Generator
from .quality import psnr


@dataclass(frozen=True, eq=False)
class Restoration:
    """S fits of a generator to what was observed, and the pictures on their way.

    The clean picture has no part in it: `psnr` compares with one afterwards, for those who have it.

    Attributes:
        network, z: the generator and its inputs (S, inputs, H, W); `network.images(stack.weights, z)` draws what the
            last step has come to, without jitter.
        stack: the weights after the last step.
        chosen: (S, channels, H, W) running average of each member at the step that its held-out values chose; the
            last one when nothing was held out.
        chosen_step: (S,) that step, counted from 1.
        steps: (F,) the steps of the frames.
        frames: (F, S, channels, H, W) pictures as drawn at those steps.
        averages: (F, S, channels, H, W) running averages at those steps.
        loss: (steps, S) mean squared error on the observed values that were fitted, with any penalty.
        held_out_error: (steps, S) mean squared error of the running average on the values held out; None without.
        seconds: wall time.
    """

    network: Generator
    z: Tensor
    stack: Stack
    chosen: Tensor
    chosen_step: Tensor
    steps: Tensor
    frames: Tensor
    averages: Tensor
    loss: Tensor
    held_out_error: Tensor | None
    seconds: float

    @property
    def image(self) -> Tensor:
        """(channels, H, W) the mean of the members' chosen pictures, for members that saw the same observation."""
        return self.chosen.mean(0)

    @property
    def std(self) -> Tensor:
        """(channels, H, W) standard deviation between the members' chosen pictures: how little they agree."""
        if len(self.chosen) < 2:
            raise ValueError(
                "One member cannot disagree with itself; fit at least two for a standard deviation."
            )
        return self.chosen.std(0)

    def psnr(self, clean: Tensor, averaged: bool = True, where: Tensor | None = None) -> Tensor:
        """(F, S) decibels of the frames (or of the running averages) against a clean picture that the fit never saw.

        Args:
            clean: (channels, H, W), or (S, channels, H, W) with one for each member.
            averaged: of the running averages; of the pictures as drawn when False.
            where: boolean (H, W): only these pixels.
        """
        clean = validate.picture("clean", clean).to(self.frames)
        return psnr(self.averages if averaged else self.frames, clean, where)

    def oracle(self, clean: Tensor, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(S,) best decibels of the running averages over the frames, and their steps: a choice that needs `clean`."""
        best = self.psnr(clean, where=where).max(0)
        return best.values, self.steps[best.indices]

    def __len__(self) -> int:
        return len(self.stack)

    def __repr__(self) -> str:
        chosen = torch.unique(self.chosen_step).tolist()
        span = str(chosen[0]) if len(chosen) == 1 else f"{chosen[0]} to {chosen[-1]}"
        return (
            f"Restoration({len(self)} members; {len(self.loss)} steps, chosen step {span}; "
            f"final loss {self.loss[-1].mean():.2g}; {self.seconds:.1f} s)"
        )
