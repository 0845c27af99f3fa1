"""Small posteriors to try a method on, and slow but sure ways to what it must give."""

import pytest
import torch
from conjugate import NOISE_STD, PRIOR_STD

import bdlcore as bdl

STRUCTURES = ("full", "kron", "diagonal", "last_layer")


def linear_model():
    """Linear regression twice: as a network model, and as features (x, 1) for the closed form."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(15, 2, generator=g, dtype=torch.float64)
    y = x @ torch.tensor([1.0, -0.5], dtype=torch.float64) + 0.3 + NOISE_STD * torch.randn(15, generator=g)
    model = bdl.Model(bdl.nets.mlp(2, 1), bdl.GaussianPrior(PRIOR_STD), bdl.Gaussian(NOISE_STD))
    features = torch.cat([x, torch.ones(15, 1, dtype=torch.float64)], 1)
    return model, x, y, features


def exact(features, y, **temperatures):
    """The posterior of `linear_model` in closed form."""
    return bdl.linear_regression(features, y, prior_std=PRIOR_STD, noise_std=NOISE_STD, **temperatures)


def classifier():
    """A small classifier of three classes and 20 points, with whitened weights to look at."""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(20, 2, generator=g, dtype=torch.float64)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    model = bdl.Model(bdl.nets.mlp(2, 6, 3), bdl.GaussianPrior(1.5, bias_std=0.7), bdl.Categorical())
    return model, x, y, model.sample_prior(2, seed=0, dtype=x.dtype)


def naive_jacobian(model, theta, x):
    """(N, C, D) by one backward pass per datum and output."""
    theta = theta.clone().requires_grad_()
    rows = []
    for datum in x:
        f = model.forward(theta[None], datum[None])[0, 0]
        rows.append(torch.stack([torch.autograd.grad(value, theta, retain_graph=True)[0] for value in f]))
    return torch.stack(rows)


def dense_ggn(model, theta, x, y):
    """sum_n J^T Lambda J with Lambda by automatic differentiation of the log likelihood."""
    J, total = naive_jacobian(model, theta, x), 0
    f = model.forward(theta[None], x)[0]
    for n in range(len(x)):
        minus_log_p = lambda value, n=n: -model.likelihood.log_prob(value[None], y[n : n + 1])[0]  # noqa: E731
        total = total + J[n].mT @ torch.autograd.functional.hessian(minus_log_p, f[n]) @ J[n]
    return total


def off_mode(*arguments, **settings):
    """laplace at weights that are no mode, which it warns about."""
    with pytest.warns(UserWarning, match="not at a mode"):
        return bdl.laplace(*arguments, **settings)
