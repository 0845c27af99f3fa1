"""Predictive distribution for any likelihood: the average of p(y | f_s) over S functions, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .function_values import FunctionValues

LogProb = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class MixturePredictive:
    """p(y | x, D) = 1/S sum_s p(y | f_s(x)) at each input, with p(y | f) as the likelihood says.

    Attributes:
        functions: f (S, N, C).
        likelihood: has `targets(y, outputs, like)` and `log_prob(f, y)`.
    """

    functions: FunctionValues
    likelihood: object

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,): the log of the average density or probability."""
        S, N, C = self.functions.shape
        validate.same_length(validate.tensor("y", y), N)  # here: slices of a longer y would fit
        parts = []
        for at, f in self.functions.chunks():
            inside = self.likelihood.targets(y[at], C, f[0])
            parts.append(self.likelihood.log_prob(f, inside).logsumexp(0) - math.log(S))
        return torch.cat(parts)
