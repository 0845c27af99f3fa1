"""Predicted numbers against the mixture of Gaussians that they are."""

import pytest
import torch

import bdlcore as bdl


@pytest.fixture
def gaussian(model, regression):
    stack = model.sample_prior(50, seed=0, dtype=torch.float64)
    return model.functions(stack, regression[0]), bdl.predict(model, stack, regression[0])


def test_density_is_averaged_not_its_logarithm(gaussian, regression):
    f, predictive = gaussian
    y = regression[1]
    components = torch.distributions.Normal(f, 0.3).log_prob(y).sum(-1)
    torch.testing.assert_close(predictive.log_prob(y), components.exp().mean(0).log())


def test_variance_is_the_sum_of_its_parts(gaussian):
    f, predictive = gaussian
    draws = f.repeat(4000, 1, 1) + 0.3 * torch.randn(
        4000 * 50, *f.shape[1:], dtype=f.dtype, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(predictive.total_std, draws.std(0), rtol=0.02, atol=0)
    torch.testing.assert_close(predictive.mean, f.mean(0))
    both = predictive.epistemic_std.square() + predictive.aleatoric_std.square()
    torch.testing.assert_close(predictive.total_std.square(), both)


def test_quantiles_are_those_of_the_mixture(gaussian):
    _, predictive = gaussian
    for q in (0.025, 0.5, 0.9):
        value = predictive.quantile(q)
        torch.testing.assert_close(predictive.cdf(value), torch.full_like(value, q), rtol=0, atol=1e-9)
    low, high = predictive.interval(0.95)
    torch.testing.assert_close(
        predictive.cdf(high) - predictive.cdf(low), torch.full_like(low, 0.95), rtol=0, atol=1e-9
    )
    single = bdl.GaussianPredictive(torch.zeros(1, 2, 1, dtype=torch.float64), 2.0).interval(0.95)
    assert single[1].max().item() == pytest.approx(2 * 1.959963985, rel=1e-9)
    with pytest.raises(ValueError, match="q must lie"):
        predictive.quantile(1.0)
    with pytest.raises(ValueError, match="probability must lie"):
        predictive.interval(0)
