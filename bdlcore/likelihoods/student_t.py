"""Regression with outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .._support import validate
from ..predictions.function_values import FunctionValues
from ..predictions.streamed import StreamedPredictive
from ..predictions.student_t import StudentTPredictive, log_student_t
from .noise import Noise, as_noise, noise_of
from .protocol import Likelihood, OwnParameter

_HINT = "It is the scale of the noise, which for outliers is less than their standard deviation."


@dataclass(frozen=True)
class StudentT(Likelihood):
    """Robust regression: y_c = f_c(x) + scale_c * noise from Student's t distribution, independent per output.

    Its tails fall as |y - f|^-(dof + 1), so that a datum far from all others pulls at f as 1 / |y - f| and not, as with
    Gaussian noise, as |y - f|. (Lange, Little & Taylor 1989.)

    Attributes:
        scale: of the noise, in the units of y; like the `noise_std` of `Gaussian` a number, one per output,
            `LearnedNoise(median)` or `NoiseHead()`. For dof > 2 its std is scale * sqrt(dof / (dof - 2)).
        dof: degrees of freedom, > 0: 1 is Cauchy's distribution, 4 usual, and infinity would be a Gaussian.
    """

    scale: float | tuple[float, ...] | Noise
    dof: float = 4.0

    def __post_init__(self):
        object.__setattr__(self, "scale", as_noise("scale", self.scale, _HINT))
        validate.scale("dof", self.dof, hint="For infinitely many use Gaussian.")

    @cached_property
    def _noise(self) -> Noise:
        return noise_of("scale", self.scale)

    def own_parameters(self) -> tuple[OwnParameter, ...]:
        """log scale where it is learned."""
        return self._noise.own_parameters()

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check targets and return them as (N, C); y of shape (N,) is taken as C = 1."""
        return validate.targets(y, len(like), self._noise.targets(outputs), like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log t(y; f, scale, dof) summed over outputs: f (..., N, C) and y (N, C) give (..., N)."""
        f, scale = self._noise.split(f)
        return log_student_t(y, f, scale, self.dof)

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df, the shape of f: w z / scale, and w z^2 - 1 in log scale.

        z = (y - f) / scale, w = (dof + 1) / (dof + z^2).
        """
        f, scale = self._noise.split(f)
        z = (y - f) / scale
        weighted = (self.dof + 1) * z / (self.dof + z.square())
        return self._noise.join(weighted / scale, lambda: weighted * z - 1)

    def curvature_root(self, f: Tensor) -> Tensor:
        """Of the Fisher information (dof + 1) / (dof + 3) / scale^2, and 2 dof / (dof + 3) in log scale."""
        f, scale = self._noise.split(f)
        location = torch.ones_like(f) * math.sqrt((self.dof + 1) / (self.dof + 3)) / scale
        return self._noise.root(location, math.sqrt(2 * self.dof / (self.dof + 3)))

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One y for every f, (..., N, C): a normal number over the root of a chi-squared one per degree of freedom."""
        f, scale = self._noise.split(f)
        normal = torch.randn(f.shape, generator=generator, dtype=f.dtype)
        gamma = torch._standard_gamma(torch.full(f.shape, self.dof / 2, dtype=f.dtype), generator=generator)
        return f + scale * (normal / (2 * gamma / self.dof).sqrt()).to(f.device)

    def predictive(self, functions: FunctionValues) -> StudentTPredictive | StreamedPredictive:
        """A mixture of S Student's t distributions at each input."""

        def mixture(f: Tensor) -> StudentTPredictive:
            return StudentTPredictive(*self._noise.split(f), self.dof)

        return mixture(functions.values()) if functions.fits else StreamedPredictive(functions, mixture)
