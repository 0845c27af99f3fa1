"""Proper scores of predictions, and how well a score tells two groups apart.

A proper score is best, on average, for the true probabilities: log p(y) (`log_prob` of every predictive), Brier's for
classes, and for numbers the continuous ranked probability score (`crps` of Gaussian predictives, and `crps_of_draws`
of any).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._support import validate
from ..predictions.categorical import CategoricalPredictive, at_least_single, class_probabilities


def brier(p: Tensor | CategoricalPredictive, y: Tensor) -> Tensor:
    """Brier's score sum_c (p_c - [y = c])^2 of each datum, (N,): 0 is best, 2 worst. (Brier 1950.)

    Args:
        p: class probabilities (N, C), or a predictive of classes.
        y: labels (N,).
    """
    p = validate.numbers("p", getattr(p, "probabilities", p))
    if p.ndim != 2:
        raise ValueError(f"p must have shape (N, C), got {tuple(p.shape)}.")
    p = class_probabilities("p", p)
    return (p - F.one_hot(validate.labels(y, *p.shape, p), p.shape[1])).square().sum(1)


def crps_of_draws(draws: Tensor, y: Tensor) -> Tensor:
    """Continuous ranked probability score of the distribution that S draws stand for, (N, C), in the units of y.

        E|Y - y| - 1/2 E|Y - Y'|,    the second by the fair estimate 1 / (S (S - 1)) sum_s,t |y_s - y_t|,

    whose mean does not depend on S. (Gneiting & Raftery 2007; Ferro 2014.) The sum over pairs is one over sorted draws.

    Args:
        draws: (S, N, C) draws of y, such as `model.likelihood.sample(posterior.functions(x), generator)`.
        y: (N,) or (N, C).
    """
    validate.numbers("draws", draws)
    if draws.ndim != 3 or len(draws) < 2:
        raise ValueError(f"draws must have shape (S, N, C) with S of 2 or more, got {tuple(draws.shape)}.")
    draws = at_least_single(draws)
    S, N, C = draws.shape
    y = validate.targets(y, N, C, draws)
    rank = torch.arange(S, dtype=draws.dtype, device=draws.device)[:, None, None]
    pairs = ((2 * rank - (S - 1)) * draws.sort(0).values).sum(0)
    return (draws - y).abs().mean(0) - pairs / (S * (S - 1))


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Probability that a score is higher outside than inside, ties counted half: the area under the ROC curve.

    Args:
        inside: (N,) scores, such as entropies, of data like those of training.
        outside: (M,) scores of others.

    Returns:
        1 where the score tells all of them apart, 0.5 where it tells nothing.
    """
    for name, value in (("inside", inside), ("outside", outside)):
        if validate.numbers(name, value).ndim != 1:
            raise ValueError(f"{name} must have shape (N,), one score per datum, got {tuple(value.shape)}.")
    ordered, outside = inside.sort().values, outside.contiguous()
    below, not_above = (torch.searchsorted(ordered, outside, right=right) for right in (False, True))
    return (below.sum() + not_above.sum()).item() / (2 * len(inside) * len(outside))
