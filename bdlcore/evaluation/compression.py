"""How few bits a trained network needs, and what that promises about its test error.

A network that is told by a short message, among all that could have been told, cannot have been chosen to fit noise.
Messages are written in a code that was fixed before the data were seen, relative to a start that was, too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .._support import validate
from ..models.model import Model
from ..models.stack import Stack, check_stack
from .complexity import right_labels

GRID = torch.logspace(-2, 1, 25, dtype=torch.float64)  # steps of quantisation, in prior standard deviations


class Compressed(NamedTuple):
    """S networks, told in whole multiples of a step: `error` on the data, `nats` of the message, `step`; (S,) each."""

    error: Tensor
    nats: Tensor
    step: Tensor


def code_length(levels: Tensor) -> Tensor:
    """Nats that it takes to write whole numbers k_1 .. k_D, in a code that is fixed before they are known.

    First the largest |k| = K, then how often each of the L = 2K + 1 levels occurs, then which of all such sequences:

        nats = ln((K + 1)(K + 2)) + ln C(D + L - 1, L - 1) + ln(D! / prod_l n_l!)

    exp(-nats) sums to at most 1 over all sequences of length D. Zeros are cheap where they are many.

    Args:
        levels: (S, D) whole numbers, as integers or floats.

    Returns:
        (S,), float64.
    """
    validate.numbers("levels", levels, whole=True)
    if levels.ndim != 2 or (levels != levels.round()).any():
        raise ValueError(f"levels must be whole numbers of shape (S, D), got {tuple(levels.shape)}.")
    D, nats = levels.shape[1], []
    for row in levels:
        K = row.abs().max().item()
        counts = row.unique(return_counts=True)[1].double()
        which = math.lgamma(D + 1) - torch.lgamma(counts + 1).sum().item()
        how_often = math.lgamma(D + 2 * K + 1) - math.lgamma(2 * K + 1) - math.lgamma(D + 1)
        nats.append(math.log((K + 1) * (K + 2)) + how_often + which)
    return torch.tensor(nats, dtype=torch.float64, device=levels.device)


def occam_bound(error: Tensor, nats: Tensor, count: int, *, delta: float = 0.05) -> Tensor:
    """The largest true error that is consistent with the error on `count` data and a message of so many nats.

        kl(error || bound) = (nats + ln(1 / delta)) / count,      kl(q || p) = q ln(q/p) + (1 - q) ln((1-q)/(1-p))

    With probability 1 - delta over the data it holds for *all* networks that the code can tell at once, hence for one
    that was chosen by the data. This is a PAC-Bayes bound whose posterior is one network and whose prior gives it
    exp(-nats). It speaks of data like those that it counted: with wrong labels among them, of
    the error on such labels. (Langford 2005, section 3; Lotfi et al. 2022.)

    Args:
        error: shares of wrong labels on the data, in [0, 1].
        nats: lengths of the messages, >= 0; broadcasts against error.
        count: number of data N.
        delta: in (0, 1).
    """
    validate.between("delta", delta, 0, 1)
    validate.tensor("error", error)
    validate.tensor("nats", nats)
    if not ((error >= 0) & (error <= 1)).all():
        raise ValueError(f"error must lie between 0 and 1, got {error}.")
    if not (nats >= 0).all():
        raise ValueError(f"nats must be at least 0, got {nats}.")
    budget = (nats.double() + math.log(1 / delta)) / validate.count("count", count)
    error, budget = torch.broadcast_tensors(error.double(), budget)
    low, high = error.clone(), torch.ones_like(error)
    for _ in range(60):
        p = (low + high) / 2
        kl = torch.xlogy(error, error / p) + torch.xlogy(1 - error, (1 - error) / (1 - p))
        low, high = torch.where(kl <= budget, p, low), torch.where(kl <= budget, high, p)
    return high


def compress(
    model: Model, stack: Stack, start: Stack, x: Tensor, y: Tensor, *, accuracy_drop: float = 0.1
) -> Compressed:
    """Networks told as briefly as `accuracy_drop` allows: changes since their start, in whole multiples of a step.

        theta = start + step k,     k = round((trained theta - start) / step)

    with the largest of 25 steps, 0.01 to 10 prior standard deviations, that keeps the training accuracy within
    `accuracy_drop` of the trained network's, or else the smallest. The message is k, by `code_length`, and the step.
    A flat solution bears coarse steps.

    Args:
        model: a classifier (Categorical likelihood).
        stack: S trained settings.
        start: the S settings from which they were trained, chosen without looking at the data.
        x, y: training data.
        accuracy_drop: in (0, 1).
    """
    if model.likelihood.probabilities(torch.zeros(1, 2)) is None:
        raise TypeError("compress counts right labels: the model needs a likelihood of classes.")
    validate.between("accuracy_drop", accuracy_drop, 0, 1)
    check_stack(stack, model.layout, x)
    check_stack(start, model.layout, x)
    if len(start) != len(stack):
        raise ValueError(f"start must hold one row for each of the {len(stack)} in stack, got {len(start)}.")
    validate.finite("the stack's theta", stack.theta)
    y = model.check_data(x, y)
    change, steps = stack.theta - start.theta, GRID.to(stack.theta)
    levels = (change / steps[:, None, None]).round()  # (steps, S, D)
    told = Stack((start.theta + steps[:, None, None] * levels).flatten(0, 1), stack.layout)
    right = right_labels(model, told.weights, x, y).view(len(steps), -1)
    good = right >= right_labels(model, stack.weights, x, y) - accuracy_drop * len(y)
    coarsest = torch.where(good, torch.arange(len(steps), device=x.device)[:, None], 0).amax(0)
    rows = torch.arange(len(stack), device=x.device)
    nats = code_length(levels[coarsest, rows]) + math.log(len(steps))
    return Compressed(1 - right[coarsest, rows] / len(y), nats, steps[coarsest])
