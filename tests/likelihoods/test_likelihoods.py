"""Likelihoods against torch.distributions, autograd, and a likelihood of one's own."""

import pytest
import torch

import bdlcore as bdl


def test_categorical_likelihood_against_torch_distributions():
    f, y = torch.randn(4, 6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    want = torch.distributions.Categorical(logits=f).log_prob(y)
    torch.testing.assert_close(bdl.Categorical().log_prob(f, y), want)


@pytest.mark.parametrize("likelihood", [bdl.Gaussian(0.3), bdl.Categorical()], ids=repr)
def test_slope_is_the_gradient_of_log_prob(likelihood):
    f = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    y = (
        torch.randn(6, 3).double()
        if isinstance(likelihood, bdl.Gaussian)
        else torch.tensor([0, 1, 2, 2, 1, 0])
    )
    (want,) = torch.autograd.grad(likelihood.log_prob(f, y).sum(), f)
    torch.testing.assert_close(likelihood.slope(f.detach(), y), want)


def test_a_likelihood_needs_no_slope(model, regression):
    """One's own likelihood may bring targets, log_prob and sample alone; autograd does the rest."""

    class Laplace(bdl.Likelihood):
        def targets(self, y, outputs, like):
            return y

        def log_prob(self, f, y):
            return torch.distributions.Laplace(f, 0.2).log_prob(y).sum(-1)

    x, y = regression
    own = bdl.Model(model.network, model.prior, Laplace())
    theta = own.sample_prior(3, seed=0, dtype=x.dtype).theta.requires_grad_()
    want = own.log_joint(theta, x, y)
    value, gradient = bdl.LogPosterior(own, x, y)(theta.detach())
    torch.testing.assert_close(value, want.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(want.sum(), theta)[0])


def test_likelihood_samples_have_the_right_moments():
    g = torch.Generator().manual_seed(0)
    y = bdl.Gaussian(0.5).sample(torch.full((20_000, 1), 2.0), g)
    # standard errors 0.0035, 0.5 %, and 0.0035 for a share
    assert y.mean().item() == pytest.approx(2, abs=0.02) and y.std().item() == pytest.approx(0.5, rel=0.026)
    p = torch.tensor([0.2, 0.5, 0.3])
    labels = bdl.Categorical().sample(p.log().expand(20_000, 3), g)
    torch.testing.assert_close(labels.bincount() / 20_000, p, rtol=0, atol=0.02)
