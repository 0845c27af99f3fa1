"""A predictive of numbers for stacks and inputs whose function values are too many to hold at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from .._support import validate
from .function_values import FunctionValues
from .gaussian import GaussianPredictive
from .noisy_function import NoisyFunction


class StreamedPredictive(NoisyFunction):
    """Answers what the predictive at some inputs answers, holding the functions there and no more at a time.

    Every answer is one pass over the inputs, in which the functions are evaluated anew; mean and standard
    deviation are kept after the first one. Made by `predict` when (S, N, C) function values are too many.

    Args:
        functions: f (S, N, C), with as many inputs at a time as may be held.
        part: the predictive, such as `GaussianPredictive`, at some of the inputs, of f (S, n, C) there.
    """

    def __init__(self, functions: FunctionValues, part: Callable[[Tensor], GaussianPredictive]):
        self.functions, self.part = functions, part

    def __repr__(self) -> str:
        S, N, _ = self.functions.shape
        return f"StreamedPredictive({S} functions at {N} inputs, {self.functions.chunk_size} at a time)"

    def _answer(self, question: Callable[[slice, GaussianPredictive], tuple[Tensor, ...]]) -> list[Tensor]:
        answers = [question(at, self.part(f)) for at, f in self.functions.chunks()]
        return [torch.cat(pieces) for pieces in zip(*answers)]

    @cached_property
    def _moments(self) -> list[Tensor]:
        return self._answer(lambda _, part: (part.mean, part.epistemic_std, part.aleatoric_std))

    @property
    def mean(self) -> Tensor:
        """E[y | x, D], (N, C)."""
        return self._moments[0]

    @property
    def epistemic_std(self) -> Tensor:
        """Standard deviation of f over the stack, (N, C)."""
        return self._moments[1]

    @property
    def aleatoric_std(self) -> Tensor:
        """The noise, (N, C)."""
        return self._moments[2]

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,): the log of the average density, for y of shape (N,) or (N, C)."""
        y = validate.targets(y, *self.mean.shape, self.mean)
        return self._answer(lambda at, part: (part.log_prob(y[at]),))[0]

    def cdf(self, y: float | Tensor) -> Tensor:
        """P(Y <= y) per output, (N, C), for y as in `log_prob`, a number, or anything that broadcasts to (N, C)."""
        y = validate.per_output("y", y, self.mean)
        return self._answer(lambda at, part: (part.cdf(y[at]),))[0]

    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score per output, (N, C), for y of shape (N,) or (N, C)."""
        y = validate.targets(y, *self.mean.shape, self.mean)
        return self._answer(lambda at, part: (part.crps(y[at]),))[0]

    def quantile(self, q: float) -> Tensor:
        """The q-quantile of y, (N, C)."""
        return self._answer(lambda _, part: (part.quantile(q),))[0]

    def interval(self, probability: float = 0.95) -> tuple[Tensor, Tensor]:
        """Central interval that holds y with the given probability: lower and upper end, (N, C) each."""
        low, high = self._answer(lambda _, part: part.interval(probability))
        return low, high
