"""The posterior that gradients and samplers are measured on: a 1-50-50-1 tanh network and 100 points.

Every contestant gets the same whitened weights theta ~ N(0, I), D = 2701, and the log joint density

    -|y - f_theta(x)|^2 / (2 noise_std^2)  -  |theta|^2 / 2 .
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import bdlcore as bdl
from bdlcore.inference.optimise import optimise

NOISE_STD = 0.1
SIZES = (1, 50, 50, 1)


def model() -> bdl.Model:
    """The model in bdlcore."""
    return bdl.Model(bdl.nets.mlp(*SIZES), bdl.GaussianPrior(1.0, fan_in=True), bdl.Gaussian(NOISE_STD))


def data() -> tuple[Tensor, Tensor]:
    """100 inputs in two clusters with a gap, x (100, 1), and noisy targets (100, 1)."""
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.linspace(-1, -0.3, 50), torch.linspace(0.3, 1, 50)])[:, None]
    return x, torch.sin(4 * x) + NOISE_STD * torch.randn(x.shape, generator=g)


def starts(chains: int) -> Tensor:
    """theta (chains, D): prior draws optimised for a while, since from raw draws useful step sizes diverge."""
    few = min(chains, 64)
    density = bdl.LogPosterior(model(), *data())
    theta, _ = optimise(density, model().sample_prior(few, seed=0).theta, 300, lr=0.03)
    return theta.repeat(-(-chains // few), 1)[:chains]


def log_joint(linear: Callable, tanh: Callable, x, y, scale) -> Callable:
    """The log joint of ONE theta (D,), as one writes it by hand; for PyTorch or JAX arrays.

    Args:
        linear: (h, W, b) -> h W^T + b.
        tanh: the activation.
        x, y, scale: inputs, targets and prior standard deviations of the weights.
    """

    def value(theta):
        weights, h, at = theta * scale, x, 0
        for n_in, n_out in zip(SIZES[:-1], SIZES[1:], strict=True):
            W, at = weights[at : at + n_in * n_out].reshape(n_out, n_in), at + n_in * n_out
            b, at = weights[at : at + n_out], at + n_out
            h = linear(h, W, b)
            if at < len(theta):
                h = tanh(h)
        return -0.5 / NOISE_STD**2 * ((h - y) ** 2).sum() - 0.5 * (theta**2).sum()

    return value


def torch_log_joint() -> Callable[[Tensor], Tensor]:
    """`log_joint` in plain PyTorch."""
    x, y = data()
    return log_joint(F.linear, torch.tanh, x, y, model().layout.scale(x))


def jax_log_joint() -> Callable:
    """`log_joint` in plain JAX."""
    import jax.numpy as jnp

    x, y = data()
    arrays = [jnp.asarray(a.numpy()) for a in (x, y, model().layout.scale(x))]
    return log_joint(lambda h, W, b: h @ W.T + b, jnp.tanh, *arrays)


def value_and_grad(value: Callable[[Tensor], Tensor], theta: Tensor) -> tuple[Tensor, Tensor]:
    """Log joint and gradient of one theta (D,) by ordinary autograd."""
    theta = theta.detach().requires_grad_()
    v = value(theta)
    return v.detach(), torch.autograd.grad(v, theta)[0]
