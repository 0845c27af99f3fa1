"""Networks with a constant part: cached features give what the whole network gives, and sources see the closed form."""

import pytest
import torch
from torch import nn

import bdlcore as bdl


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.block, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.stem(x)))
        h = h + self.block(h)
        return self.fc(h.mean((2, 3)))


@pytest.mark.parametrize("part", ["fc", ["block", "fc"], "*.bias", "block.weight"])
def test_head_of_features_is_the_network(part):
    x = torch.randn(7, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network = Residual()
    network(torch.randn(20, 1, 6, 6))
    model = bdl.Model(network.eval(), bdl.GaussianPrior(1.0), bdl.Categorical(), trainable=part)
    stack = model.sample_prior(3, seed=0, dtype=torch.float64)
    f = model.functions(stack, x)
    network.double()
    for state, row in zip(stack.state_dicts(), f):
        network.load_state_dict(state)
        torch.testing.assert_close(network(x), row, rtol=1e-5, atol=1e-5)
    y = torch.arange(7) % 3
    _, gradient = bdl.LogPosterior(model, x, y)(stack.theta)
    theta = stack.theta.clone().requires_grad_()
    want = torch.autograd.grad(model.log_joint(theta, x, y).sum(), theta)[0]
    torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-4)


def test_last_layer_hmc_has_the_closed_form():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.linspace(-2, 2, 30, dtype=torch.float64)[:, None]
    y = x[:, 0].sin()
    model = bdl.Model(network, bdl.GaussianPrior(0.8), bdl.Gaussian(0.5), trainable="2")
    features = torch.cat([model.features(x), torch.ones_like(x)], 1).detach()
    exact = bdl.linear_regression(features, y, prior_std=0.8, noise_std=0.5)
    laplace = bdl.laplace(model, x, y)
    assert abs(laplace.log_marginal_likelihood().item() - exact.log_evidence) < 1e-4
    run = bdl.hmc(model, x, y, chains=16, draws=300, leapfrog_steps=16)
    n, std = bdl.ess(run.draws).min().item(), exact.covariance.diagonal().sqrt()
    assert ((run.stack.weights.mean(0) - exact.mean) / std).abs().max() < 5 / min(n, 4800) ** 0.5


def test_a_name_that_is_not_there():
    with pytest.raises(ValueError, match="no such parameter or module"):
        bdl.Model(Residual().eval(), bdl.GaussianPrior(1.0), bdl.Categorical(), trainable="head")


def test_last_layer_with_noise_that_is_learned():
    """The likelihood's own parameter stands beside the head's weights, in densities and in Laplace's curvature."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, prior = torch.randn(40, 2, dtype=torch.float64), bdl.GaussianPrior(1.0)
    y = x[:, 0] + 0.3 * torch.randn(40, dtype=torch.float64)
    noise = bdl.Gaussian(bdl.LearnedNoise(0.5))
    part = bdl.Model(network, prior, noise, trainable="2")
    alone = bdl.Model(nn.Linear(4, 1), prior, noise)  # the head, at features that somebody else computed
    h = network[:2](x).detach()
    theta = part.sample_prior(3, seed=0, dtype=torch.float64).theta
    assert part.layout.names == ("2.weight", "2.bias", "likelihood.log_noise")
    for got, want in zip(
        bdl.LogPosterior(part, x, y)(theta), bdl.LogPosterior(alone, h, y)(theta), strict=True
    ):
        torch.testing.assert_close(got, want)
    got, want = bdl.laplace(part, x, y), bdl.laplace(alone, h, y)
    torch.testing.assert_close(got.log_marginal_likelihood(), want.log_marginal_likelihood())


def test_features_are_computed_anew_when_something_changed():
    network = Residual().eval()
    model = bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Categorical(), trainable="fc")
    x = torch.randn(5, 1, 6, 6)
    first = model.features(x)
    assert model.features(x) is first
    with torch.no_grad():
        network.stem.weight.mul_(2)
    second = model.features(x)
    assert (second - first).abs().max() > 1e-3
    x.add_(1)
    third = model.features(x)
    assert (third - second).abs().max() > 1e-3
    assert model.features(x.clone()) is not third


class Branching(Residual):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


def test_a_network_that_cannot_be_cut_is_evaluated_whole():
    network = Branching().eval().double()
    x = torch.randn(5, 1, 6, 6, dtype=torch.float64)
    model = bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Categorical(), trainable="fc")
    stack = model.sample_prior(1, seed=0, dtype=torch.float64)
    with pytest.warns(UserWarning, match="frozen part of Branching could not be told from the rest"):
        f = model.functions(stack, x)
    network.load_state_dict(stack.state_dicts()[0])
    torch.testing.assert_close(f[0], network(x))
