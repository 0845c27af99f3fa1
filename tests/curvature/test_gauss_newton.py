"""Full and diagonal Gauss-Newton curvature against dense matrices from naive Jacobians."""

import math

import pytest
import torch
from small_posteriors import classifier, dense_ggn, linear_model, naive_jacobian, off_mode

from bdlcore.curvature.gauss_newton import Full
from bdlcore.curvature.jacobians import Jacobian


@pytest.fixture
def classes():
    return classifier()


@pytest.mark.parametrize("kind", ["regression", "classes"])
@pytest.mark.parametrize("copies", [1, 3])
def test_full_curvature_against_the_dense_matrix(kind, copies, model, regression, classes):
    """Once with fewer outputs on the data than weights, and once with more: two forms of the same."""
    if kind == "classes":
        model, x, y, stack = classes
        x, y = (x, y) if copies == 3 else (x[:5], y[:5])
    else:
        (x, y), stack = regression, model.sample_prior(2, seed=0, dtype=torch.float64)
    x = x.repeat(copies, 1) + torch.arange(copies * len(x))[:, None] / 100
    y = y.repeat(copies, *[1] * (y.ndim - 1))
    posterior = off_mode(model, x, y, modes=stack)
    assert posterior.curvatures[0].dual == (copies == 1)
    D = model.layout.dim
    eye = torch.eye(D, dtype=x.dtype)
    for mode, theta in enumerate(stack.theta):
        G = dense_ggn(model, theta, x, y)
        curvature = posterior.curvatures[mode]
        scale = torch.rand(len(model.layout.names), generator=torch.Generator().manual_seed(0)).double() + 0.5
        R = scale.repeat_interleave(torch.tensor(model.layout.sizes)).diag()
        torch.testing.assert_close(curvature.log_det(), torch.logdet(eye + G))
        torch.testing.assert_close(curvature.log_det(scale[0]), torch.logdet(eye + scale[0] ** 2 * G))
        torch.testing.assert_close(curvature.log_det(scale), torch.logdet(eye + R @ G @ R))
        J = naive_jacobian(model, theta, x[:3])
        torch.testing.assert_close(curvature.covariance(J), J @ torch.linalg.inv(eye + G) @ J.mT)
    draws = posterior.sample(4_000, seed=2).theta[:4_000] - stack.theta[0]
    want = torch.linalg.inv(eye + dense_ggn(model, stack.theta[0], x, y))
    std = want.diagonal().sqrt()
    assert ((draws.mT.cov() - want) / torch.outer(std, std)).abs().max() < 6 * math.sqrt(2 / 4_000)
    assert (draws.mean(0) / std).abs().max() < 5 / math.sqrt(4_000)


def test_diagonal_curvature(classes):
    model, x, y, stack = classes
    posterior = off_mode(model, x, y, modes=stack, structure="diagonal")
    diagonal = dense_ggn(model, stack.theta[0], x, y).diagonal()
    torch.testing.assert_close(posterior.curvatures[0].diagonal, diagonal)
    J = naive_jacobian(model, stack.theta[0], x)
    torch.testing.assert_close(posterior.curvatures[0].covariance(J), J @ (1 / (1 + diagonal)).diag() @ J.mT)
    scale = torch.linspace(0.5, 2, 4, dtype=x.dtype)
    want = torch.log1p(scale.repeat_interleave(torch.tensor(model.layout.sizes)) ** 2 * diagonal).sum()
    torch.testing.assert_close(posterior.curvatures[0].log_det(scale), want)
    draws = posterior.sample(4_000, seed=0).theta[:4_000]
    torch.testing.assert_close(draws.var(0), 1 / (1 + diagonal), rtol=0.12, atol=0)


def test_a_curvature_without_inverse_says_so():
    model, x, _, _ = linear_model()
    stack = model.sample_prior(1, seed=0, dtype=x.dtype)
    jacobian = Jacobian(model, model.layout.names, stack.theta[0], x)
    with pytest.raises(RuntimeError, match="not positive definite.*has not converged"):
        Full(jacobian, stack.theta[0], x, lambda f: f.new_full((len(f), 1, 1), torch.inf), 1)
