"""Marginalising a model's predictions over a stack, in bounded memory.

p(y | x, D)  ~=  (1/S) sum_s p(y | f_s(x))
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import _validate
from .likelihoods import Categorical, Gaussian, log_softmax
from .models import Model
from .predictives import CategoricalPredictive, GaussianPredictive
from .stacks import Stack, check_stack
from .streaming import StreamedPredictive

_HELD = 2**24  # function values held when the caller sets no bound: 64 MB in float32


def predict(
    model: Model, stack: Stack, x: Tensor, batch_size: int | None = None
) -> GaussianPredictive | StreamedPredictive | CategoricalPredictive:
    """The predictive distribution of a model, marginalised over the rows of a stack.

    Args:
        model: network, prior, likelihood.
        stack: S weight settings: draws from a posterior, members of an ensemble, one row for a plug-in
            prediction.
        x: (N, ...) inputs.
        batch_size: inputs evaluated at a time; (S, batch_size, C) function values are the most that is ever
            held. When None, all N if those are fewer than 2^24 values, else as many as that allows.

    Returns:
        CategoricalPredictive for classes. For regression GaussianPredictive, which keeps the function values, or,
        when N is more than batch_size, StreamedPredictive, which answers the same and evaluates them on demand.
    """
    if not isinstance(model.likelihood, Gaussian | Categorical):
        raise TypeError(
            f"predict knows Gaussian and Categorical likelihoods, got {type(model.likelihood).__name__}."
        )
    if len(stack) == 0:
        raise ValueError("The stack is empty; marginalising needs at least one row.")
    check_stack(stack, model.layout, x)
    model.check_inputs(x)
    if batch_size is None:
        outputs = model.functions(stack[:1], x[:1]).shape[-1]
        batch_size = max(1, _HELD // (len(stack) * outputs))
    _validate.count("batch_size", batch_size)
    if isinstance(model.likelihood, Categorical):
        parts = [_average_probabilities(model, stack, batch) for batch in x.split(batch_size)]
        return CategoricalPredictive(*(torch.cat(part) for part in zip(*parts)))
    if len(x) > batch_size:
        return StreamedPredictive(model, stack, x, batch_size)
    return GaussianPredictive(model.functions(stack, x), model.likelihood.noise_std)


def _average_probabilities(model: Model, stack: Stack, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over the stack of the class probabilities (N, C) and of each row's entropy (N,); the mean's log (N, C)."""
    entropy, total = 0.0, None
    rows = model.chunk_size(x)
    for start in range(0, len(stack), rows):
        log_p = log_softmax(model.functions(stack[start : start + rows], x, rows))
        part = log_p.logsumexp(0)
        total = part if total is None else torch.logaddexp(total, part)
        entropy = entropy - (log_p.exp() * log_p).sum((0, 2))
    log_mean = total - math.log(len(stack))
    return log_mean.exp(), entropy / len(stack), log_mean
