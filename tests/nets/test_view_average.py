"""Averages over views against the views one by one, and their gradient against autograd."""

import functools

import pytest
import torch

import bdlcore as bdl


def test_rotations_are_turns_of_the_plane():
    x = torch.tensor([[1.0, 0.0], [0.5, -2.0]])
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = bdl.rotations(x)
    for k in range(4):
        torch.testing.assert_close(turned[k], x @ torch.matrix_power(quarter, k).T)
    with pytest.raises(ValueError, match="shape \\(N, 2\\)"):
        bdl.rotations(torch.zeros(3, 3))


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_view_average_is_invariant_and_brings_its_gradient(power):
    views = functools.partial(bdl.rotations, views=3)
    network = bdl.ViewAverage(bdl.nets.mlp(2, 5, 4), views, power).double()
    model = bdl.Model(network, prior=bdl.GaussianPrior(1.5), likelihood=bdl.Categorical())
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stack = model.sample_prior(7, 0, dtype=torch.float64)
    f = model.functions(stack, x)
    torch.testing.assert_close(model.functions(stack, views(x)[2]), f)
    plain = bdl.Model(bdl.nets.mlp(2, 5, 4), prior=bdl.GaussianPrior(1.5), likelihood=bdl.Categorical())
    each = torch.stack([plain.functions(bdl.Stack(stack.theta, plain.layout), view) for view in views(x)])
    torch.testing.assert_close(f, each.sum(0) / 3**power)
    state = {name: value[0] for name, value in stack.named().items()}
    torch.testing.assert_close(torch.func.functional_call(network, state, (x,)), f[0])
    weights = (stack.theta * model.layout.scale(stack.theta)).requires_grad_()
    g = torch.randn(f.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    by_autograd = torch.autograd.grad((g * model.forward_weights(weights, x)).sum(), weights)[0]
    same, pull = model.pullback(weights, x)
    torch.testing.assert_close(same, f)
    torch.testing.assert_close(pull(g), by_autograd)
    layers = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    any_module = bdl.Model(bdl.ViewAverage(layers, views, power).double(), model.prior, model.likelihood)
    torch.testing.assert_close(any_module.functions(bdl.Stack(stack.theta, any_module.layout), x), f)


def test_summed_views_are_averaged_views_at_another_temperature():
    model = bdl.Model(bdl.nets.mlp(2, 5, 4), prior=bdl.GaussianPrior(1.5), likelihood=bdl.Categorical())
    x, y = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 1, 0])
    theta = model.sample_prior(3, 0).theta
    each = [bdl.LogPosterior(model, view, y).likelihood(theta)[0] for view in bdl.rotations(x)]
    data = bdl.rotations(x).flatten(0, 1), y.repeat(4)
    averaged = bdl.LogPosterior(model, *data, likelihood_temperature=4 * 0.25)
    torch.testing.assert_close(averaged.likelihood(theta)[0], torch.stack(each).mean(0) / 0.25)
