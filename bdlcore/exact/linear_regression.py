"""Bayesian linear regression: the model whose posterior, predictive and evidence are known in closed form.

It is the ground truth of the course: whatever a sampler says can be held against it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .._support import files, validate
from .._support.randomness import generator
from ..predictions.normal import NormalPredictive


@dataclass(frozen=True, eq=False)
class LinearPosterior:
    """Exact posterior of y = features w + noise with prior w ~ N(0, prior_std^2 I).

    Attributes:
        mean: (P,) posterior mean.
        covariance: (P, P) posterior covariance.
        noise_std: standard deviation of the noise.
        log_evidence: log p(y | features), the log marginal likelihood at temperature 1; None for tempered
            posteriors, which have no evidence in this sense.
        seconds: wall time that the fit took.
    """

    mean: Tensor
    covariance: Tensor
    noise_std: float
    log_evidence: float | None
    seconds: float

    method = "linear regression"
    gradient_evaluations = 0

    def predict(self, features: Tensor) -> NormalPredictive:
        """The exact predictive at features (N, P)."""
        self._check(features)
        variance = ((features @ self.covariance) * features).sum(1, keepdim=True)
        mean = (features @ self.mean)[:, None]
        return NormalPredictive(mean, variance.clamp(min=0).sqrt(), self.noise_std)

    def functions(self, features: Tensor, draws: int = 100, seed: int | torch.Generator = 0) -> Tensor:
        """Functions drawn from the posterior at features (N, P): (draws, N, 1), without noise."""
        self._check(features)
        return (self.sample(draws, seed) @ features.mT)[..., None]

    def sample(self, draws: int, seed: int | torch.Generator) -> Tensor:
        """Draw weights (draws, P) from the posterior."""
        root = _factor("The posterior covariance", self.covariance)
        size = validate.count("draws", draws), len(self.mean)
        z = torch.randn(size, generator=generator(seed), dtype=self.mean.dtype).to(root.device)
        return self.mean + z @ root.mT

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file; nothing is left behind if writing fails."""
        facts = {name: getattr(self, name) for name in ("noise_std", "log_evidence", "seconds")}
        files.save(path, self.method, {"mean": self.mean, "covariance": self.covariance}, facts)

    @classmethod
    def load(cls, path: str | Path) -> LinearPosterior:
        """Read what `save` wrote. Raises FileNotFoundError or ValueError."""
        tensors, facts = files.load(path, cls.method)
        return cls(**tensors, **facts)

    def _check(self, features: Tensor) -> None:
        validate.numbers("features", features)
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features must have shape (N, {len(self.mean)}), got {tuple(features.shape)}.")
        if features.dtype != self.mean.dtype:
            raise ValueError(
                f"features must have the dtype of the fit, {self.mean.dtype}, got {features.dtype}."
            )


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
        y: (N,) or (N, 1) targets.
        prior_std: prior standard deviation of each weight.
        noise_std: standard deviation of the noise.
        temperature, likelihood_temperature: T and T_lik; 1 is Bayes.

    Raises:
        TypeError, ValueError: for what is no tensor or number, NaN, shapes that do not match, and features that are
            so nearly dependent, or so large, that the precision has no Cholesky factor in their dtype.
    """
    started = time.perf_counter()
    for name, value in [
        ("prior_std", prior_std),
        ("noise_std", noise_std),
        ("temperature", temperature),
        ("likelihood_temperature", likelihood_temperature),
    ]:
        validate.scale(name, value)
    validate.nonempty("features", validate.inputs("features", features))
    if features.ndim != 2:
        raise ValueError(f"features must have shape (N, P), got {tuple(features.shape)}.")
    y = validate.targets(y, len(features), 1, features)[:, 0]
    N, P = features.shape
    noise_variance = noise_std**2 * likelihood_temperature
    identity = torch.eye(P, dtype=features.dtype, device=features.device)
    precision = features.mT @ features / noise_variance + identity / prior_std**2
    root = _factor("The posterior precision", precision)
    mean = torch.cholesky_solve((features.mT @ y / noise_variance)[:, None], root)[:, 0]
    covariance = temperature * torch.cholesky_inverse(root)
    evidence = None
    if temperature == likelihood_temperature == 1:
        fit = (y - features @ mean).square().sum() / noise_std**2 + mean.square().sum() / prior_std**2
        log_det = 2 * root.diagonal().log().sum() + 2 * P * math.log(prior_std) + 2 * N * math.log(noise_std)
        evidence = -0.5 * (fit + log_det + N * math.log(2 * math.pi)).item()
    return LinearPosterior(mean, covariance, noise_std, evidence, time.perf_counter() - started)


def _factor(name: str, A: Tensor) -> Tensor:
    """The Cholesky factor of A, or a word on the features that it was made of."""
    root, failed = torch.linalg.cholesky_ex(A)
    if failed or not torch.isfinite(root).all():
        finite = torch.isfinite(A).all()
        what = "ill-conditioned: some are nearly combinations of others" if finite else "too large"
        double = "" if A.dtype == torch.float64 else "Use features.double() and y.double(); or s"
        raise ValueError(
            f"{name} has no Cholesky factor in {A.dtype}: the features are {what}, or on very different scales. "
            f"{double or 'S'}tandardise x before making features of it, or take orthogonal ones, such as Legendre "
            "polynomials instead of powers."
        )
    return root
