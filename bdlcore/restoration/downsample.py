"""Fixed, differentiable down-samplers: what a small photo tells about the large one."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .._support import validate

KERNELS = ("box", "lanczos2")


class Downsample:
    """Down-sampling by a whole factor: low-pass filter, then every factor-th pixel. Keeps a constant picture constant.

    "box" averages each factor x factor block, as a camera sensor with larger pixels does. "lanczos2" is the filter
    L(x) = sinc(x) sinc(x / 2) for |x| < 2, x in pixels of the small picture, which the deep-image-prior paper uses; it
    needs pixels beyond the border, where the picture's edge is repeated.

    Args:
        factor: at least 2.
        kernel: "box" or "lanczos2".

    Calling it maps (S, channels, H, W) to (S, channels, H / factor, W / factor).
    """

    def __init__(self, factor: int, kernel: str = "box"):
        if kernel not in KERNELS:
            raise ValueError(f"Unknown kernel {kernel!r}; choose one of {', '.join(KERNELS)}.")
        self.factor, self.kernel = validate.count("factor", factor, minimum=2), kernel
        if kernel == "box":
            self.margin, taps = 0, torch.ones(self.factor, dtype=torch.float64)
        else:
            # the block of `factor` pixels whose middle a small pixel is, and 3/2 blocks to either side
            self.margin = math.ceil(1.5 * self.factor)
            places = torch.arange(-self.margin, self.factor + self.margin, dtype=torch.float64)
            x = (places - (self.factor - 1) / 2) / self.factor
            taps = torch.where(x.abs() < 2, torch.sinc(x) * torch.sinc(x / 2), 0.0)
        self.taps = taps / taps.sum()

    def __call__(self, images: Tensor) -> Tensor:
        validate.floating("images", images)  # that they are finite is not asked at each step of a fit
        if images.ndim != 4 or images.shape[2] % self.factor or images.shape[3] % self.factor:
            raise ValueError(
                f"Down-sampling by {self.factor} needs images (S, channels, H, W) whose sides are multiples of it, "
                f"got {tuple(images.shape)}."
            )
        channels, taps = images.shape[1], self.taps.to(images)
        if self.margin:
            images = F.pad(images, [self.margin] * 4, mode="replicate")
        rows = taps[None, None, :, None].expand(channels, 1, -1, 1)
        columns = taps[None, None, None, :].expand(channels, 1, 1, -1)
        images = F.conv2d(images, rows, stride=(self.factor, 1), groups=channels)
        return F.conv2d(images, columns, stride=(1, self.factor), groups=channels)

    def __repr__(self) -> str:
        return f"Downsample({self.factor}, {self.kernel!r})"
