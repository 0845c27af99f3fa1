"""The continuous ranked probability score of mixtures of Gaussians, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mixture_crps(y: Tensor, means: Tensor, std: float | Tensor) -> Tensor:
    """E|Y - y| - 1/2 E|Y - Y'| for Y, Y' from the equal mixture over s of N(means_s, std_s^2), each output by itself.

    The difference of two Gaussians is one, and E|N(m, v^2)| = 2 v phi(m / v) + m (2 Phi(m / v) - 1).

    Args:
        y: (N, C).
        means: (S, N, C).
        std: broadcastable to means.

    Returns:
        (N, C). Takes S^2 / 2 of these expectations for each, S N C at a time.
    """
    variance = torch.as_tensor(std, dtype=means.dtype, device=means.device).square().expand_as(means)
    S = len(means)
    apart = _mean_size(torch.zeros_like(means), 2 * variance).sum(0)  # of a component from itself
    for s in range(S - 1):
        later = slice(s + 1, S)
        apart = apart + 2 * _mean_size(means[later] - means[s], variance[later] + variance[s]).sum(0)
    return _mean_size(y - means, variance).mean(0) - 0.5 * apart / S**2


def _mean_size(mean: Tensor, variance: Tensor) -> Tensor:
    """E|N(mean, variance)|."""
    std = variance.sqrt()
    z = mean / std
    density = (-0.5 * z.square()).exp() / math.sqrt(2 * math.pi)
    return 2 * std * density + mean * torch.special.erf(z / math.sqrt(2))
