"""Predictive distribution of regression: an equal mixture of S Gaussians at each input, one per function."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .crps import mixture_crps
from .noisy_function import MixtureQuantiles, NoisyFunction


def log_normal(y: Tensor, f: Tensor, std: float | Tensor) -> Tensor:
    """log N(y; f, std^2) summed over outputs: y (N, C), f (..., N, C) and std, a number or as f or C, give (..., N)."""
    C = f.shape[-1]
    if isinstance(std, Tensor):
        log_det = std.log().expand(*std.shape[:-1], C).sum(-1)
    else:
        log_det = C * math.log(std)
    return ((y - f).square() * (-0.5 / std**2)).sum(-1) - (log_det + 0.5 * C * math.log(2 * math.pi))


@dataclass(frozen=True, eq=False)
class GaussianPredictive(NoisyFunction, MixtureQuantiles):
    """A mixture of S equally weighted Gaussians at each input, N(f_s(x), noise_std_s(x)^2).

    Its variance splits by the law of total variance into the mean of the components' variances (aleatoric:
    noise that more data cannot remove) and the variance of their means (epistemic: disagreement that more
    data would remove).

    Attributes:
        f: (S, N, C) function values.
        noise_std: standard deviation of the noise: a number, one per output (C,), or a tensor of three axes that
            broadcasts to (S, N, C), where functions, or inputs, have noise of their own.
    """

    f: Tensor
    noise_std: float | Tensor

    @property
    def aleatoric_std(self) -> Tensor:
        """Root of the mean variance of the noise over the stack, (N, C)."""
        if isinstance(self.noise_std, Tensor) and self.noise_std.ndim == 3:
            return self.noise_std.square().expand_as(self.f).mean(0).sqrt()
        return super().aleatoric_std

    @property
    def mean(self) -> Tensor:
        """E[y | x, D], (N, C)."""
        return self.f.mean(0)

    @property
    def epistemic_std(self) -> Tensor:
        """Standard deviation of f over the stack, (N, C)."""
        return self.f.std(0, correction=0)

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,): the log of the average density, for y of shape (N,) or (N, C)."""
        S, N, C = self.f.shape
        y = validate.targets(y, N, C, self.f)
        return log_normal(y, self.f, self.noise_std).logsumexp(0) - math.log(S)

    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score per output, (N, C), in the units of y; for y of shape (N,) or (N, C).

        integral (P(Y <= z) - [z >= y])^2 dz = E|Y - y| - 1/2 E|Y - Y'|, in closed form. 0 is best; for one function
        without noise it is the absolute error. (Gneiting & Raftery 2007; for mixtures Grimit et al. 2006.)
        """
        y = validate.targets(y, *self.f.shape[1:], self.f)
        return mixture_crps(y, self.f, self.noise_std)

    def cdf(self, y: float | Tensor) -> Tensor:
        """P(Y <= y) per output, (N, C), for y as in `log_prob`, a number, or anything that broadcasts to (N, C)."""
        y = validate.per_output("y", y, self.f[0])
        return torch.special.ndtr((y - self.f) / self.noise_std).mean(0)

    def _reach(self) -> tuple[Tensor, Tensor]:
        return (self.f - 10 * self.noise_std).amin(0), (self.f + 10 * self.noise_std).amax(0)
