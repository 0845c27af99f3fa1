"""Bayesian linear regression: the model whose posterior, predictive and evidence are known in closed form.

It is the ground truth of the course: whatever a sampler says can be held against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _validate
from .randomness import generator


@dataclass(frozen=True, eq=False)
class LinearPosterior:
    """Exact posterior of y = features w + noise with prior w ~ N(0, prior_std^2 I).

    Attributes:
        mean: (P,) posterior mean.
        covariance: (P, P) posterior covariance.
        noise_std: standard deviation of the noise.
        log_evidence: log p(y | features), the log marginal likelihood at temperature 1; None for tempered
            posteriors, which have no evidence in this sense.
    """

    mean: Tensor
    covariance: Tensor
    noise_std: float
    log_evidence: float | None

    def predict(self, features: Tensor) -> LinearPredictive:
        """The exact predictive at features (N, P)."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features must have shape (N, {len(self.mean)}), got {tuple(features.shape)}.")
        variance = ((features @ self.covariance) * features).sum(1)
        return LinearPredictive(features @ self.mean, variance.clamp(min=0).sqrt(), self.noise_std)

    def sample(self, samples: int, seed: int | torch.Generator) -> Tensor:
        """Draw weights (samples, P) from the posterior."""
        root = torch.linalg.cholesky(self.covariance)
        z = torch.randn(samples, len(self.mean), generator=generator(seed), dtype=self.mean.dtype)
        return self.mean + z @ root.mT


@dataclass(frozen=True, eq=False)
class LinearPredictive:
    """p(y | x, D) = N(mean, epistemic_std^2 + noise_std^2) at each of N inputs."""

    mean: Tensor
    epistemic_std: Tensor
    noise_std: float

    @property
    def total_std(self) -> Tensor:
        """Standard deviation of y, (N,)."""
        return (self.epistemic_std.square() + self.noise_std**2).sqrt()

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,)."""
        return torch.distributions.Normal(self.mean, self.total_std).log_prob(y)

    def interval(self, probability: float = 0.95) -> tuple[Tensor, Tensor]:
        """Central interval that holds y with the given probability, (N,) each."""
        half = (
            torch.special.ndtri(torch.tensor(0.5 + probability / 2, dtype=self.mean.dtype)) * self.total_std
        )
        return self.mean - half, self.mean + half


def linear_regression(
    features: Tensor,
    y: Tensor,
    *,
    prior_std: float,
    noise_std: float,
    temperature: float = 1.0,
    likelihood_temperature: float = 1.0,
) -> LinearPosterior:
    """Exact posterior of a linear model with Gaussian prior and noise.

        precision  A = features^T features / (noise_std^2 T_lik) + I / prior_std^2
        mean         = A^-1 features^T y / (noise_std^2 T_lik)
        covariance   = T A^-1

    Temperatures as in `LogPosterior`: raising a Gaussian to the power 1/T keeps its mean and multiplies its
    covariance by T. (Bishop 2006, eq. 3.49-3.54, 3.86.)

    Args:
        features: (N, P), any fixed features of the inputs.
        y: (N,) targets.
        prior_std: prior standard deviation of each weight.
        noise_std: standard deviation of the noise.
        temperature, likelihood_temperature: T and T_lik; 1 is Bayes.
    """
    for name, value in [
        ("prior_std", prior_std),
        ("noise_std", noise_std),
        ("temperature", temperature),
        ("likelihood_temperature", likelihood_temperature),
    ]:
        _validate.positive(name, value)
    if features.ndim != 2 or y.shape != features.shape[:1]:
        raise ValueError(
            f"Expected features (N, P) and y (N,), got {tuple(features.shape)} and {tuple(y.shape)}."
        )
    _validate.finite("features", features)
    _validate.finite("y", y)
    N, P = features.shape
    noise_variance = noise_std**2 * likelihood_temperature
    identity = torch.eye(P, dtype=features.dtype, device=features.device)
    root = torch.linalg.cholesky(features.mT @ features / noise_variance + identity / prior_std**2)
    mean = torch.cholesky_solve((features.mT @ y / noise_variance)[:, None], root)[:, 0]
    covariance = temperature * torch.cholesky_inverse(root)
    evidence = None
    if temperature == likelihood_temperature == 1:
        fit = (y - features @ mean).square().sum() / noise_std**2 + mean.square().sum() / prior_std**2
        log_det = 2 * root.diagonal().log().sum() + 2 * P * math.log(prior_std) + 2 * N * math.log(noise_std)
        evidence = -0.5 * (fit + log_det + N * math.log(2 * math.pi)).item()
    return LinearPosterior(mean, covariance, noise_std, evidence)
