"""How far predicted motion is from the true one."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate


def relative_error(predicted: Tensor, true: Tensor) -> Tensor:
    """|z' - z| / (|z'| + |z|) of states (..., D), between 0 and 1; (...).

    A predicted state that is NaN or infinite is infinitely far off: its error is 1. (Finzi, Wang and Wilson 2020.)
    """
    for name, value in (("predicted", predicted), ("true", true)):
        validate.tensor(name, value)
        validate.nonempty(name, value)
    validate.finite("true", true)
    if predicted.shape[-1] != true.shape[-1]:
        raise ValueError(
            f"predicted and true must hold states of the same width, got {tuple(predicted.shape)} and "
            f"{tuple(true.shape)}."
        )
    lost = ~torch.isfinite(predicted).all(-1)
    error = (predicted - true).norm(dim=-1) / (predicted.norm(dim=-1) + true.norm(dim=-1))
    return torch.where(lost | ~torch.isfinite(error), torch.ones_like(error), error)


def geometric_mean(errors: Tensor, dim: int = -1, floor: float = 1e-12) -> Tensor:
    """exp(mean(log errors)) along an axis; errors below `floor` count as `floor`.

    Errors of a roll-out grow by orders of magnitude, and an arithmetic mean would see the end alone.
    """
    validate.tensor("errors", errors)
    validate.nonempty("errors", errors)
    validate.positive("floor", floor)
    validate.finite("errors", errors)
    if (errors < 0).any():
        raise ValueError("errors must not be negative.")
    return errors.clamp(min=floor).log().mean(dim).exp()
