"""Regression with Gaussian noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .._support import validate
from ..predictions.function_values import FunctionValues
from ..predictions.gaussian import GaussianPredictive, log_normal
from ..predictions.linearised import LinearisedPredictive
from ..predictions.streamed import StreamedPredictive
from .noise import Noise, as_noise, noise_of
from .protocol import Likelihood, OwnParameter

_HINT = "It is a standard deviation, not a variance."


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Regression: y_c = f_c(x) + noise_std_c * standard normal, independent per output.

    Attributes:
        noise_std: standard deviation of the noise in the units of y. Where it is known, a number, or a tensor, array or
            list of C numbers, one per output, which is kept as a tuple; else `LearnedNoise(median)`, unknown but the
            same everywhere, or `NoiseHead()`, a function of x.
    """

    noise_std: float | tuple[float, ...] | Noise

    def __post_init__(self):
        object.__setattr__(self, "noise_std", as_noise("noise_std", self.noise_std, _HINT))

    @cached_property
    def _noise(self) -> Noise:
        return noise_of("noise_std", self.noise_std)

    def own_parameters(self) -> tuple[OwnParameter, ...]:
        """log noise_std where it is learned."""
        return self._noise.own_parameters()

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check targets and return them as (N, C); y of shape (N,) is taken as C = 1."""
        return validate.targets(y, len(like), self._noise.targets(outputs), like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log N(y; f, noise_std^2) summed over outputs: f (..., N, C) and y (N, C) give (..., N)."""
        return log_normal(y, *self._noise.split(f))

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df, the shape of f: (y - f) / noise_std^2, and z^2 - 1 in log noise_std, z its square root.

        z = (y - f) / noise_std.
        """
        f, std = self._noise.split(f)
        slope = (y - f).mul_(1 / std**2)
        return self._noise.join(slope, lambda: (slope * std).square() - 1)

    def curvature_root(self, f: Tensor) -> Tensor:
        """diag(1 / noise_std), (N, C, C); an unknown log noise_std has the information 2 for each output."""
        f, std = self._noise.split(f)
        return self._noise.root(torch.ones_like(f) / std, math.sqrt(2))

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One y for every f, (..., N, C)."""
        f, std = self._noise.split(f)
        return f + std * torch.randn(f.shape, generator=generator, dtype=f.dtype).to(f.device)

    def predictive(self, functions: FunctionValues) -> GaussianPredictive | StreamedPredictive:
        """A mixture of S Gaussians at each input."""

        def mixture(f: Tensor) -> GaussianPredictive:
            return GaussianPredictive(*self._noise.split(f))

        return mixture(functions.values()) if functions.fits else StreamedPredictive(functions, mixture)

    def predictive_of_gaussian(self, means: Tensor, covariance: Tensor) -> LinearisedPredictive | None:
        """A mixture of S Gaussians at each input, in closed form where the noise is known."""
        std = self._noise.known(means)
        return None if std is None else LinearisedPredictive(means, covariance, std)

    def at_noise(self, f: Tensor, y: Tensor, noise_std: float | Tensor) -> tuple[Tensor, Tensor]:
        """As in `Likelihood`: one number in place of the noise of every output, which must have been one number too."""
        validate.positive("noise_std", noise_std, _HINT)
        if self._noise.known(f) is None:
            raise ValueError(
                "noise_std can be changed where it is known; here it is learned, and the evidence of every value that "
                "it may have is averaged already."
            )
        if isinstance(self.noise_std, tuple):
            raise ValueError("noise_std can be changed where it is one number; here each output has its own.")
        noise_std = torch.as_tensor(noise_std, dtype=f.dtype, device=f.device)
        constant = y.numel() * (noise_std.log() + 0.5 * math.log(2 * math.pi))
        fit = -0.5 * (y - f).square().sum((-2, -1)) / noise_std.square() - constant
        return fit, self.noise_std / noise_std
