"""Predictives of linearised networks: f(x) is Gaussian at every input, so the weights are integrated out exactly.

    f(x) | D ~ N( f_w*(x),  J(x) Sigma J(x)^T )        (MacKay 1992; Khan et al. 2019; Immer et al. 2021)

Several modes make a mixture with equal weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .crps import mixture_crps
from .noisy_function import MixtureQuantiles, NoisyFunction


@dataclass(frozen=True, eq=False)
class LinearisedPredictive(NoisyFunction, MixtureQuantiles):
    """A mixture over S modes of Gaussians at each input, N(means_s(x), covariance_s(x) + noise_std^2 I).

    It answers what `GaussianPredictive` answers.

    Attributes:
        means: (S, N, C) function values at the modes.
        covariance: (S, N, C, C) covariance of the C outputs of the function at each input.
        noise_std: standard deviation of the noise, a number or one per output (C,).
    """

    means: Tensor
    covariance: Tensor
    noise_std: float | Tensor

    @property
    def mean(self) -> Tensor:
        """E[y | x, D], (N, C)."""
        return self.means.mean(0)

    @property
    def epistemic_std(self) -> Tensor:
        """Standard deviation of f, (N, C): within modes and between them."""
        between = self.means.var(0, correction=0)
        return (self._variance.mean(0) + between).sqrt()

    @property
    def _variance(self) -> Tensor:
        return self.covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0)

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,), of all outputs together, for y of shape (N,) or (N, C)."""
        y = validate.targets(y, *self.means.shape[1:], self.means)
        noise = self.noise_std**2 * torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
        root = torch.linalg.cholesky(self.covariance + noise)
        z = torch.linalg.solve_triangular(root, (y - self.means)[..., None], upper=False)[..., 0]
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_p = -0.5 * z.square().sum(-1) - log_det - 0.5 * math.log(2 * math.pi) * y.shape[1]
        return log_p.logsumexp(0) - math.log(len(self.means))

    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score per output, (N, C): see `GaussianPredictive.crps`."""
        y = validate.targets(y, *self.means.shape[1:], self.means)
        return mixture_crps(y, self.means, (self._variance + self.noise_std**2).sqrt())

    def cdf(self, y: float | Tensor) -> Tensor:
        """P(Y <= y) per output, (N, C), for y as in `log_prob`, a number, or anything that broadcasts to (N, C)."""
        y = validate.per_output("y", y, self.means[0])
        return torch.special.ndtr((y - self.means) / (self._variance + self.noise_std**2).sqrt()).mean(0)

    def _reach(self) -> tuple[Tensor, Tensor]:
        reach = 10 * (self._variance + self.noise_std**2).sqrt()
        return (self.means - reach).amin(0), (self.means + reach).amax(0)
