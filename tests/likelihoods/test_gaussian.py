"""Regression with one noise per output: every method against the same outputs fitted one by one, or closed forms."""

import numpy as np
import pytest
import torch

import bdlcore as bdl

STDS = (0.2, 1.5)


@pytest.fixture(scope="module")
def problem():
    """A linear model of two outputs: its posterior is that of two regressions, each with its own noise."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(15, 2, generator=g, dtype=torch.float64)
    y = x @ torch.tensor([[1.0, -0.5], [0.3, 0.8]], dtype=torch.float64)
    y = y + torch.tensor(STDS) * torch.randn(15, 2, generator=g, dtype=torch.float64)
    model = bdl.Model(bdl.nets.mlp(2, 2), bdl.GaussianPrior(1.0), bdl.Gaussian(torch.tensor(STDS)))
    features = torch.cat([x, torch.ones(15, 1, dtype=torch.float64)], 1)
    exact = [
        bdl.linear_regression(features, y[:, c], prior_std=1.0, noise_std=std).predict(features)
        for c, std in enumerate(STDS)
    ]
    mean, std = (torch.cat([getattr(part, name) for part in exact], 1) for name in ("mean", "epistemic_std"))
    return model, x, y, mean, std, torch.stack([p.log_prob(y[:, c]) for c, p in enumerate(exact)]).sum(0)


@pytest.mark.parametrize(
    "given", [torch.tensor(STDS), np.array(STDS), list(STDS), STDS], ids=lambda v: type(v).__name__
)
def test_noise_per_output_is_taken_in_any_form(given):
    likelihood = bdl.Gaussian(given)
    assert likelihood.noise_std == pytest.approx(STDS) and hash(likelihood) == hash(bdl.Gaussian(given))
    f, y = torch.randn(3, 4, 2).double(), torch.randn(4, 2).double()
    normal = torch.distributions.Normal(f, torch.tensor(STDS).double())
    torch.testing.assert_close(likelihood.log_prob(f, y), normal.log_prob(y).sum(-1), rtol=1e-6, atol=1e-6)
    assert bdl.Gaussian(torch.tensor(0.3, dtype=torch.float64)) == bdl.Gaussian(0.3)


def test_laplace_is_exact(problem):
    model, x, y, mean, std, log_prob = problem
    predictive = bdl.laplace(model, x, y, steps=300, lr=0.05).predict(x)
    torch.testing.assert_close(predictive.mean, mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(predictive.epistemic_std, std, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(predictive.log_prob(y), log_prob, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(predictive.aleatoric_std, torch.tensor(STDS).double().expand(15, 2))


@pytest.mark.parametrize(
    ("method", "settings", "error"),
    [
        (bdl.hmc, {"chains": 16, "draws": 300, "leapfrog_steps": 12}, 0.15),
        (bdl.sghmc, {"chains": 16, "draws": 300}, 0.3),
        (bdl.mean_field_vi, {"draws": 3000}, 0.3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_samplers_and_variational_inference_find_it(problem, method, settings, error):
    model, x, y, mean, std, _ = problem
    posterior = method(model, x, y, **settings)
    predictive = bdl.predict(model, posterior, x)
    assert ((predictive.mean - mean) / std).abs().max() < 2 * error
    if method is not bdl.mean_field_vi:
        assert (predictive.epistemic_std / std - 1).abs().max() < error
    in_parts = bdl.predict(model, posterior, x, chunk_size=4)
    torch.testing.assert_close(in_parts.log_prob(y), predictive.log_prob(y))
    torch.testing.assert_close(in_parts.quantile(0.9), predictive.quantile(0.9))


def test_members_find_its_mean(problem):
    model, x, y, mean, _, _ = problem
    members = bdl.ensemble(model, x, y, members=2, steps=2000, lr=0.05)
    torch.testing.assert_close(bdl.predict(model, members, x).mean, mean, rtol=1e-3, atol=1e-3)


def test_noise_that_does_not_fit_is_named(problem):
    _, x, y, *_ = problem
    model = bdl.Model(bdl.nets.mlp(2, 2), bdl.GaussianPrior(1.0), bdl.Gaussian([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match=r"noise_std has 3 values for a network of 2 output"):
        bdl.hmc(model, x, y)
    for bad in ([0.1, -0.2], [0.1, float("nan")], 0.0, torch.zeros(2)):
        with pytest.raises(ValueError, match="noise_std must be positive"):
            bdl.Gaussian(bad)
    with pytest.raises(ValueError, match=r"number or have shape \(C,\)"):
        bdl.Gaussian(torch.ones(2, 2))
    with pytest.raises(TypeError, match="noise_std must be a positive number, got 'small'"):
        bdl.Gaussian("small")
    exact = bdl.laplace(problem[0], x, y, steps=200)
    with pytest.raises(ValueError, match="here each output has its own"):
        exact.log_marginal_likelihood(noise_std=0.3)


def test_targets_in_one_column_or_none_are_one_output():
    predictive = bdl.GaussianPredictive(torch.randn(5, 4, 1), 0.3)
    y = torch.randn(4)
    assert predictive.cdf(y).shape == (4, 1) and predictive.cdf(0.3).shape == (4, 1)
    torch.testing.assert_close(predictive.cdf(y), predictive.cdf(y[:, None]))
    torch.testing.assert_close(predictive.log_prob(y), predictive.log_prob(y[:, None]))
    with pytest.raises(ValueError, match=r"y must be a number or have shape \(4, 1\), got \(5, 1\)"):
        predictive.cdf(torch.zeros(5))
