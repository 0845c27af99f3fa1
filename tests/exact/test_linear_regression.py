"""Linear regression, cold and tempered, against sums over a grid of weights, its definitions and its own samples."""

import math

import pytest
import torch
from conjugate import NOISE_STD, PRIOR_STD

import bdlcore as bdl

KINDS = ("temperature", "likelihood_temperature")
TEMPERATURES = (0.1, 0.5, 1.0, 2.0)


def test_evidence_is_the_density_of_the_data_under_the_prior():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(8, 3, generator=g, dtype=torch.float64)
    y = torch.randn(8, generator=g, dtype=torch.float64)
    posterior = bdl.linear_regression(features, y, prior_std=0.7, noise_std=0.4)
    covariance = 0.7**2 * features @ features.mT + 0.4**2 * torch.eye(8, dtype=torch.float64)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(8, dtype=torch.float64), covariance)
    assert posterior.log_evidence == pytest.approx(marginal.log_prob(y).item(), rel=1e-10)


def test_linear_predictive_matches_its_own_samples():
    g = torch.Generator().manual_seed(0)
    features, y = (
        torch.randn(6, 2, generator=g, dtype=torch.float64),
        torch.randn(6, generator=g, dtype=torch.float64),
    )
    posterior = bdl.linear_regression(features, y, prior_std=1.0, noise_std=0.5)
    predictive = posterior.predict(features)
    f = posterior.sample(100_000, seed=0) @ features.mT
    torch.testing.assert_close(f.mean(0)[:, None], predictive.mean, rtol=0, atol=0.01)
    torch.testing.assert_close(f.std(0)[:, None], predictive.epistemic_std, rtol=0.02, atol=0)
    mixture = bdl.GaussianPredictive(f[:20_000, :, None], 0.5)
    near = (predictive.mean + 0.5 * predictive.total_std)[:, 0]  # far out a few draws would carry the average
    torch.testing.assert_close(mixture.log_prob(near), predictive.log_prob(near), rtol=0, atol=0.05)
    low, high = predictive.interval(0.9)
    share = torch.special.ndtr((high - predictive.mean) / predictive.total_std)
    torch.testing.assert_close(share, torch.full_like(share, 0.95))
    assert math.isfinite(posterior.log_evidence)


def test_linear_regression_refuses_bad_input():
    features, y = torch.ones(3, 2), torch.ones(3)
    for change, message in [
        ({"noise_std": 0.0}, "noise_std must be positive"),
        ({"temperature": -1.0}, "temperature must be positive"),
        ({"y": torch.ones(4)}, "same length, got 3 inputs and 4 targets"),
        ({"features": torch.full((3, 2), torch.nan)}, "features contains"),
    ]:
        with pytest.raises(ValueError, match=message):
            bdl.linear_regression(
                **{"features": features, "y": y, "prior_std": 1.0, "noise_std": 1.0} | change
            )
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        bdl.linear_regression(features, y, prior_std=1.0, noise_std=1.0).predict(torch.ones(3, 3))


# --- temperature ---


@pytest.mark.parametrize(
    ("T", "T_lik"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.5), (1.0, 2.0), (0.5, 3.0)]
)
def test_tempered_posterior_by_integration(T, T_lik):
    """One weight, so that normalising [p(D|w)^(1/T_lik) p(w)]^(1/T) on a grid is exact."""
    features = torch.tensor([[1.0], [2.0], [-0.5]], dtype=torch.float64)
    y = torch.tensor([0.7, 1.1, 0.1], dtype=torch.float64)
    w = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    likelihood = torch.distributions.Normal(features * w, 0.4).log_prob(y[:, None]).sum(0)
    density = ((likelihood / T_lik + torch.distributions.Normal(0, 0.7).log_prob(w)) / T).softmax(0)
    posterior = bdl.linear_regression(
        features, y, prior_std=0.7, noise_std=0.4, temperature=T, likelihood_temperature=T_lik
    )
    mean = (density * w).sum()
    assert posterior.mean.item() == pytest.approx(mean.item(), rel=1e-8)
    assert posterior.covariance.item() == pytest.approx((density * (w - mean) ** 2).sum().item(), rel=1e-8)
    assert (posterior.log_evidence is None) == ((T, T_lik) != (1.0, 1.0))


@pytest.fixture(scope="module")
def problem():
    """Two weights, so that integrals over them are sums over a grid."""
    g = torch.Generator().manual_seed(0)
    features = torch.randn(6, 2, generator=g, dtype=torch.float64)
    y = features @ torch.tensor([1.0, -0.5], dtype=torch.float64) + NOISE_STD * torch.randn(6, generator=g)
    return features, y


def exact(problem, **settings):
    return bdl.linear_regression(*problem, **{"prior_std": PRIOR_STD, "noise_std": NOISE_STD} | settings)


def grid_of_weights(problem):
    """Weights (n, 2) that cover every posterior of the tests, the area of one, log likelihood and log prior (n,)."""
    features, y = problem
    side = torch.linspace(-8, 8, 1201, dtype=torch.float64)
    w = torch.cartesian_prod(side, side)
    log_likelihood = torch.distributions.Normal(w @ features.mT, NOISE_STD).log_prob(y).sum(1)
    prior = torch.distributions.Normal(
        0.0, torch.tensor(PRIOR_STD, dtype=w.dtype)
    )  # two floats would be float32
    log_prior = prior.log_prob(w).sum(1)
    return w, (side[1] - side[0]).square(), log_likelihood, log_prior


def log_density(w, kind, T):
    """Log of the unnormalised density by its definition."""
    _, _, log_likelihood, log_prior = w
    return (log_likelihood + log_prior) / T if kind == "temperature" else log_likelihood / T + log_prior


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("T", TEMPERATURES)
def test_mean_covariance_and_predictive_follow_from_the_definition(problem, kind, T):
    w = grid_of_weights(problem)
    p = log_density(w, kind, T).softmax(0)
    mean = p @ w[0]
    covariance = (w[0] - mean).mT @ ((w[0] - mean) * p[:, None])
    found = exact(problem, **{kind: T})
    torch.testing.assert_close(found.mean, mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.covariance, covariance, rtol=1e-8, atol=1e-8)

    x = torch.tensor([[0.7, -1.5]], dtype=torch.float64)
    y = torch.tensor([0.4], dtype=torch.float64)
    density = p @ torch.distributions.Normal(w[0] @ x[0], NOISE_STD).log_prob(y).exp()
    assert found.predict(x).log_prob(y).item() == pytest.approx(density.log().item(), abs=1e-8)
    assert (found.log_evidence is None) == (T != 1)


@pytest.mark.parametrize("T", TEMPERATURES)
def test_evidence_of_a_tempered_likelihood(problem, T):
    """N(y; f, sigma^2)^(1/T) is a constant times N(y; f, T sigma^2), whose evidence is known."""
    w = grid_of_weights(problem)
    log_Z = log_density(w, "likelihood_temperature", T).logsumexp(0) + w[1].log()
    variance, N = NOISE_STD**2, len(problem[1])
    constant = 0.5 * N * (math.log(2 * math.pi * T * variance) - math.log(2 * math.pi * variance) / T)
    other_noise = exact(problem, noise_std=NOISE_STD * math.sqrt(T))
    assert log_Z.item() == pytest.approx(other_noise.log_evidence + constant, abs=1e-7)


@pytest.mark.parametrize("T", TEMPERATURES)
def test_tempering_is_another_noise_for_the_weights_but_not_for_the_prediction(problem, T):
    tempered = exact(problem, likelihood_temperature=T)
    other_noise = exact(problem, noise_std=NOISE_STD * math.sqrt(T))
    torch.testing.assert_close(tempered.mean, other_noise.mean)
    torch.testing.assert_close(tempered.covariance, other_noise.covariance)
    x = problem[0][:1]
    gap = other_noise.predict(x).total_std.square() - tempered.predict(x).total_std.square()
    assert gap.item() == pytest.approx((T - 1) * NOISE_STD**2)


@pytest.mark.parametrize("T", TEMPERATURES)
def test_cold_is_tempered_with_a_rescaled_gaussian_prior(problem, regression, T):
    cold = exact(problem, temperature=T)
    same = exact(problem, likelihood_temperature=T, prior_std=PRIOR_STD * math.sqrt(T))
    torch.testing.assert_close(cold.mean, same.mean)
    torch.testing.assert_close(cold.covariance, same.covariance)

    # and for a network: equal up to a constant that does not depend on the weights
    x, y = regression
    a, likelihood = 0.9, bdl.Gaussian(0.3)
    wide = bdl.Model(bdl.nets.mlp(1, 7, 2), bdl.GaussianPrior(a), likelihood)
    narrow = bdl.Model(bdl.nets.mlp(1, 7, 2), bdl.GaussianPrior(a * math.sqrt(T)), likelihood)
    theta = wide.sample_prior(5, seed=0, dtype=x.dtype).theta
    value, gradient = bdl.LogPosterior(wide, x, y, temperature=T)(theta)
    other, slope = bdl.LogPosterior(narrow, x, y, likelihood_temperature=T)(theta / math.sqrt(T))
    torch.testing.assert_close(value - value[0], other - other[0])
    torch.testing.assert_close(gradient, slope / math.sqrt(T))


def test_limits_of_both_temperatures(problem):
    features, y = problem
    bayes, least_squares = exact(problem), torch.linalg.lstsq(features, y[:, None]).solution[:, 0]
    identity = torch.eye(2, dtype=torch.float64)
    for T in (1e-8, 1e8):
        cold = exact(problem, temperature=T)
        torch.testing.assert_close(cold.mean, bayes.mean)
        torch.testing.assert_close(cold.covariance, T * bayes.covariance)
    icy, boiling = (exact(problem, likelihood_temperature=T) for T in (1e-8, 1e8))
    near = {"rtol": 1e-4, "atol": 1e-4}  # 1e-8 from the limit, times the condition of the features
    torch.testing.assert_close(icy.mean, least_squares, **near)
    assert icy.covariance.abs().max() < 1e-6
    assert boiling.mean.abs().max() < 1e-5
    torch.testing.assert_close(boiling.covariance, PRIOR_STD**2 * identity, **near)


@pytest.mark.parametrize("T", TEMPERATURES)
def test_the_slope_of_the_log_normaliser_is_the_expected_log_likelihood(problem, T):
    """d log Z / d(1/T) = E_T[log p(D | w)], which makes an evidence out of tempered posteriors."""
    w = grid_of_weights(problem)
    h = 1e-4
    high, low = (
        log_density(w, "likelihood_temperature", 1 / (1 / T + step)).logsumexp(0) for step in (h, -h)
    )
    found = exact(problem, likelihood_temperature=T)
    features, y = problem
    spread = ((features @ found.covariance) * features).sum()
    squares = (y - features @ found.mean).square().sum() + spread
    expected = -0.5 * squares / NOISE_STD**2 - 0.5 * len(y) * math.log(2 * math.pi * NOISE_STD**2)
    assert ((high - low) / (2 * h)).item() == pytest.approx(expected.item(), rel=1e-5)


# --- what cannot be computed, or is no data ---


def powers(degree, dtype):
    x = torch.linspace(-3, 3, 40, dtype=dtype)
    return x[:, None] ** torch.arange(degree + 1), x.sin()


def test_ill_conditioned_features_are_named():
    features, y = powers(12, torch.float32)
    with pytest.raises(
        ValueError, match=r"in torch.float32: the features are ill-conditioned.*features.double\(\)"
    ):
        bdl.linear_regression(features, y, prior_std=10.0, noise_std=0.1)
    bdl.linear_regression(*powers(12, torch.float64), prior_std=10.0, noise_std=0.1)
    with pytest.raises(ValueError, match="in torch.float64.*: the features are too large"):
        bdl.linear_regression(1e200 * features.double(), y.double(), prior_std=1.0, noise_std=0.1)
    broken = bdl.LinearPosterior(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]]), 0.1, None, 0.0)
    with pytest.raises(ValueError, match="covariance has no Cholesky factor"):
        broken.sample(3, 0)


def test_scales_are_one_number(problem):
    for name in ("prior_std", "noise_std", "temperature", "likelihood_temperature"):
        with pytest.raises(ValueError, match=rf"{name} must be one number, got a tensor of shape \(2,\)"):
            exact(problem, **{name: torch.ones(2)})


@pytest.mark.parametrize("bad", [[[0.0, 1.0]], torch.zeros(3, 2).numpy(), torch.zeros(3, 2).int(), torch.zeros(0, 2),
                                 torch.full((3, 2), torch.nan)])  # fmt: skip
def test_bad_features_are_named(problem, bad):
    posterior = exact(problem)
    for ask in (posterior.predict, posterior.functions, lambda features: exact((features, torch.zeros(3)))):
        with pytest.raises((TypeError, ValueError), match="^features (must|is empty|contains)"):
            ask(bad)
    with pytest.raises(ValueError, match="dtype of the fit, torch.float64, got torch.float32"):
        posterior.predict(torch.zeros(3, 2))
