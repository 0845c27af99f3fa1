"""The posterior that gradients and samplers are measured on: a 1-50-50-1 tanh network and 100 points.

Every contestant gets the same whitened weights theta ~ N(0, I), D = 2701, and the log joint density

    -|y - f_theta(x)|^2 / (2 noise_std^2)  -  |theta|^2 / 2 .
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import bdlcore as bdl
from bdlcore.ensembles import optimise

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
    """theta (chains, D): prior draws optimised for a while, so that every sampler starts in the typical region."""
    density = bdl.LogPosterior(model(), *data())
    few = min(chains, 64)
    theta, _ = optimise(density, model().sample_prior(few, seed=0).theta, 300, lr=0.03)
    return theta.repeat(-(-chains // few), 1)[:chains]


class PlainTorch:
    """The log joint of ONE theta (D,), as one would write it by hand in PyTorch."""

    def __init__(self):
        self.x, self.y = data()
        self.scale = model().layout.scale(self.x)

    def log_joint(self, theta: Tensor) -> Tensor:
        """A number; differentiable, and fit for `torch.func`."""
        weights, h, at = theta * self.scale, self.x, 0
        for n_in, n_out in zip(SIZES[:-1], SIZES[1:], strict=True):
            W, at = weights[at : at + n_in * n_out].view(n_out, n_in), at + n_in * n_out
            b, at = weights[at : at + n_out], at + n_out
            h = F.linear(h, W, b)
            if at < len(theta):
                h = torch.tanh(h)
        return -0.5 / NOISE_STD**2 * (h - self.y).square().sum() - 0.5 * theta.square().sum()

    def value_and_grad(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Log joint and gradient (D,) by ordinary autograd."""
        theta = theta.detach().requires_grad_()
        value = self.log_joint(theta)
        return value.detach(), torch.autograd.grad(value, theta)[0]
