"""Predictive distribution of counts: an equal mixture of S Poisson distributions at each input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .noisy_function import MixtureQuantiles, NoisyFunction


@dataclass(frozen=True, eq=False)
class CountPredictive(NoisyFunction, MixtureQuantiles):
    """A mixture of S equally weighted Poisson distributions at each input, of mean exp(f_s(x)).

    Its variance splits as that of `GaussianPredictive`: the mean of the counts' variances, which are their means
    (aleatoric), and the variance of the means (epistemic).

    Attributes:
        f: (S, N, C) logarithms of mean counts.
    """

    f: Tensor

    @property
    def mean(self) -> Tensor:
        """E[y | x, D], (N, C): the mean of exp(f), not exp of the mean."""
        return self.f.exp().mean(0)

    @property
    def epistemic_std(self) -> Tensor:
        """Standard deviation of the mean count over the stack, (N, C)."""
        return self.f.exp().std(0, correction=0)

    @property
    def aleatoric_std(self) -> Tensor:
        """Root of the mean variance of a count, which is its mean, (N, C)."""
        return self.mean.sqrt()

    def log_prob(self, y: Tensor) -> Tensor:
        """log P(y_n | x_n, D), (N,): the log of the average probability, for counts y of shape (N,) or (N, C)."""
        S, N, C = self.f.shape
        y = validate.targets(validate.tensor("y", y).to(self.f), N, C, self.f)
        log_p = (y * self.f - self.f.exp() - torch.lgamma(y + 1)).sum(-1)
        return log_p.logsumexp(0) - math.log(S)

    def cdf(self, y: float | Tensor) -> Tensor:
        """P(Y <= y) per output, (N, C), for y as in `log_prob`, a number, or anything that broadcasts to (N, C)."""
        y = validate.per_output("y", y, self.f[0]).floor()
        below = torch.special.gammaincc(y.clamp(min=0) + 1, self.f.exp())
        return torch.where(y < 0, torch.zeros_like(y), below.mean(0))

    def quantile(self, q: float) -> Tensor:
        """The smallest count y with P(Y <= y) >= q, (N, C); an `interval` of two holds at least its probability."""
        validate.between("q", q, 0, 1)
        rate = self.f.exp().amax(0)
        low, high = torch.full_like(rate, -1.0), (rate + 20 * rate.sqrt() + 50).ceil()
        while (gap := high - low).max() > 1:
            middle = (low + gap / 2).floor()
            below = self.cdf(middle) < q
            low = torch.where(below & (gap > 1), middle, low)
            high = torch.where(~below & (gap > 1), middle, high)
        return high
