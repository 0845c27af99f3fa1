"""Likelihoods p(y | f): what the outputs of a network say about data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _validate


@dataclass(frozen=True)
class Gaussian:
    """Regression with known noise: y = f(x) + noise_std * standard normal, independent per output.

    Attributes:
        noise_std: standard deviation of the noise, in the units of y.
    """

    noise_std: float

    def __post_init__(self):
        _validate.positive("noise_std", self.noise_std, "It is a standard deviation, not a variance.")

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check targets and return them as (N, C); y of shape (N,) is taken as C = 1."""
        if not isinstance(y, Tensor) or not y.is_floating_point():
            kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(f"y must be a floating-point torch.Tensor for a Gaussian likelihood, got {kind}.")
        y = y[:, None] if y.ndim == 1 else y
        _check_length(y, like)
        if y.shape[1:] != (outputs,):
            raise ValueError(
                f"y must have shape (N, {outputs}) to match the network's outputs, got {tuple(y.shape)}."
            )
        _validate.finite("y", y)
        return y.to(like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log N(y; f, noise_std^2) summed over outputs: f (..., N, C) and y (N, C) give (..., N)."""
        constant = math.log(self.noise_std) + 0.5 * math.log(2 * math.pi)
        return (-0.5 / self.noise_std**2 * (y - f).square()).sum(-1) - constant * f.shape[-1]

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = (y - f) / noise_std^2, the shape of f."""
        return (y - f).mul_(1 / self.noise_std**2)

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One y for every f, same shape."""
        noise = torch.randn(f.shape, generator=generator, dtype=f.dtype).to(f.device)
        return f + self.noise_std * noise


@dataclass(frozen=True)
class Categorical:
    """Classification: p(y = c | f) = softmax(f)_c."""

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check integer labels in [0, outputs) and return them as (N,)."""
        if not isinstance(y, Tensor) or y.is_floating_point() or y.dtype == torch.bool:
            kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(f"y must be a tensor of integer labels for a Categorical likelihood, got {kind}.")
        if y.ndim != 1:
            raise ValueError(f"y must have shape (N,) holding class labels, got {tuple(y.shape)}.")
        _check_length(y, like)
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= outputs:
            wrong = low if low < 0 else high
            raise ValueError(
                f"y holds label {wrong}; with {outputs} outputs labels must lie in 0..{outputs - 1}."
            )
        return y.to(device=like.device, dtype=torch.long)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log softmax(f)_y: logits f (..., N, C) and labels y (N,) give (..., N)."""
        log_p = log_softmax(f)
        return log_p.gather(-1, y[:, None].expand(*f.shape[:-1], 1)).squeeze(-1)

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = (one-hot y) - softmax(f), the shape of f."""
        return F.one_hot(y, f.shape[-1]) - log_softmax(f).exp()

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One label for every f (..., N, C), shape (..., N)."""
        p = f.softmax(-1).cpu()
        flat = torch.multinomial(p.reshape(-1, p.shape[-1]), 1, generator=generator)
        return flat.reshape(p.shape[:-1]).to(f.device)


def log_softmax(f: Tensor) -> Tensor:
    """log softmax over classes, the last axis of (..., N, C).

    On a CPU PyTorch's kernel is ten times slower along a short last axis than along the axis before it, where it
    works on many data at once.
    """
    return f.mT.log_softmax(-2).mT


def _check_length(y: Tensor, x: Tensor) -> None:
    if len(y) != len(x):
        raise ValueError(f"x and y must have the same length, got {len(x)} inputs and {len(y)} targets.")
