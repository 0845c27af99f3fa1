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
