"""Step sizes from the curvature where a run starts."""

from __future__ import annotations

from torch import Tensor

from .._support.randomness import generator
from .run import Run

_PROBE_DISTANCE = 1e-2  # prior standard deviations between the gradients that measure curvature
_POWER_ITERATIONS = 15
_CURVATURE_DATA = 2000


def largest_curvature(run: Run, theta: Tensor) -> Tensor:
    """Largest |eigenvalue| of the Hessian at each row of theta (S, D), (S,), on at most 2,000 data.

    By power iteration on differences of gradients, which the run counts.
    """
    density = next(run.density.batches(_CURVATURE_DATA, generator(run.seed, 7)))
    direction = run.random(4).normal(theta.shape[1])
    for _ in range(_POWER_ITERATIONS):
        direction = direction / direction.norm(dim=1, keepdim=True)
        offset = _PROBE_DISTANCE * direction
        direction = (density(theta + offset)[1] - density(theta - offset)[1]) / (2 * _PROBE_DISTANCE)
    run.gradients += 2 * _POWER_ITERATIONS * len(density.x) / len(run.density.x)
    return direction.norm(dim=1)
