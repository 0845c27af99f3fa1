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
    """The squared exponential, k(x, x') = std^2 exp(-1/2 sum_d (x_d - x'_d)^2 / length_scale_d^2).

    Attributes:
        length_scale: distance over which functions vary, in the units of x: one for all features, or a tensor (D,) of
            one for each (automatic relevance determination).
        std: standard deviation of f(x), in the units of f.
    """

    length_scale: float | Tensor = 1.0
    std: float = 1.0

    def __post_init__(self):
        validate.positive("length_scale", self.length_scale)
        validate.scale("std", self.std)
        if isinstance(self.length_scale, Tensor) and self.length_scale.ndim > 1:
            self._refuse("(D,)")

    def __call__(self, x: Tensor, x2: Tensor | None = None) -> Tensor:
        """k(x, x2), shape (N, M)."""
        x, x2 = _pair(x, x2)
        length = self.length_scale
        if isinstance(length, Tensor) and length.ndim == 1:
            if len(length) != x.shape[1]:
                self._refuse(f"({x.shape[1]},)")
            x, x2, length = x / length.to(x), x2 / length.to(x), 1.0
        exact = "donot_use_mm_for_euclid_dist"  # the quicker formula loses digits where inputs are close
        squared = torch.cdist(x, x2, compute_mode=exact).square()
        return self.std**2 * torch.exp(-0.5 * squared / length**2)

    def _refuse(self, wanted: str) -> None:
        raise ValueError(
            f"length_scale must be a number or have one length per feature, shape {wanted}, got "
            f"{tuple(self.length_scale.shape)}."
        )


@dataclass(frozen=True)
class LinearKernel:
    """Straight lines, f(x) = w.x + b with w ~ N(0, weight_std^2 I) and b ~ N(0, bias_std^2).

    k(x, x') = bias_std^2 + weight_std^2 x.x'
    """

    weight_std: float = 1.0
    bias_std: float = 1.0

    def __post_init__(self):
        validate.scale("weight_std", self.weight_std)
        validate.scale("bias_std", self.bias_std, zero=True)

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
        validate.scale("weight_std", self.weight_std)
        validate.scale("bias_std", self.bias_std, zero=True)

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

    Differentiable for equal and zero inputs as well, where the formulas pass through infinite slopes that cancel.
    """
    return _ExpectedProduct.apply(activation, covariance, variance, variance2)


def expected_square(activation: str, variance: Tensor) -> Tensor:
    """E[act(u)^2] for u ~ N(0, variance)."""
    if activation == "erf":  # equals arcsin(2 v / (1 + 2 v)), whose slope rounds to infinity where v is large
        return torch.atan(2 * variance / (1 + 4 * variance).sqrt()) * (2 / math.pi)
    return variance / 2


class _ExpectedProduct(torch.autograd.Function):
    """`expected_product` with its derivatives in closed form; it keeps nothing but its arguments for them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(activation: str, covariance: Tensor, variance: Tensor, variance2: Tensor) -> Tensor:
        values = _relu_values if activation == "relu" else _erf_values
        return values(covariance, variance, variance2)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.activation, *moments = inputs
        ctx.save_for_backward(*moments)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        slopes = (_relu_slopes if ctx.activation == "relu" else _erf_slopes)(*ctx.saved_tensors)
        moments = zip(slopes, ctx.saved_tensors, strict=True)
        return None, *((grad * slope).sum_to_size(moment.shape) for slope, moment in moments)


def _relu_values(covariance: Tensor, variance: Tensor, variance2: Tensor) -> Tensor:
    std, std2 = variance.sqrt(), variance2.sqrt()
    # in place from here on: these are the largest tensors of a convolutional kernel
    cosine = _cosine(covariance, std, std2)
    other_angle = torch.acos(-cosine)  # pi - t
    return other_angle.mul_(cosine).add_(_sine(cosine)).mul_(std).mul_(std2 / (2 * math.pi))


def _relu_slopes(covariance: Tensor, variance: Tensor, variance2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """In the covariance (pi - t) / (2 pi); in a variance sin(t) sqrt(variance2 / variance) / (4 pi), and 0 at 0."""
    std, std2 = variance.sqrt(), variance2.sqrt()
    cosine = _cosine(covariance, std, std2)
    sine = _sine(cosine) / (4 * math.pi)
    ratio, ratio2 = (
        torch.where(below > 0, above / below.clamp(min=torch.finfo(below.dtype).tiny), 0)
        for above, below in ((std2, std), (std, std2))
    )
    return torch.acos(-cosine) / (2 * math.pi), sine * ratio, sine * ratio2


def _cosine(covariance: Tensor, std: Tensor, std2: Tensor) -> Tensor:
    """The correlation, and 0 where a standard deviation is."""
    tiny = torch.finfo(std.dtype).tiny
    return (covariance / std.clamp(min=tiny)).div_(std2.clamp(min=tiny)).clamp_(-1, 1)


def _sine(cosine: Tensor) -> Tensor:
    return torch.addcmul(cosine.new_ones(()), cosine, cosine, value=-1).sqrt_()


def _erf_values(covariance: Tensor, variance: Tensor, variance2: Tensor) -> Tensor:
    scale, scale2 = (1 + 2 * variance).sqrt(), (1 + 2 * variance2).sqrt()
    return (2 * covariance / scale).div_(scale2).clamp_(-1, 1).asin_().mul_(2 / math.pi)


def _erf_slopes(covariance: Tensor, variance: Tensor, variance2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """With r the sine and c its cosine: 4 / (pi c scale scale2) in the covariance, -2 r / (pi c scale^2) in a variance.

    c^2 = 1 - r^2 is summed from parts that are not negative, the first of them positive, since r may round to 1.
    """
    part, part2 = 1 / (1 + 2 * variance), 1 / (1 + 2 * variance2)
    sine = 2 * covariance * part.sqrt() * part2.sqrt()
    least = part + part2 - part * part2
    cosine = (least + ((1 - part) * (1 - part2) - sine.square()).clamp(min=0)).sqrt()
    slope = -2 / math.pi * sine / cosine
    return 4 / math.pi * part.sqrt() * part2.sqrt() / cosine, slope * part, slope * part2


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
    validate.nonempty("x", validate.inputs("x", x))
    if x2 is not None:
        validate.nonempty("x2", validate.inputs("x2", x2))
        if x.shape[1:] != x2.shape[1:] or x.dtype != x2.dtype:
            _refuse_pair(x, x2)
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


def _pair(x: Tensor, x2: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both inputs as checked rows of numbers; x twice when x2 is None."""
    x = validate.nonempty("x", validate.inputs("x", x)).flatten(1)
    x2 = x if x2 is None else validate.nonempty("x2", validate.inputs("x2", x2)).flatten(1)
    if x.shape[1] != x2.shape[1] or x.dtype != x2.dtype:
        _refuse_pair(x, x2)
    return x, x2


def _refuse_pair(x: Tensor, x2: Tensor) -> None:
    raise ValueError(
        f"x and x2 must have as many features and one dtype, got {tuple(x.shape)} {x.dtype} and "
        f"{tuple(x2.shape)} {x2.dtype}."
    )
