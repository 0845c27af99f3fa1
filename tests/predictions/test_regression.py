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


def test_one_noise_for_all_outputs_may_be_a_tensor():
    f, y = torch.zeros(2, 3, 4), torch.ones(3, 4)
    want = bdl.GaussianPredictive(f, 0.3).log_prob(y)
    for noise in (torch.tensor(0.3), torch.tensor([0.3])):
        torch.testing.assert_close(bdl.GaussianPredictive(f, noise).log_prob(y), want)


class Poisson(bdl.Likelihood):
    """A likelihood that leaves its predictive to the protocol."""

    def targets(self, y, outputs, like):
        return y.to(like)

    def log_prob(self, f, y):
        return y * f[..., 0] - f[..., 0].exp() - torch.lgamma(y + 1)

    def sample(self, f, generator):
        return torch.poisson(f[..., 0].exp(), generator)


def test_a_mixture_refuses_targets_that_do_not_belong_to_its_inputs():
    model = bdl.Model(bdl.nets.mlp(1, 1), bdl.GaussianPrior(1.0), Poisson())
    predictive = bdl.predict(model, model.sample_prior(3, seed=0), torch.zeros(4, 1), chunk_size=2)
    assert predictive.log_prob(torch.ones(4)).shape == (4,)
    with pytest.raises(ValueError, match="same length"):
        predictive.log_prob(torch.ones(6))
    with pytest.raises(TypeError, match="y must be a torch.Tensor"):
        predictive.log_prob([1.0] * 4)
