"""How near a picture is to another: PSNR and SSIM, for any number of pictures at once. Pixels lie in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate


def psnr(images: Tensor, reference: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in decibel, 10 log10(1 / MSE), of each picture.

    One mean of squared errors over all channels and pixels, for a peak of 1. Halving the error adds 6 dB.

    Args:
        images: (..., channels, height, width), pixels in [0, 1].
        reference: (channels, height, width), or pictures that broadcast with `images`.
        where: boolean (height, width); only these pixels count. All when None.

    Returns:
        (...) decibels; infinite for equal pictures.
    """
    _pictures(images, reference)
    error = (images - reference).square()
    if where is not None:
        validate.tensor("where", where)
        if where.dtype != torch.bool or where.shape != images.shape[-2:] or not where.any():
            raise ValueError(
                f"where must be a boolean mask of shape {tuple(images.shape[-2:])} with at least one True, got "
                f"{where.dtype} of shape {tuple(where.shape)}."
            )
        error = error[..., where].mean((-1, -2))
    else:
        error = error.mean((-1, -2, -3))
    return -10 * error.log10()


def ssim(images: Tensor, reference: Tensor) -> Tensor:
    """Mean structural similarity (Wang et al. 2004) of each picture, by scikit-image with its 7 x 7 windows.

    1 for equal pictures; compares local means, contrasts and correlations, so it punishes blur more than PSNR does.
    Arguments as for `psnr`, with one reference.
    """
    from skimage.metrics import structural_similarity

    _pictures(images, reference)
    if reference.ndim != 3:
        raise ValueError(f"reference must be one (channels, height, width), got {tuple(reference.shape)}.")
    options = {"channel_axis": 0, "data_range": 1.0}
    target, flat = reference.cpu().numpy(), images.reshape(-1, *images.shape[-3:]).cpu().numpy()
    values = [float(structural_similarity(target, image, **options)) for image in flat]
    return torch.tensor(values, dtype=images.dtype).reshape(images.shape[:-3])


def _pictures(images: Tensor, reference: Tensor) -> None:
    validate.picture("images", images, drawn=True)
    validate.picture("reference", reference)
    if images.shape[-3:] != reference.shape[-3:]:
        raise ValueError(
            f"Pictures of different shapes cannot be compared: {tuple(images.shape)} and {tuple(reference.shape)}."
        )
