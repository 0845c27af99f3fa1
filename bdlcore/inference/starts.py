"""Step sizes from the curvature where a run starts."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support.randomness import generator
from ..curvature.spectra import lanczos
from .run import Run

_PROBE_DISTANCE = 1e-2  # prior standard deviations between the gradients that measure curvature
_LANCZOS_STEPS = 12
_CURVATURE_DATA = 2000


def largest_curvature(run: Run, theta: Tensor) -> Tensor:
    """Largest |eigenvalue| of the Hessian at each row of theta (S, D), (S,), on at most 2,000 data.

    By Lanczos steps, whose products with the Hessian are differences of gradients; the run counts these.
    """
    density = next(run.density.batches(_CURVATURE_DATA, generator(run.seed, 7)))

    def product(v: Tensor) -> Tensor:
        offset = _PROBE_DISTANCE * v
        return (density(theta + offset)[1] - density(theta - offset)[1]) / (2 * _PROBE_DISTANCE)

    start = run.random(4).normal(theta.shape[1])
    steps = min(_LANCZOS_STEPS, theta.shape[1])
    values, _ = lanczos(product, start, steps)
    run.gradients += 2 * steps * len(density.x) / run.count
    return torch.maximum(values[:, 0], -values[:, -1])
