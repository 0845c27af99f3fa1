"""A Gaussian predictive for stacks and inputs whose function values are too many to hold at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from .likelihoods import Gaussian
from .models import Model
from .predictives import GaussianPredictive, NoisyFunction
from .stacks import Stack


class StreamedPredictive(NoisyFunction):
    """Answers what `GaussianPredictive` answers, holding the functions of `batch_size` inputs at a time.

    Every answer is one pass over the inputs, in which the functions are evaluated anew; mean and standard
    deviation are kept after the first one. Made by `predict` when (S, N, C) function values are too many.

    Args:
        model: network, prior, Gaussian likelihood.
        stack: S weight settings.
        x: (N, ...) inputs.
        batch_size: inputs at a time: (S, batch_size, C) function values are the most that is held.
    """

    def __init__(self, model: Model, stack: Stack, x: Tensor, batch_size: int):
        self.model, self.stack, self.x, self.batch_size = model, stack, x, batch_size
        self.noise_std = model.likelihood.noise_std

    def __repr__(self) -> str:
        return (
            f"StreamedPredictive({len(self.stack)} rows at {len(self.x)} inputs, {self.batch_size} at a time)"
        )

    def _parts(self) -> Iterator[tuple[slice, GaussianPredictive]]:
        for start in range(0, len(self.x), self.batch_size):
            at = slice(start, start + self.batch_size)
            yield at, GaussianPredictive(self.model.functions(self.stack, self.x[at]), self.noise_std)

    def _answer(self, question: Callable[[slice, GaussianPredictive], tuple[Tensor, ...]]) -> list[Tensor]:
        answers = [question(at, part) for at, part in self._parts()]
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
        y = Gaussian(self.noise_std).targets(y, self.mean.shape[-1], self.mean)
        return self._answer(lambda at, part: (part.log_prob(y[at]),))[0]

    def cdf(self, y: Tensor) -> Tensor:
        """P(Y <= y) per output for y broadcastable to (N, C)."""
        y = torch.as_tensor(y, dtype=self.mean.dtype, device=self.mean.device).broadcast_to(self.mean.shape)
        return self._answer(lambda at, part: (part.cdf(y[at]),))[0]

    def quantile(self, q: float) -> Tensor:
        """The q-quantile of y, (N, C)."""
        return self._answer(lambda _, part: (part.quantile(q),))[0]

    def interval(self, probability: float = 0.95) -> tuple[Tensor, Tensor]:
        """Central interval that holds y with the given probability: lower and upper end, (N, C) each."""
        low, high = self._answer(lambda _, part: part.interval(probability))
        return low, high
