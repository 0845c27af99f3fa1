"""Bayesian linear regression as a network model beside its closed form, in whitened weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

import bdlcore as bdl

PRIOR_STD, NOISE_STD = 0.8, 0.5


@dataclass
class Conjugate:
    """A linear model with three weights, n data, and what is known of it exactly."""

    model: bdl.Model
    x: Tensor
    y: Tensor

    @property
    def data(self):
        return self.model, self.x, self.y

    def exact(self, **temperatures) -> bdl.LinearPosterior:
        features = torch.cat([self.x, torch.ones_like(self.x[:, :1])], 1)
        return bdl.linear_regression(
            features, self.y, prior_std=PRIOR_STD, noise_std=NOISE_STD, **temperatures
        )

    def whitened(self, **temperatures) -> tuple[Tensor, Tensor]:
        """Mean (3,) and precision (3, 3) of the tempered posterior of theta = w / prior std."""
        exact = self.exact(**temperatures)
        return exact.mean / PRIOR_STD, torch.linalg.inv(exact.covariance / PRIOR_STD**2)

    def standardised(self, theta: Tensor, **temperatures) -> tuple[Tensor, Tensor]:
        """theta (..., 3) along the principal axes of the posterior, in its standard deviations; the curvatures (3,)."""
        mean, precision = self.whitened(**temperatures)
        curvature, axes = torch.linalg.eigh(precision)
        return (theta - mean) @ axes * curvature.sqrt(), curvature


def conjugate(n: int = 15) -> Conjugate:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=g, dtype=torch.float64)
    noise = torch.randn(n, generator=g, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -0.5], dtype=torch.float64) + 0.3 + NOISE_STD * noise
    return Conjugate(
        bdl.Model(bdl.nets.mlp(2, 1), bdl.GaussianPrior(PRIOR_STD), bdl.Gaussian(NOISE_STD)), x, y
    )
