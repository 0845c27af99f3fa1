"""Kronecker factors against dense matrices where they are exact, and against their definition summed by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_posteriors import dense_ggn, off_mode
from torch import nn

import bdlcore as bdl
from bdlcore._support.randomness import RowRandom
from bdlcore.curvature.jacobians import Jacobian
from bdlcore.curvature.kronecker import Kronecker


def one_datum():
    model = bdl.Model(bdl.nets.mlp(2, 4, 3), bdl.GaussianPrior(1.5, bias_std=0.7), bdl.Categorical())
    return model, torch.tensor([[0.3, -1.2]], dtype=torch.float64), torch.tensor([1])


def one_patch():
    """A convolution as large as its image has one position, and is a dense layer."""
    network = nn.Sequential(nn.Conv2d(2, 3, 2, bias=False), nn.Flatten(), nn.Tanh(), nn.Linear(3, 2))
    model = bdl.Model(network, bdl.GaussianPrior(0.9), bdl.Gaussian(0.5))
    x = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.zeros(1, 2, dtype=x.dtype)


def linear_outputs():
    """Gaussian noise and a linear network: the gradient of an output is the same for every datum."""
    model = bdl.Model(bdl.nets.mlp(3, 2), bdl.GaussianPrior(1.5, bias_std=0.7), bdl.Gaussian(0.5))
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, x[:, :2]


@pytest.mark.parametrize("case", [one_datum, one_patch, linear_outputs])
def test_kronecker_factors_where_they_are_exact(case):
    model, x, y = case()
    stack = model.sample_prior(1, seed=0, dtype=x.dtype)
    theta = stack.theta[0]
    jacobian = Jacobian(model, model.layout.names, theta, x)
    outputs = model.forward(stack.theta, x).shape[-1]
    curvature = Kronecker(jacobian, theta, x, model.likelihood.curvature_root, outputs)
    G = dense_ggn(model, theta, x, y)
    layer = torch.tensor([name.rpartition(".")[0].__hash__() for name in model.layout.names])
    layer = layer.repeat_interleave(torch.tensor(model.layout.sizes))
    G = torch.where(layer[:, None] == layer, G, 0)
    eye = torch.eye(len(G), dtype=G.dtype)
    scale = torch.linspace(0.5, 2, len(model.layout.names), dtype=x.dtype)
    R = scale.repeat_interleave(torch.tensor(model.layout.sizes)).diag()
    torch.testing.assert_close(curvature.log_det(), torch.logdet(eye + G))
    torch.testing.assert_close(curvature.log_det(scale[0]), torch.logdet(eye + scale[0] ** 2 * G))
    torch.testing.assert_close(curvature.log_det(scale), torch.logdet(eye + R @ G @ R))
    want = torch.linalg.inv(eye + G)
    torch.testing.assert_close(curvature.covariance(eye[None])[0], want)
    draws = curvature.sample(RowRandom(0, range(4_000)))
    std = want.diagonal().sqrt()
    assert ((draws.mT.cov() - want) / torch.outer(std, std)).abs().max() < 6 * math.sqrt(2 / 4_000)


def test_kronecker_factors_of_several_data_are_their_means():
    """The definition, summed by hand over data, pixels and outputs, for a convolution and a dense layer."""
    network = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    model = bdl.Model(network, bdl.GaussianPrior(1.2, bias_std=0.5), bdl.Categorical())
    x = torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stack = model.sample_prior(1, seed=0, dtype=x.dtype)
    curvature = off_mode(model, x, torch.tensor([0, 1, 2, 0, 1]), modes=stack, structure="kron").curvatures[0]
    kernel, W, b = (value[0] for value in stack.named().values())
    P = Q = 0
    P_last = Q_last = 0
    for image in x:
        s = F.conv2d(image[None], kernel).requires_grad_()
        h = torch.cat([torch.tanh(s).flatten(), torch.ones(1, dtype=x.dtype)])
        f = W @ h[:-1] + b
        p = f.detach().softmax(-1)
        root = bdl.Categorical().curvature_root(f.detach()[None])[0]
        torch.testing.assert_close(root @ root.mT, p.diag() - torch.outer(p, p))
        patches = F.unfold(image[None], 2)[0] * 1.2
        P = P + patches @ patches.mT / (5 * 4)
        for k in range(3):
            g = torch.autograd.grad(f @ root[:, k], s, retain_graph=True)[0][0].flatten(1)
            Q = Q + g @ g.mT
        inputs = h.detach() * torch.tensor([1.2] * 8 + [0.5], dtype=x.dtype)
        P_last = P_last + torch.outer(inputs, inputs) / 5
        Q_last = Q_last + root @ root.mT
    for layer, want in (("0", (P, Q)), ("3", (P_last, Q_last))):
        torch.testing.assert_close(curvature.factors[layer], want)
