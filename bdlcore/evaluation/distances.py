"""How far apart are two predictives? Zero means that no question about them could tell them apart."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate
from ..predictions.categorical import CategoricalPredictive, at_least_single, class_probabilities

Probabilities = Tensor | CategoricalPredictive


def wasserstein(f: Tensor, g: Tensor) -> Tensor:
    """Wasserstein-1 distance between two sets of draws, separately at each input and output.

        W1 = integral |F^-1(u) - G^-1(u)| du  over u in (0, 1)

    with F^-1 and G^-1 the quantile functions of the draws: how far draws must be moved on average to turn one set into
    the other, in the units of the function. Finite sets of draws from one distribution differ too: compare with the
    distance of two halves of one set.

    Args:
        f: (S, ...) draws, such as `model.functions(stack, x)` of shape (S, N, C).
        g: (R, ...) draws; R may differ from S.

    Returns:
        (...) distances.
    """
    for name, value in (("f", f), ("g", g)):
        if not isinstance(value, Tensor) or value.ndim == 0 or value.numel() == 0:
            raise ValueError(
                f"{name} must be a torch.Tensor with at least one draw along its first axis, got {_describe(value)}."
            )
        validate.finite(name, value)
    if f.shape[1:] != g.shape[1:]:
        raise ValueError(
            f"f and g must have the same shape after the first axis, got {tuple(f.shape)} and {tuple(g.shape)}."
        )
    S, R = len(f), len(g)
    f, g = at_least_single(f).sort(0).values, at_least_single(g).sort(0).values
    if S == R:
        return (f - g).abs().mean(0)
    # both quantile functions are constant between neighbouring multiples of 1/S and 1/R, here in units of 1/(S R)
    edges = torch.cat([torch.arange(S + 1) * R, torch.arange(R + 1) * S]).unique().to(f.device)
    width = edges.diff().to(f) / (S * R)
    gaps = (f[edges[:-1] // R] - g[edges[:-1] // S]).abs()
    return torch.tensordot(width, gaps, 1)


def total_variation(p: Probabilities, q: Probabilities) -> Tensor:
    """Total variation distance 1/2 sum_c |p_c - q_c| of class probabilities (N, C) at each input, (N,).

    The largest difference in probability that any set of classes can have: 0 is equal, 1 is disjoint.
    """
    p, q = _probabilities(p, q)
    return 0.5 * (p - q).abs().sum(-1)


def agreement(p: Probabilities, q: Probabilities) -> float:
    """Share of inputs at which class probabilities p and q (N, C) have the same most probable class."""
    p, q = _probabilities(p, q)
    return torch.count_nonzero(p.argmax(-1) == q.argmax(-1)).item() / len(p)


def _probabilities(*values: Probabilities) -> list[Tensor]:
    tensors = [getattr(value, "probabilities", value) for value in values]
    for value in tensors:
        if not isinstance(value, Tensor) or value.ndim != 2 or value.numel() == 0:
            raise ValueError(
                f"Class probabilities must have shape (N, C) and be a torch.Tensor, got {_describe(value)}."
            )
    if tensors[0].shape != tensors[1].shape:
        shapes = " and ".join(str(tuple(value.shape)) for value in tensors)
        raise ValueError(f"Both need the same inputs and classes, got probabilities of shape {shapes}.")
    return [class_probabilities("Class probabilities", value) for value in tensors]


def _describe(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
