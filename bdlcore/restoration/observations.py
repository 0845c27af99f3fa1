"""Does an observation fit what is asked of it? Said before any training: what was wrong, and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import generator
from ..nets.generators import Degradation, Generator, Penalty

OnStep = Callable[[int, Tensor], bool | None]


def observation(observed: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The observation, 0 where nothing was observed, and the mask (h, w) of what was."""
    if mask is not None and isinstance(observed, Tensor):
        mask = _checked(mask, observed)
        if observed.is_floating_point():  # what was not observed may hold anything, NaN included
            observed = torch.where(mask, observed, 0.0)
    validate.picture("observed", observed)
    if observed.ndim > 4:
        raise ValueError(
            f"observed must be (channels, h, w) or (S, channels, h, w), got {tuple(observed.shape)}."
        )
    if mask is None:
        mask = torch.ones(observed.shape[-2:], dtype=torch.bool, device=observed.device)
    if mask.sum() < 2:
        raise ValueError(
            f"{int(mask.sum())} of {mask.numel()} pixels observed: nothing to fit. True in the mask means observed."
        )
    low, high = float(observed.min()), float(observed.max())
    if low < -0.9 and high <= 1:
        raise ValueError(
            f"observed looks like pixels in [-1, 1], {low:.2g} to {high:.2g}; map them to [0, 1] by (observed + 1) / 2."
        )
    return observed, mask


def _checked(mask: Tensor, observed: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a boolean torch.Tensor, True where a pixel was observed; got {kind}.")
    if mask.shape != observed.shape[-2:]:
        raise ValueError(
            f"mask must have the height and width of the observation, {tuple(observed.shape[-2:])}, got "
            f"{tuple(mask.shape)}."
        )
    return mask.to(observed.device)


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
    validate.count("steps", steps)
    validate.count("frames", frames)
    validate.scale("lr", lr)
    for name, value in (("jitter_std", jitter_std), ("averaging", averaging), ("held_out", held_out)):
        validate.number(name, value)
    for name, value, good, wanted in (
        ("jitter_std", jitter_std, 0 <= jitter_std < math.inf, "be at least 0 and finite"),
        ("averaging", averaging, 0 <= averaging < 1, "lie from 0 to below 1"),
        ("held_out", held_out, 0 <= held_out <= 0.5, "lie from 0 to 0.5"),
    ):
        if not good:
            raise ValueError(f"{name} must {wanted}, got {value}.")
    if observed.ndim == 4 and members == 1:
        members = len(observed)
    rows = validate.rows("members", members)
    if observed.ndim == 4 and len(rows) != len(observed):
        raise ValueError(
            f"{len(observed)} observations for {len(rows)} members: give one for each, or one for all."
        )
    return rows


def functions(
    network: Generator | None, degrade: Degradation | None, penalty: Penalty | None, on_step: OnStep | None
) -> None:
    """Require a generator and functions, where they are given."""
    if network is not None and not hasattr(network, "images"):
        raise TypeError(
            f"network must draw pictures, as bdl.nets.hourglass does; got {type(network).__name__}."
        )
    for name, value in (("degrade", degrade), ("penalty", penalty)):
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be a function of pictures (S, channels, H, W), got {value!r}.")
    if on_step is not None and not callable(on_step):
        raise TypeError(f"on_step must be a function of a step and its averages, got {on_step!r}.")


def inputs(network: Generator, z: Tensor, members: int) -> None:
    """Require one z for each member, or one for all."""
    validate.inputs("z", z)
    expected = network.inputs, *network.image[1:]
    if tuple(z.shape[1:]) != expected or len(z) not in (1, members):
        raise ValueError(
            f"z must have shape ({members}, {', '.join(map(str, expected))}), or 1 in place of {members}, got "
            f"{tuple(z.shape)}."
        )


@torch.no_grad()
def sizes(
    network: Generator,
    degrade: Degradation | None,
    penalty: Penalty | None,
    observed: Tensor,
    weights: Tensor,
    z: Tensor,
    members: int,
) -> None:
    """Draw one picture, as if for every member, so that what does not fit is said before any training."""
    pictures = network.images(weights, z[:1]).expand(members, -1, -1, -1)
    shown = degrade(pictures) if degrade else pictures
    if _shape(shown) != (members, *observed.shape[-3:]):
        through = f"which the degradation turns into {_shape(shown)}" if degrade else "without a degradation"
        raise ValueError(
            f"The network draws pictures of shape {_shape(pictures)}, {through}, but the observation has shape "
            f"{_shape(observed)}. Use a network of the size that goes with it, or another degradation."
        )
    cost = penalty(pictures) if penalty else pictures.new_zeros(members)
    if _shape(cost) != (members,):
        raise ValueError(
            f"penalty must give one number for each picture: {_shape(pictures)} -> ({members},), got {_shape(cost)}."
        )


def split(mask: Tensor, held_out: float, rows: range, seed: int) -> tuple[Tensor, Tensor | None]:
    """Which observed pixels each member fits and which it keeps for choosing the step, (S, h, w) of zeros and ones."""
    if not held_out:
        return mask.float()[None].expand(len(rows), -1, -1), None
    places = mask.flatten().nonzero().squeeze(1)
    number = max(1, round(held_out * len(places)))
    kept = torch.zeros(len(rows), mask.numel(), device=mask.device)
    for out, row in zip(kept, rows, strict=True):
        order = torch.randperm(len(places), generator=generator(seed, 6, row))
        out[places[order[:number].to(places.device)]] = 1
    kept = kept.reshape(-1, *mask.shape)
    return mask * (1 - kept), kept


def _shape(value: Tensor) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
