"""Laplace's evidence against closed forms, quadrature, and models that have the other prior and noise."""

import math

import pytest
import torch
import torch.nn.functional as F
from conjugate import NOISE_STD, PRIOR_STD
from small_posteriors import STRUCTURES, classifier, linear_model, off_mode

import bdlcore as bdl


@pytest.fixture
def linear():
    return linear_model()


@pytest.fixture
def classes():
    return classifier()


def test_gradient_of_the_evidence_is_exact_for_linear_regression(linear):
    """Where the weights maximise the posterior, their dependence on prior and noise does not enter."""
    model, x, y, features = linear
    posterior = bdl.laplace(model, x, y, steps=300, lr=0.05)
    prior_std = torch.tensor(PRIOR_STD, dtype=torch.float64, requires_grad=True)
    noise_std = torch.tensor(NOISE_STD, dtype=torch.float64, requires_grad=True)
    evidence = posterior.log_marginal_likelihood(prior_std, noise_std)
    slopes = torch.autograd.grad(evidence.sum(), (prior_std, noise_std))

    def exact(prior_std, noise_std):
        return bdl.linear_regression(features, y, prior_std=prior_std, noise_std=noise_std).log_evidence

    assert evidence.item() == pytest.approx(exact(PRIOR_STD, NOISE_STD), rel=1e-9)
    h = 1e-5
    wide = (exact(PRIOR_STD + h, NOISE_STD) - exact(PRIOR_STD - h, NOISE_STD)) / (2 * h)
    noisy = (exact(PRIOR_STD, NOISE_STD + h) - exact(PRIOR_STD, NOISE_STD - h)) / (2 * h)
    torch.testing.assert_close(
        torch.stack(slopes), torch.tensor([wide, noisy]).double(), rtol=1e-5, atol=1e-6
    )


def test_evidence_of_logistic_regression_against_quadrature():
    """Two logits w_c x + b_c matter through their difference only, which is N(0, 2 prior_std^2) a priori."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 1, generator=g, dtype=torch.float64)
    y = (torch.rand(40, generator=g) < torch.sigmoid(1.5 * x[:, 0] - 0.5)).long()
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.5), bdl.Categorical())
    posterior = bdl.laplace(model, x, y, steps=300, lr=0.05)
    side = torch.linspace(-8, 8, 401, dtype=torch.float64) * math.sqrt(2) * 1.5
    slope, offset = torch.meshgrid(side, side, indexing="ij")
    logit = slope[..., None] * x[:, 0] + offset[..., None]
    log_p = -F.softplus(torch.where(y == 1, -logit, logit)).sum(-1)
    prior = torch.distributions.Normal(torch.zeros((), dtype=x.dtype), math.sqrt(2) * 1.5)
    log_p = log_p + prior.log_prob(slope) + prior.log_prob(offset)
    exact = log_p.flatten().logsumexp(0) + 2 * (side[1] - side[0]).log()
    # the error of Laplace's approximation is O(1/N), and here that of a skewed two-dimensional posterior
    assert posterior.log_marginal_likelihood().item() == pytest.approx(exact.item(), abs=0.1)
    assert abs(posterior.log_marginal_likelihood().item() - exact.item()) > 1e-4, "this test could not tell"


@pytest.mark.parametrize("structure", STRUCTURES)
def test_another_prior_and_noise_are_those_of_another_model(structure, regression):
    """At the same network weights: fit anew with other stds, and compare with rescaling."""
    x, y = regression

    def model(prior, noise_std):
        return bdl.Model(bdl.nets.mlp(1, 10, 2), prior, bdl.Gaussian(noise_std))

    for before, after, stds in (
        (bdl.GaussianPrior(0.7, fan_in=True), bdl.GaussianPrior(1.1, fan_in=True), 1.1),
        (bdl.GaussianPrior(0.7, bias_std=0.4), bdl.GaussianPrior(1.1, bias_std=0.4), 1.1),
        (bdl.GaussianPrior(0.7), bdl.GaussianPrior(1.1, bias_std=0.3), torch.tensor([1.1, 0.3, 1.1, 0.3])),
    ):
        first, second = model(before, 0.3), model(after, 0.5)
        stack = first.sample_prior(2, seed=0, dtype=x.dtype)
        same_weights = bdl.Stack.from_state_dicts(stack.state_dicts(), second.layout)
        one = off_mode(first, x, y, modes=stack, structure=structure)
        two = off_mode(second, x, y, modes=same_weights, structure=structure)
        rescaled = one.log_marginal_likelihood(prior_std=stds, noise_std=0.5)
        torch.testing.assert_close(rescaled, two.log_marginal_likelihood())
        unchanged = one.log_marginal_likelihood(noise_std=0.3)
        torch.testing.assert_close(unchanged, one.log_marginal_likelihood())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_gradients_of_the_evidence(structure, model, regression, classes):
    stack = model.sample_prior(1, seed=0, dtype=torch.float64)
    posterior = off_mode(model, *regression, modes=stack, structure=structure)
    stds = torch.tensor([0.5, 0.9, 1.2, 0.3], dtype=torch.float64, requires_grad=True)
    one, noise = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.9, 0.2))
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (one, noise))
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (stds, noise))
    model, x, y, stack = classes
    posterior = off_mode(model, x, y, modes=stack, structure=structure)
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (one,))  # keeps the biases' own std
    assert torch.autograd.gradcheck(posterior.log_marginal_likelihood, (stds,))
