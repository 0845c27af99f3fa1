"""The posterior mass around a mode, by annealed importance sampling (Neal 2001).

A particle starts in a Gaussian q of known volume, Laplace's at a mode, and walks to the posterior over the densities

    pi_k(theta) ∝ q(theta)^(1 - b_k) p(D, theta)^(b_k),     0 = b_0 < b_1 < ... < b_K = 1,

with a transition of HMC that leaves pi_k in place after each step of b. Its weight

    log w = sum_k (b_k - b_(k-1)) [log p(D, theta_(k-1)) - log q(theta_(k-1))]

has the mean E[w] = Z = p(D), however short the walk; a short one only spreads the weights. More than that, for every
set B of weight settings

    E[w 1(theta_K in B)] = Z p(B | D),

so that the end alone says whether a particle counts for a basin B, and nothing has to hold it there on the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from ..curvature.spectra import curvature_matrix
from ..models.model import Model
from ..models.stack import Stack, check_stack
from .hmc import leapfrog
from .run import Run


@dataclass(frozen=True, eq=False)
class AnnealedMass:
    """Particles that have walked from the Gaussian at a mode to the posterior, with their weights.

    Attributes:
        stack: where they ended, S * P rows, mode by mode.
        log_weights: (S, P).
        acceptance: (S,) mean acceptance probability of the transitions.
        gradient_evaluations: on all the data, over all particles.
    """

    stack: Stack
    log_weights: Tensor
    acceptance: Tensor
    gradient_evaluations: int

    def log_mass(self, within: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log of the integral of p(D, theta) over a set, from the particles of each mode, and its standard error.

        The error is that of the mean of P independent weights, sd(w) / (sqrt(P) mean(w)), good while it is far below 1
        and the Gaussian is like the posterior around its mode. Where it is not, as at a mode whose hidden units do the
        same work, few particles carry the weight, more often none of them: then the log is several errors too small.
        Modes of one posterior must all find the same log p(D); where they do not, no error here is to be believed.

        Args:
            within: (S, P) of booleans, which particles ended in the set; all when None: then it is log p(D).

        Returns:
            (S,) logs and (S,) standard errors, in nats; -inf and NaN where no particle ended within.
        """
        S, P = self.log_weights.shape
        if within is None:
            within = torch.ones_like(self.log_weights, dtype=torch.bool)
        validate.tensor("within", within)
        if within.dtype != torch.bool or within.shape != (S, P):
            raise ValueError(
                f"within must hold one boolean per particle, shape ({S}, {P}), got {within.dtype} of shape "
                f"{tuple(within.shape)}."
            )
        top = self.log_weights.amax(1, keepdim=True)
        weights = (self.log_weights - top).exp() * within.to(self.log_weights.device)
        mean = weights.mean(1)
        return top[:, 0] + mean.log(), weights.std(1) / (math.sqrt(P) * mean)


def annealed_mass(
    model: Model,
    x: Tensor,
    y: Tensor,
    stack: Stack,
    *,
    particles: int = 50,
    temperatures: int = 100,
    leapfrog_steps: int = 5,
    step_size: float = 0.3,
    chunk_size: int | None = None,
    seed: int | torch.Generator = 0,
) -> AnnealedMass:
    """Anneal particles from Laplace's Gaussian at each mode, N(theta*, (H + I)^-1), to the posterior (Neal 2001).

    H is the Hessian of -log p(D | theta) at the mode. Trajectories are integrated in the Gaussian's own coordinates,
    in which its curvature is 1 in every direction.

    Args:
        model: network, Gaussian prior, likelihood.
        x, y: all the data.
        stack: S modes of the log posterior, one per row, in a dtype that second derivatives bear.
        particles: P per mode, independent of each other; two at least, for an error.
        temperatures: K, equal steps of b from 0 to 1.
        leapfrog_steps: gradients per transition.
        step_size: of the leapfrog steps, in stds of the Gaussian; each transition takes 0.5 to 1.5 times as much.
        chunk_size, seed: see `bdlcore.inference.run`.

    Raises ValueError where H + I is not positive definite: the row is not at a mode.
    """
    if not model.prior.gaussian:
        raise ValueError(
            f"annealed_mass starts from Laplace's Gaussian, which needs a Gaussian prior; {model.prior} is none."
        )
    check_stack(stack, model.layout, x)
    particles = validate.count("particles", particles, 2, "The error needs two.")
    temperatures = validate.count("temperatures", temperatures)
    leapfrog_steps = validate.count("leapfrog_steps", leapfrog_steps)
    validate.scale("step_size", step_size)
    S, D = stack.theta.shape
    run = Run(
        "annealed importance sampling", "particle", model, x, y, S * particles, seed, chunk_size=chunk_size
    )
    centre, root, log_det = _gaussians(model, stack, x, y)
    random = run.random(6)

    def weights(z: Tensor) -> Tensor:
        return (centre[:, None] + z.view(S, particles, D) @ root.mT).flatten(0, 1)

    def target(z: Tensor) -> tuple[Tensor, Tensor]:
        """log p(D, theta) / q(theta) and its gradient in z, for theta = theta* + root z."""
        value, gradient = run.density(weights(z))
        gradient = (gradient.view(S, particles, D) @ root).flatten(0, 1)
        log_q = (
            -0.5 * z.square().sum(1) - 0.5 * D * math.log(2 * math.pi) - log_det.repeat_interleave(particles)
        )
        return value - log_q, gradient + z

    z = random.normal(D)
    ratio, slope = target(z)
    log_weights, acceptance, b = torch.zeros_like(ratio), torch.zeros_like(ratio), 0.0
    for k in range(1, temperatures + 1):
        before, b = b, k / temperatures
        log_weights = log_weights + (b - before) * ratio
        last: list[Tensor] = []

        def density(z: Tensor, b: float = b, last: list[Tensor] = last) -> tuple[Tensor, Tensor]:
            ratio, slope = target(z)
            last[:] = ratio, slope
            return b * ratio - 0.5 * z.square().sum(1), b * slope - z

        momentum = random.normal(D)
        energy = b * ratio - 0.5 * z.square().sum(1) - 0.5 * momentum.square().sum(1)
        eps = step_size * (0.5 + random.uniform())
        new, end, value, _ = leapfrog(density, z, momentum, b * slope - z, eps, leapfrog_steps)
        gain = torch.nan_to_num(value - 0.5 * end.square().sum(1) - energy, nan=-math.inf)
        probability = gain.clamp(max=0).exp()
        accept = random.uniform() < probability
        z = torch.where(accept[:, None], new, z)
        ratio, slope = torch.where(accept, last[0], ratio), torch.where(accept[:, None], last[1], slope)
        acceptance = acceptance + probability / temperatures
    return AnnealedMass(
        Stack(weights(z), stack.layout),
        log_weights.view(S, particles),
        acceptance.view(S, particles).mean(1),
        (1 + temperatures * leapfrog_steps) * S * particles,
    )


def _gaussians(model: Model, stack: Stack, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means (S, D), roots (S, D, D) of the covariances, and the logs (S,) of their determinants."""
    H = curvature_matrix(model, stack, x, y)
    values, vectors = torch.linalg.eigh(H + torch.eye(H.shape[-1]).to(H))
    if (values[:, 0] <= 0).any():
        row = int((values[:, 0] <= 0).nonzero()[0])
        raise ValueError(
            f"stack: row {row} is not at a mode of the log posterior, whose curvature there has the eigenvalue "
            f"{values[row, 0]:.3g}. Go on until it is one, in float64."
        )
    return stack.theta, vectors * values.rsqrt()[:, None], -0.5 * values.log().sum(1)
