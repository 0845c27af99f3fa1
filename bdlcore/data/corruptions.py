"""Corrupted copies of images: noise, blur, shift, shuffled pixels, with severity in natural units.

Images are (N, channels, height, width) tensors of any floating dtype on any device; corrupted copies have the same
shape, dtype and device, and are not clipped.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .._support import validate
from .._support.randomness import generator

# How many standard deviations of the Gaussian the blur keeps, as SciPy does
_TRUNCATE = 4.0
# Images standardised one by one reach some 20 where little but a few pixels is not flat.
_LARGEST_PIXEL = 50.0


def noise(x: Tensor, std: float, seed: int | torch.Generator = 0) -> Tensor:
    """x + std * N(0, 1), independent per pixel; std in the units of the pixels, 0 for none.

    Calls with equal seeds add the same noise, scaled, so that a sweep over std is smooth.
    """
    if (largest := images(x).abs().amax().item()) > _LARGEST_PIXEL:
        raise ValueError(
            f"Pixels should be of order 1, but they reach {largest:g}, where noise of std 1 means nothing. Scale "
            "0 to 255 to [-1, 1] with x / 127.5 - 1."
        )
    validate.scale("std", std, zero=True)
    return x + std * torch.randn(x.shape, generator=generator(seed), dtype=x.dtype).to(x.device)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of standard deviation sigma pixels, 0 for none; the edge pixels continue outside the image.

    Equal to `scipy.ndimage.gaussian_filter(..., mode="nearest")` over height and width.
    """
    channels = images(x).shape[1]
    validate.scale("sigma", sigma, zero=True)
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return x.clone()
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    weights = torch.softmax(-0.5 * (offsets / sigma).square(), 0)
    wide = F.pad(x, [radius] * 4, mode="replicate")
    rows = weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    wide = F.conv2d(wide, rows, groups=channels)
    return F.conv2d(wide, rows.mT, groups=channels)


def shift(x: Tensor, down: int = 0, right: int = 0, *, fill: float = 0.0, wrap: bool = False) -> Tensor:
    """Move images by whole pixels; negative numbers move up and left.

    Args:
        x: images.
        down, right: pixels to move.
        fill: value of the pixels that come into view.
        wrap: if True, what leaves on one side comes in on the other instead.
    """
    height, width = images(x).shape[2:]
    for name, pixels in (("down", down), ("right", right)):
        validate.count(name, pixels, -math.inf, "Images move by whole pixels.")
    moved = torch.roll(x, (down, right), (2, 3))
    if wrap:
        return moved
    row = torch.arange(height, device=x.device) - down
    column = torch.arange(width, device=x.device) - right
    seen = ((row >= 0) & (row < height))[:, None] & ((column >= 0) & (column < width))
    return torch.where(seen, moved, fill)


def shuffle_pixels(x: Tensor, seed: int | torch.Generator = 0) -> Tensor:
    """Every image with its pixels in the same new order: distances between images stay, neighbours do not."""
    height, width = images(x).shape[2:]
    order = torch.randperm(height * width, generator=generator(seed)).to(x.device)
    return x.flatten(2)[..., order].view_as(x)


def images(x: Tensor) -> Tensor:
    """Require finite images (N, channels, height, width)."""
    validate.nonempty("x", validate.inputs("x", x))
    if x.ndim != 4:
        raise ValueError(
            f"Images must have shape (N, channels, height, width), got {tuple(x.shape)}. "
            "For grey images add the axis of channels with x[:, None]."
        )
    return x
