"""Marginalisation and uncertainty, against brute force and closed forms."""

import math

import pytest
import torch

import bdlcore as bdl


@pytest.fixture
def gaussian(model, regression):
    stack = model.sample_prior(50, seed=0, dtype=torch.float64)
    return model.functions(stack, regression[0]), bdl.predict(model, stack, regression[0])


@pytest.fixture
def categorical():
    model = bdl.Model(bdl.nets.mlp(2, 8, 3), bdl.GaussianPrior(2.0), bdl.Categorical())
    x = torch.randn(9, 2, dtype=torch.float64)
    stack = model.sample_prior(20, seed=0, dtype=torch.float64)
    return model, stack, x, model.functions(stack, x).softmax(-1)


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


def test_probabilities_are_averaged_not_logits(categorical):
    model, stack, x, p = categorical
    for batch_size in (None, 4):
        predictive = bdl.predict(model, stack, x, batch_size)
        torch.testing.assert_close(predictive.probabilities, p.mean(0))
    y = torch.randint(3, (9,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predictive.log_prob(y), p.mean(0)[range(9), y].log())
    assert predictive.accuracy(y) == (p.mean(0).argmax(1) == y).double().mean()
    wrong = model.functions(stack, x).mean(0).softmax(-1)
    assert (predictive.probabilities - wrong).abs().max() > 0.05, "this test could not tell"


def test_entropies_against_torch_distributions(categorical):
    model, stack, x, p = categorical
    predictive = bdl.predict(model, stack, x)
    torch.testing.assert_close(predictive.total_entropy, torch.distributions.Categorical(p.mean(0)).entropy())
    torch.testing.assert_close(
        predictive.aleatoric_entropy, torch.distributions.Categorical(p).entropy().mean(0)
    )
    assert (predictive.epistemic_entropy > 0).all()
    alone = bdl.predict(model, stack[0], x)
    torch.testing.assert_close(alone.epistemic_entropy, torch.zeros(9, dtype=torch.float64))


def test_entropies_survive_certainty():
    model = bdl.Model(bdl.nets.mlp(2, 3), bdl.GaussianPrior(1e4), bdl.Categorical())
    predictive = bdl.predict(model, model.sample_prior(4, seed=0), torch.ones(2, 2))
    assert (
        torch.isfinite(predictive.total_entropy).all() and torch.isfinite(predictive.aleatoric_entropy).all()
    )


def test_a_very_wrong_and_very_sure_network_has_a_finite_log_probability():
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.0), bdl.Categorical())
    stack = bdl.Stack(torch.tensor([[500.0, 0.0, 0.0, 0.0], [300.0, 0.0, 0.0, 0.0]]), model.layout)
    predictive = bdl.predict(model, stack, torch.ones(1, 1))
    want = -300 - math.log(2)  # exp(-500) adds nothing
    assert predictive.probabilities[0, 1] == 0
    assert predictive.log_prob(torch.tensor([1])).item() == pytest.approx(want)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error_against_torchmetrics(bins):
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    g = torch.Generator().manual_seed(0)
    p = (3 * torch.randn(500, 4, generator=g)).softmax(-1)
    y = torch.multinomial(p.sqrt(), 1, generator=g)[:, 0]
    predictive = bdl.CategoricalPredictive(p, torch.zeros(500))
    want = metrics.multiclass_calibration_error(p, y, num_classes=4, n_bins=bins, norm="l1").item()
    assert want > 0.05, "this test could not tell"
    assert predictive.calibration_error(y, bins) == pytest.approx(want, rel=1e-5)


def test_calibration_error_of_known_cases():
    sure = bdl.CategoricalPredictive(torch.eye(2).repeat(10, 1), torch.zeros(20))
    y = torch.tensor([0, 1] * 10)
    assert sure.calibration_error(y) == 0
    assert sure.calibration_error(1 - y) == 1
    with pytest.raises(ValueError, match="bins must be at least 1"):
        sure.calibration_error(y, bins=0)


@pytest.fixture
def held(monkeypatch):
    """The largest number of function values that was held at once."""
    sizes, functions = [0], bdl.Model.functions

    def counted(*args):
        f = functions(*args)
        sizes[0] = max(sizes[0], f.numel())
        return f

    monkeypatch.setattr(bdl.Model, "functions", counted)
    return sizes


def test_streaming_answers_the_same_and_holds_no_more_than_asked(model, held):
    g = torch.Generator().manual_seed(0)
    stack = model.sample_prior(50, seed=0, dtype=torch.float64)
    x = torch.randn(23, 1, generator=g, dtype=torch.float64)
    y = torch.randn(23, 2, generator=g, dtype=torch.float64)
    whole = bdl.predict(model, stack, x)
    assert isinstance(whole, bdl.GaussianPredictive) and held[0] == 50 * 23 * 2
    held[0] = 0
    parts = bdl.predict(model, stack, x, batch_size=5)
    questions = {
        "mean": lambda p: p.mean,
        "epistemic_std": lambda p: p.epistemic_std,
        "aleatoric_std": lambda p: p.aleatoric_std,
        "total_std": lambda p: p.total_std,
        "log_prob": lambda p: p.log_prob(y),
        "cdf": lambda p: p.cdf(y),
        "cdf of one value": lambda p: p.cdf(torch.tensor(0.3)),
        "quantile": lambda p: p.quantile(0.3),
        "interval": lambda p: torch.stack(p.interval(0.9)),
    }
    for name, question in questions.items():
        torch.testing.assert_close(question(parts), question(whole), msg=name)
    assert held[0] == 50 * 5 * 2


@pytest.mark.parametrize("likelihood", [bdl.Gaussian(0.3), bdl.Categorical()])
def test_large_predictions_are_bounded_without_being_asked(likelihood, held):
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.0), likelihood)
    predictive = bdl.predict(model, model.sample_prior(1000, seed=0), torch.randn(10_000, 1))
    answer = predictive.mean if likelihood != bdl.Categorical() else predictive.probabilities
    assert answer.shape == (10_000, 2) and held[0] <= 2**24


def test_predicting_refuses_what_it_cannot_marginalise(categorical):
    model, stack, x, _ = categorical
    with pytest.raises(ValueError, match="stack is empty"):
        bdl.predict(model, stack[[]], x)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        bdl.predict(model, stack, x, batch_size=0)
    model.likelihood = object()
    with pytest.raises(TypeError, match="Gaussian and Categorical"):
        bdl.predict(model, stack, x)


# --- linear regression ---


def test_evidence_is_the_density_of_the_data_under_the_prior():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(8, 3, generator=g, dtype=torch.float64)
    y = torch.randn(8, generator=g, dtype=torch.float64)
    posterior = bdl.linear_regression(features, y, prior_std=0.7, noise_std=0.4)
    covariance = 0.7**2 * features @ features.mT + 0.4**2 * torch.eye(8, dtype=torch.float64)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(8, dtype=torch.float64), covariance)
    assert posterior.log_evidence == pytest.approx(marginal.log_prob(y).item(), rel=1e-10)


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


def test_linear_predictive_matches_its_own_samples():
    g = torch.Generator().manual_seed(0)
    features, y = (
        torch.randn(6, 2, generator=g, dtype=torch.float64),
        torch.randn(6, generator=g, dtype=torch.float64),
    )
    posterior = bdl.linear_regression(features, y, prior_std=1.0, noise_std=0.5)
    predictive = posterior.predict(features)
    f = posterior.sample(100_000, seed=0) @ features.mT
    torch.testing.assert_close(f.mean(0), predictive.mean, rtol=0, atol=0.01)
    torch.testing.assert_close(f.std(0), predictive.epistemic_std, rtol=0.02, atol=0)
    mixture = bdl.GaussianPredictive(f[:2000, :, None], 0.5)
    torch.testing.assert_close(mixture.log_prob(y), predictive.log_prob(y), rtol=0, atol=0.05)
    low, high = predictive.interval(0.9)
    share = torch.special.ndtr((high - predictive.mean) / predictive.total_std)
    torch.testing.assert_close(share, torch.full_like(share, 0.95))
    assert math.isfinite(posterior.log_evidence)


def test_linear_regression_refuses_bad_input():
    features, y = torch.ones(3, 2), torch.ones(3)
    for change, message in [
        ({"noise_std": 0.0}, "noise_std must be positive"),
        ({"temperature": -1.0}, "temperature must be positive"),
        ({"y": torch.ones(4)}, r"Expected features \(N, P\) and y \(N,\)"),
        ({"features": torch.full((3, 2), torch.nan)}, "features contains"),
    ]:
        with pytest.raises(ValueError, match=message):
            bdl.linear_regression(
                **{"features": features, "y": y, "prior_std": 1.0, "noise_std": 1.0} | change
            )
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        bdl.linear_regression(features, y, prior_std=1.0, noise_std=1.0).predict(torch.ones(3, 3))
