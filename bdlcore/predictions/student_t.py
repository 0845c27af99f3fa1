"""Predictive distribution of robust regression: an equal mixture of S Student's t distributions at each input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._support import validate
from .noisy_function import MixtureQuantiles, NoisyFunction


def log_student_t(y: Tensor, f: Tensor, scale: float | Tensor, dof: float) -> Tensor:
    """log t(y; f, scale, dof) summed over outputs: y (N, C), f (..., N, C), scale a number or as f, give (..., N)."""
    constant = math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2) - 0.5 * math.log(dof * math.pi)
    tails = -0.5 * (dof + 1) * ((y - f) / scale).square().div_(dof).log1p_()
    log_scale = scale.log() if isinstance(scale, Tensor) else math.log(scale)
    return (tails + (constant - log_scale)).sum(-1)


@dataclass(frozen=True, eq=False)
class StudentTPredictive(NoisyFunction, MixtureQuantiles):
    """A mixture of S equally weighted Student's t distributions at each input.

    It answers what `GaussianPredictive` answers. Noise of dof <= 2 has no finite standard deviation, and
    `aleatoric_std` and `total_std` are infinite; of dof <= 1 it has no mean, and `mean` is that of the locations.

    Attributes:
        f: (S, N, C) locations.
        scale: of the noise: a number, one per output (C,), or broadcastable to (S, N, C).
        dof: degrees of freedom.
    """

    f: Tensor
    scale: float | Tensor
    dof: float
    _halvings: ClassVar[int] = 100  # the ends are far apart

    @property
    def mean(self) -> Tensor:
        """E[y | x, D], (N, C)."""
        return self.f.mean(0)

    @property
    def epistemic_std(self) -> Tensor:
        """Standard deviation of f over the stack, (N, C)."""
        return self.f.std(0, correction=0)

    @property
    def aleatoric_std(self) -> Tensor:
        """Root of the mean variance of the noise over the stack, (N, C)."""
        widening = self.dof / (self.dof - 2) if self.dof > 2 else math.inf
        return (widening * self._scales.square().mean(0)).sqrt()

    @property
    def _scales(self) -> Tensor:
        return torch.as_tensor(self.scale, dtype=self.f.dtype, device=self.f.device).expand_as(self.f)

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,): the log of the average density, for y of shape (N,) or (N, C)."""
        S, N, C = self.f.shape
        y = validate.targets(y, N, C, self.f)
        return log_student_t(y, self.f, self.scale, self.dof).logsumexp(0) - math.log(S)

    def cdf(self, y: float | Tensor) -> Tensor:
        """P(Y <= y) per output, (N, C), for y as in `log_prob`, a number, or anything that broadcasts to (N, C)."""
        from scipy.special import stdtr

        y = validate.per_output("y", y, self.f[0])
        below = stdtr(self.dof, ((y - self.f) / self.scale).cpu().numpy())
        return torch.from_numpy(below).to(self.f).mean(0)

    def _reach(self) -> tuple[Tensor, Tensor]:
        reach = self._scales * 10 ** min(3 + 12 / self.dof, 15)  # the tails hold less than 1e-12 beyond
        return (self.f - reach).amin(0), (self.f + reach).amax(0)
