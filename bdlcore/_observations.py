"""Does an observation fit what is asked of it? Said before any training: what was wrong, and what to do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import _validate
from .generators import Degradation, Generator


def observation(observed: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The observation, 0 where nothing was observed, and the mask (h, w) of what was."""
    if mask is None:
        mask = torch.ones(observed.shape[-2:], dtype=torch.bool) if isinstance(observed, Tensor) else None
    elif not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a boolean torch.Tensor, True where a pixel was observed; got {kind}.")
    elif isinstance(observed, Tensor) and mask.shape != observed.shape[-2:]:
        raise ValueError(
            f"mask must have the height and width of the observation, {tuple(observed.shape[-2:])}, got "
            f"{tuple(mask.shape)}."
        )
    elif mask.sum() < 2:
        raise ValueError(
            f"The mask leaves {int(mask.sum())} of {mask.numel()} pixels observed: nothing to fit. True means observed."
        )
    if isinstance(observed, Tensor):
        mask = mask.to(observed.device)
        if observed.is_floating_point():  # what was not observed may hold anything, NaN included
            observed = torch.where(mask, observed, torch.zeros_like(observed))
    _validate.picture("observed", observed)
    if observed.ndim > 4:
        raise ValueError(
            f"observed must be (channels, h, w) or (S, channels, h, w), got {tuple(observed.shape)}."
        )
    low, high = float(observed.min()), float(observed.max())
    if low < -0.9 and high <= 1:
        raise ValueError(
            f"observed looks like pixels in [-1, 1], {low:.2g} to {high:.2g}; map them to [0, 1] by (observed + 1) / 2."
        )
    return observed, mask


def settings(
    observed: Tensor,
    members: int | range,
    steps: int,
    lr: float,
    jitter_std: float,
    averaging: float,
    held_out: float,
    frames: int,
) -> range:
    """Check the numbers; returns the rows, one for each member."""
    _validate.count("steps", steps)
    _validate.count("frames", frames)
    _validate.positive("lr", lr)
    for name, value, top in (
        ("jitter_std", jitter_std, math.inf),
        ("averaging", averaging, 1),
        ("held_out", held_out, 0.5),
    ):
        if not 0 <= value <= top or (name == "averaging" and value == 1):
            raise ValueError(f"{name} must lie from 0 to {top}, got {value}.")
    if observed.ndim == 4 and members == 1:
        members = len(observed)
    rows = _validate.rows("members", members)
    if observed.ndim == 4 and len(rows) != len(observed):
        raise ValueError(
            f"{len(observed)} observations for {len(rows)} members: give one for each, or one for all."
        )
    return rows


def sizes(
    network: Generator,
    degrade: Degradation | None,
    observed: Tensor,
    weights: Tensor,
    z: Tensor,
    members: int,
) -> None:
    """Draw one picture, so that what does not fit is said before any training."""
    expected = network.inputs, *network.image[1:]
    if z.ndim != 4 or tuple(z.shape[1:]) != expected or len(z) not in (1, members):
        raise ValueError(
            f"z must have shape ({members}, {', '.join(map(str, expected))}), or 1 in place of {members}, got "
            f"{tuple(z.shape)}."
        )
    with torch.no_grad():
        picture = network.images(weights, z[:1])
        shown = degrade(picture) if degrade else picture
    if not isinstance(shown, Tensor) or shown.shape[1:] != observed.shape[-3:]:
        drawn, got = (
            tuple(picture.shape[1:]),
            tuple(shown.shape[1:]) if isinstance(shown, Tensor) else type(shown),
        )
        through = f"which the degradation turns into {got}" if degrade else "without a degradation"
        raise ValueError(
            f"The network draws pictures of shape {drawn}, {through}, but the observation has shape "
            f"{tuple(observed.shape[-3:])}. Use a network of the size that goes with it, or another degradation."
        )
