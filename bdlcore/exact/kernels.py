"""Covariance functions of Gaussian processes: the RBF, and those of infinitely wide networks.

A kernel is called as `kernel(x)` for the matrix k(x_n, x_m) of shape (N, N), or `kernel(x, x2)` for (N, M), with
inputs of shape (N, D); images (N, C, H, W) count as vectors of their pixels. dtype and device follow the inputs;
factorising a kernel matrix wants float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .._support import validate
from ..models.model import Model


class Kernel(Protocol):
    """k(x, x') of all pairs of rows."""

    def __call__(self, x: Tensor, x2: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class RBF:
    """The squared exponential, k(x, x') = std^2 exp(-|x - x'|^2 / (2 length_scale^2)).

    Attributes:
        length_scale: distance over which functions vary, in the units of x.
        std: standard deviation of f(x), in the units of f.
    """

    length_scale: float = 1.0
    std: float = 1.0

    def __post_init__(self):
        validate.positive("length_scale", self.length_scale)
        validate.positive("std", self.std)

    def __call__(self, x: Tensor, x2: Tensor | None = None) -> Tensor:
        """k(x, x2), shape (N, M)."""
        x, x2 = _pair(x, x2)
        exact = "donot_use_mm_for_euclid_dist"  # the quicker formula loses digits where inputs are close
        squared = torch.cdist(x, x2, compute_mode=exact).square()
        return self.std**2 * torch.exp(-0.5 * squared / self.length_scale**2)


@dataclass(frozen=True)
class LinearKernel:
    """Straight lines, f(x) = w.x + b with w ~ N(0, weight_std^2 I) and b ~ N(0, bias_std^2).

    k(x, x') = bias_std^2 + weight_std^2 x.x'
    """

    weight_std: float = 1.0
    bias_std: float = 1.0

    def __post_init__(self):
        validate.positive("weight_std", self.weight_std)
        _not_negative("bias_std", self.bias_std)

    def __call__(self, x: Tensor, x2: Tensor | None = None) -> Tensor:
        """k(x, x2), shape (N, M)."""
        x, x2 = _pair(x, x2)
        return self.bias_std**2 + self.weight_std**2 * x @ x2.mT


@dataclass(frozen=True)
class NetworkKernel:
    """The Gaussian process that a dense network tends to as its hidden layers get infinitely wide.

    For the prior `GaussianPrior(weight_std, bias_std, fan_in=True)`, weights N(0, weight_std^2 / fan-in) in every
    layer, with K_0(x, x') = bias_std^2 + weight_std^2 x.x' / D and for each hidden layer

        K_l(x, x') = bias_std^2 + weight_std^2 E[act(u) act(v)],   (u, v) ~ N(0, K_{l-1} at x and x').

    Attributes:
        hidden_layers: number of hidden layers; 0 is a linear model.
        activation: "relu" (the arc-cosine kernel, Cho & Saul 2009) or "erf" (Williams 1998).
        weight_std: a; standard deviation of a weight times sqrt(fan-in).
        bias_std: standard deviation of a bias.

    Source: Neal (1996); Lee et al. (2018), eq. 4-5.
    """

    hidden_layers: int = 1
    activation: str = "relu"
    weight_std: float = 1.0
    bias_std: float = 0.0

    def __post_init__(self):
        validate.count("hidden_layers", self.hidden_layers, 0)
        check_activation(self.activation)
        validate.positive("weight_std", self.weight_std)
        _not_negative("bias_std", self.bias_std)

    def __call__(self, x: Tensor, x2: Tensor | None = None) -> Tensor:
        """k(x, x2), shape (N, M)."""
        x, x2 = _pair(x, x2)
        inputs = x.shape[1]
        covariance = self._layer(x @ x2.mT / inputs)
        variance, variance2 = (self._layer(part.square().sum(1) / inputs) for part in (x, x2))
        for _ in range(self.hidden_layers):
            covariance = self._layer(
                expected_product(self.activation, covariance, variance[:, None], variance2)
            )
            variance, variance2 = (
                self._layer(expected_square(self.activation, v)) for v in (variance, variance2)
            )
        return covariance

    def _layer(self, moment: Tensor) -> Tensor:
        return self.bias_std**2 + self.weight_std**2 * moment


def expected_product(activation: str, covariance: Tensor, variance: Tensor, variance2: Tensor) -> Tensor:
    """E[act(u) act(v)] for zero-mean jointly Gaussian u and v of these variances; all shapes broadcast.

    With rho = cos(t) the correlation of u and v:

        relu   sqrt(variance variance2) (sin t + (pi - t) cos t) / (2 pi)
        erf    (2 / pi) arcsin(2 covariance / sqrt((1 + 2 variance) (1 + 2 variance2)))
    """
    if activation == "erf":
        scale = ((1 + 2 * variance) * (1 + 2 * variance2)).sqrt()
        return torch.asin((2 * covariance / scale).clamp(-1, 1)) * (2 / math.pi)
    std, std2 = variance.sqrt(), variance2.sqrt()
    tiny = torch.finfo(std.dtype).tiny
    # in place from here on: these are the largest tensors of a convolutional kernel
    cosine = (covariance / std.clamp(min=tiny)).div_(std2.clamp(min=tiny)).clamp_(-1, 1)
    other_angle = torch.acos(-cosine)  # pi - t
    sine = torch.addcmul(cosine.new_ones(()), cosine, cosine, value=-1).sqrt_()
    return other_angle.mul_(cosine).add_(sine).mul_(std).mul_(std2 / (2 * math.pi))


def expected_square(activation: str, variance: Tensor) -> Tensor:
    """E[act(u)^2] for u ~ N(0, variance)."""
    if activation == "erf":
        return torch.asin(2 * variance / (1 + 2 * variance)) * (2 / math.pi)
    return variance / 2


def monte_carlo_kernel(
    model: Model, x: Tensor, samples: int, seed: int | torch.Generator, x2: Tensor | None = None
) -> Tensor:
    """The covariance of a network's functions under its prior, from random networks of any kind.

        k(x, x') ~ (1 / (S C)) sum_s sum_c f_sc(x) f_sc(x')

    over S draws and their C outputs, which share one prior. This takes the prior mean to be zero, as it is for a
    last layer whose weights are. The error falls as 1 / sqrt(S).

    Args:
        model: network and prior; its likelihood plays no part.
        x: (N, ...) inputs.
        samples: S, number of networks drawn.
        seed: seed or generator.
        x2: (M, ...) further inputs, or None for those of x.

    Returns:
        (N, M) in the dtype of x.
    """
    both = x if x2 is None else torch.cat([x, x2])
    total = 0.0
    for rows in torch.arange(validate.count("samples", samples)).split(model.chunk_size(both)):
        some = range(int(rows[0]), int(rows[-1]) + 1)
        f = model.functions(model.sample_prior(some, seed, dtype=x.dtype, device=x.device), both)
        columns = f.transpose(0, 1).flatten(1)  # (N + M, draws and outputs)
        total = total + columns[: len(x)] @ columns[0 if x2 is None else len(x) :].mT
    return total / (samples * f.shape[2])


def check_activation(activation: str) -> None:
    """Require an activation with a closed form."""
    if activation not in ("relu", "erf"):
        raise ValueError(
            f"activation must be 'relu' or 'erf', which have closed forms, got {activation!r}. "
            "For others use monte_carlo_kernel with a wide network."
        )


def _not_negative(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be zero or positive, and finite, got {value}.")


def _pair(x: Tensor, x2: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both inputs as checked rows of numbers; x twice when x2 is None."""
    x = validate.inputs("x", x).flatten(1)
    x2 = x if x2 is None else validate.inputs("x2", x2).flatten(1)
    if x.shape[1] != x2.shape[1] or x.dtype != x2.dtype:
        raise ValueError(
            f"x and x2 must have as many features and one dtype, got {tuple(x.shape)} {x.dtype} and "
            f"{tuple(x2.shape)} {x2.dtype}."
        )
    return x, x2
