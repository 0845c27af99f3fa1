"""Predictive distribution of a posterior whose functions are Gaussian at each input: exact regression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .crps import mixture_crps
from .noisy_function import MixtureQuantiles, NoisyFunction


@dataclass(frozen=True, eq=False)
class NormalPredictive(NoisyFunction, MixtureQuantiles):
    """p(y | x, D) = N(mean, epistemic_std^2 + noise_std^2) per output, at each of N inputs.

    Attributes:
        mean: (N, C) posterior mean of f.
        epistemic_std: (N, C) posterior standard deviation of f.
        noise_std: standard deviation of the noise.
    """

    mean: Tensor
    epistemic_std: Tensor
    noise_std: float

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,), of all outputs together, for y of shape (N,) or (N, C)."""
        y = validate.targets(y, *self.mean.shape, self.mean)
        return torch.distributions.Normal(self.mean, self.total_std).log_prob(y).sum(1)

    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score per output, (N, C): see `GaussianPredictive.crps`."""
        y = validate.targets(y, *self.mean.shape, self.mean)
        return mixture_crps(y, self.mean[None], self.total_std)

    def cdf(self, y: float | Tensor) -> Tensor:
        """P(Y <= y) per output, (N, C), for y as in `log_prob`, a number, or anything that broadcasts to (N, C)."""
        return torch.special.ndtr((validate.per_output("y", y, self.mean) - self.mean) / self.total_std)

    def quantile(self, q: float) -> Tensor:
        """The q-quantile of y, (N, C)."""
        validate.between("q", q, 0, 1)
        return self.mean + torch.special.ndtri(torch.tensor(q, dtype=self.mean.dtype)) * self.total_std
