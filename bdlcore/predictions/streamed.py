"""A Gaussian predictive for stacks and inputs whose function values are too many to hold at once."""

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
    """Answers what `GaussianPredictive` answers, holding the functions at some inputs at a time.

    Every answer is one pass over the inputs, in which the functions are evaluated anew; mean and standard
    deviation are kept after the first one. Made by `predict` when (S, N, C) function values are too many.

    Args:
        functions: f (S, N, C), with as many inputs at a time as may be held.
        noise_std: standard deviation of the noise, a number or one per output (C,).
    """

    def __init__(self, functions: FunctionValues, noise_std: float | Tensor):
        self.functions, self.noise_std = functions, noise_std

    def __repr__(self) -> str:
        S, N, _ = self.functions.shape
        return f"StreamedPredictive({S} functions at {N} inputs, {self.functions.chunk_size} at a time)"

    def _answer(self, question: Callable[[slice, GaussianPredictive], tuple[Tensor, ...]]) -> list[Tensor]:
        answers = [question(at, GaussianPredictive(f, self.noise_std)) for at, f in self.functions.chunks()]
        return [torch.cat(pieces) for pieces in zip(*answers)]

    @cached_property
    def _moments(self) -> list[Tensor]:
        return self._answer(lambda _, part: (part.mean, part.epistemic_std))

    @property
    def mean(self) -> Tensor:
        """E[y | x, D], (N, C)."""
        return self._moments[0]

    @property
    def epistemic_std(self) -> Tensor:
        """Standard deviation of f over the stack, (N, C)."""
        return self._moments[1]

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,): the log of the average density, for y of shape (N,) or (N, C)."""
        y = validate.targets(y, *self.mean.shape, self.mean)
        return self._answer(lambda at, part: (part.log_prob(y[at]),))[0]

    def cdf(self, y: float | Tensor) -> Tensor:
        """P(Y <= y) per output, (N, C), for y as in `log_prob`, a number, or anything that broadcasts to (N, C)."""
        y = validate.per_output("y", y, self.mean)
        return self._answer(lambda at, part: (part.cdf(y[at]),))[0]

    def quantile(self, q: float) -> Tensor:
        """The q-quantile of y, (N, C)."""
        return self._answer(lambda _, part: (part.quantile(q),))[0]

    def interval(self, probability: float = 0.95) -> tuple[Tensor, Tensor]:
        """Central interval that holds y with the given probability: lower and upper end, (N, C) each."""
        low, high = self._answer(lambda _, part: part.interval(probability))
        return low, high
