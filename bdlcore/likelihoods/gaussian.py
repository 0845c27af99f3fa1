"""Regression with known noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .._support import validate
from ..predictions.function_values import FunctionValues
from ..predictions.gaussian import GaussianPredictive, log_normal
from ..predictions.linearised import LinearisedPredictive
from ..predictions.streamed import StreamedPredictive
from .protocol import Likelihood


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Regression with known noise: y_c = f_c(x) + noise_std_c * standard normal, independent per output.

    Attributes:
        noise_std: standard deviation of the noise in the units of y: a number, or a tensor, array or list of C
            numbers, one per output, which is kept as a tuple.
    """

    noise_std: float | tuple[float, ...]

    def __post_init__(self):
        std = self.noise_std
        if isinstance(std, Tensor | np.ndarray | list | tuple):
            std = torch.as_tensor(std, dtype=torch.float64)
            if std.ndim > 1:
                raise ValueError(f"noise_std must be a number or have shape (C,), got {tuple(std.shape)}.")
            std = tuple(std.tolist()) if std.ndim else std.item()
            object.__setattr__(self, "noise_std", std)
        for value in std if isinstance(std, tuple) else (std,):
            validate.positive("noise_std", value, "It is a standard deviation, not a variance.")

    def noise(self, like: Tensor) -> float | Tensor:
        """The number, or the C numbers as a tensor (C,) beside `like`."""
        return torch.tensor(self.noise_std).to(like) if isinstance(self.noise_std, tuple) else self.noise_std

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check targets and return them as (N, C); y of shape (N,) is taken as C = 1."""
        if isinstance(self.noise_std, tuple) and len(self.noise_std) != outputs:
            raise ValueError(
                f"noise_std has {len(self.noise_std)} values for a network of {outputs} output(s); give one per output."
            )
        return validate.targets(y, len(like), outputs, like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log N(y; f, noise_std^2) summed over outputs: f (..., N, C) and y (N, C) give (..., N)."""
        return log_normal(y, f, self.noise(f))

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = (y - f) / noise_std^2, the shape of f."""
        return (y - f).mul_(1 / self.noise(f) ** 2)

    def curvature_root(self, f: Tensor) -> Tensor:
        """diag(1 / noise_std), (N, C, C): the curvature is the noise's precision, whatever y."""
        return (torch.ones_like(f) / self.noise(f)).diag_embed()

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One y for every f, same shape."""
        noise = torch.randn(f.shape, generator=generator, dtype=f.dtype).to(f.device)
        return f + self.noise(f) * noise

    def predictive(self, functions: FunctionValues) -> GaussianPredictive | StreamedPredictive:
        """A mixture of S Gaussians at each input."""
        if functions.fits:
            f = functions.values()
            return GaussianPredictive(f, self.noise(f))
        return StreamedPredictive(functions, self.noise(functions.evaluate(slice(0, 1))))

    def predictive_of_gaussian(self, means: Tensor, covariance: Tensor) -> LinearisedPredictive:
        """A mixture of S Gaussians at each input, in closed form."""
        return LinearisedPredictive(means, covariance, self.noise(means))

    def at_noise(self, f: Tensor, y: Tensor, noise_std: float | Tensor) -> tuple[Tensor, Tensor]:
        """As in `Likelihood`: one number in place of the noise of every output, which must have been one number too."""
        validate.positive("noise_std", noise_std, "It is a standard deviation, not a variance.")
        if isinstance(self.noise_std, tuple):
            raise ValueError("noise_std can be changed where it is one number; here each output has its own.")
        noise_std = torch.as_tensor(noise_std, dtype=f.dtype, device=f.device)
        constant = y.numel() * (noise_std.log() + 0.5 * math.log(2 * math.pi))
        fit = -0.5 * (y - f).square().sum((-2, -1)) / noise_std.square() - constant
        return fit, self.noise_std / noise_std
