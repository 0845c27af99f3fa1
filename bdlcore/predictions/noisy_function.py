"""What predictives of y = f(x) + noise share: standard deviations by the law of total variance, and quantiles."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate


class NoisyFunction:
    """Standard deviations of y = f(x) + noise, for a class that has `mean`, `epistemic_std` and `aleatoric_std`.

    Where the noise is the same for every function and input, `noise_std` is enough.
    """

    mean: Tensor
    epistemic_std: Tensor
    noise_std: float | Tensor

    @property
    def aleatoric_std(self) -> Tensor:
        """The noise, (N, C)."""
        return torch.zeros_like(self.mean) + self.noise_std

    @property
    def total_std(self) -> Tensor:
        """Standard deviation of y, (N, C): total^2 = aleatoric^2 + epistemic^2."""
        return (self.epistemic_std.square() + self.aleatoric_std.square()).sqrt()


class MixtureQuantiles:
    """Quantiles of a predictive mixture, from its `cdf` and the ends (`_reach`) between which that rises."""

    _halvings = 50  # of the interval between the ends, for a quantile

    def cdf(self, y: Tensor) -> Tensor:
        """P(Y <= y) per output for y broadcastable to (N, C)."""
        raise NotImplementedError

    def _reach(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def quantile(self, q: float) -> Tensor:
        """The q-quantile of y, (N, C), by bisection of the mixture's distribution function."""
        validate.between("q", q, 0, 1)
        low, high = self._reach()
        for _ in range(self._halvings):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < q
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)

    def interval(self, probability: float = 0.95) -> tuple[Tensor, Tensor]:
        """Central interval that holds y with the given probability: lower and upper end, (N, C) each."""
        validate.between("probability", probability, 0, 1)
        return self.quantile(0.5 - probability / 2), self.quantile(0.5 + probability / 2)
