"""Low-rank changes against weights that are changed by hand."""

import pytest
import torch
from torch import nn

import bdlcore as bdl

NETWORKS = {
    "dense": lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)),
    "of the course": lambda: bdl.nets.mlp(3, 5, 2),
    "convolutional": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_functions_are_those_of_changed_weights(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.randn(6, 3, dtype=torch.float64)
    model = bdl.Model(bdl.nets.low_rank(network, 1, scale=0.7), bdl.GaussianPrior(1.0), bdl.Categorical())
    stack = model.sample_prior(3, seed=0, dtype=torch.float64)
    f = model.functions(stack, x)
    for s in range(3):
        changed = dict(before)
        for key in before:
            layer = key.removesuffix(".weight")
            if layer != key:
                A, B = (stack.named()[f"{layer}.parametrizations.weight.0.{part}"][s] for part in "AB")
                changed[key] = before[key] + 0.7 * (B @ A).view_as(before[key])
        torch.testing.assert_close(f[s], torch.func.functional_call(network, changed, (x,)))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert (f[0] - f[1]).abs().max() > 0.01
    theta = stack.theta.clone().requires_grad_()
    y = torch.arange(6) % 2
    want = torch.autograd.grad(model.log_joint(theta, x, y).sum(), theta)[0]
    torch.testing.assert_close(bdl.LogPosterior(model, x, y)(stack.theta)[1], want)


def test_prior_std_of_a_change_does_not_depend_on_the_rank():
    network, x = nn.Linear(30, 30, bias=False).double(), torch.eye(30, dtype=torch.float64)
    for rank in (1, 4, 16):
        model = bdl.Model(
            bdl.nets.low_rank(network, rank, scale=2.0), bdl.GaussianPrior(0.5), bdl.Gaussian(1.0)
        )
        f = model.functions(model.sample_prior(400, seed=0, dtype=torch.float64), x)
        std = (f - network(x).detach()).square().mean().sqrt()
        assert std.item() == pytest.approx(2.0 * 0.5**2, rel=0.1)


def test_sources_take_it_and_single_layers_can_be_named():
    torch.manual_seed(0)
    network = NETWORKS["dense"]().double()
    x, y = torch.randn(30, 3, dtype=torch.float64), torch.arange(30) % 2
    changed = bdl.nets.low_rank(network, 1, layers="2")
    model = bdl.Model(changed, bdl.GaussianPrior(1.0), bdl.Categorical())
    assert model.layout.dim == 5 + 2
    for posterior in (
        bdl.hmc(model, x, y, chains=2, draws=20, warmup=0, leapfrog_steps=5, step_size=0.02),
        bdl.ensemble(model, x, y, members=2),
    ):
        assert torch.isfinite(posterior.predict(x).log_prob(y)).all()
    assert torch.isfinite(bdl.laplace(model, x, y).log_marginal_likelihood()).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="rank must be at most 2 for a weight of shape"):
        bdl.nets.low_rank(nn.Linear(3, 2), 3)
    with pytest.raises(ValueError, match="found no dense or convolutional layer"):
        bdl.nets.low_rank(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3)), 1, layers="0")
    with pytest.raises(ValueError, match="no such parameter or module"):
        bdl.nets.low_rank(nn.Linear(3, 2), 1, layers="fc")
