"""Laplace's approximation against closed forms, its own draws, and one mode at a time."""

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


@pytest.mark.parametrize("structure", ["full", "kron", "last_layer"])
@pytest.mark.parametrize("name", ["temperature", "likelihood_temperature"])
@pytest.mark.parametrize("T", [0.1, 0.5, 1.0, 2.0])
def test_linear_regression_is_exact(linear, structure, name, T):
    model, x, y, features = linear
    want = bdl.linear_regression(features, y, prior_std=PRIOR_STD, noise_std=NOISE_STD, **{name: T})
    mode = bdl.Stack(want.mean[None] / PRIOR_STD, model.layout)
    posterior = bdl.laplace(model, x, y, structure=structure, modes=mode, **{name: T})
    assert posterior.excess.item() < 1e-12
    predictive, exact = posterior.predict(x), want.predict(features)
    torch.testing.assert_close(predictive.mean, exact.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(predictive.epistemic_std, exact.epistemic_std)
    torch.testing.assert_close(predictive.total_std, exact.total_std)
    torch.testing.assert_close(predictive.log_prob(y), exact.log_prob(y), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.cat(predictive.interval(0.9)), torch.cat(exact.interval(0.9)))
    drawn = posterior.sample(4_000, seed=1).weights.mT.cov()
    scale = torch.outer(exact_std := want.covariance.diagonal().sqrt(), exact_std)
    assert ((drawn - want.covariance) / scale).abs().max() < 5 * math.sqrt(2 / 4_000)
    if T == 1:
        assert posterior.log_marginal_likelihood().item() == pytest.approx(want.log_evidence, rel=1e-9)
    else:
        with pytest.raises(ValueError, match="no marginal likelihood"):
            posterior.log_marginal_likelihood()


def test_last_layer_is_linear_regression_on_its_features():
    x, y = bdl.data.two_clusters(30)
    x, y = x.double(), y.double()
    model = bdl.Model(bdl.nets.mlp(1, 8, 1), bdl.GaussianPrior(PRIOR_STD), bdl.Gaussian(0.2))
    posterior = bdl.laplace(model, x, y, structure="last_layer", steps=300)
    weights = posterior.modes.named()

    def features(x):
        hidden = torch.tanh(F.linear(x, weights["layers.0.weight"][0], weights["layers.0.bias"][0]))
        return torch.cat([hidden, torch.ones(len(x), 1, dtype=x.dtype)], 1)

    want = bdl.linear_regression(features(x), y, prior_std=PRIOR_STD, noise_std=0.2)
    assert posterior.log_marginal_likelihood().item() == pytest.approx(want.log_evidence, rel=1e-6)
    grid = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    exact, predictive = want.predict(features(grid)), posterior.predict(grid)
    torch.testing.assert_close(predictive.epistemic_std, exact.epistemic_std)
    torch.testing.assert_close(predictive.mean, exact.mean, rtol=1e-4, atol=1e-4)
    # the network is linear in these weights, so that sampling them is exact too
    draws = posterior.sample(10, seed=3)
    torch.testing.assert_close(model.functions(draws, grid), posterior.functions(grid, 10, seed=3))
    assert (draws.theta[:, :16] == posterior.modes.theta[:, :16]).all()


def test_single_precision_loses_little(regression):
    x, y = bdl.data.two_clusters(100)
    model = bdl.Model(bdl.nets.mlp(1, 30, 30, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    double = bdl.laplace(model, x.double(), y.double(), steps=200, lr=0.03)
    single = bdl.laplace(model, x, y, modes=double.modes.to(torch.float32))
    assert single.log_marginal_likelihood().item() == pytest.approx(
        double.log_marginal_likelihood().item(), rel=2e-4, abs=0.02
    )
    difference = single.predict(x).epistemic_std / double.predict(x.double()).epistemic_std - 1
    assert difference.abs().max() < 1e-3


def test_what_a_posterior_says_of_itself(linear):
    model, x, y, features = linear
    text = repr(bdl.laplace(model, x, y, steps=300, lr=0.05))
    want = bdl.linear_regression(features, y, prior_std=PRIOR_STD, noise_std=NOISE_STD).log_evidence
    assert f"full: S=1 mode(s), D=3 weights; log marginal likelihood {want:.2f}" in text
    assert "marginal" not in repr(bdl.laplace(model, x, y, steps=300, lr=0.05, temperature=0.5))


# --- predictions ---


@pytest.mark.parametrize("structure", STRUCTURES)
def test_drawn_functions_have_the_predictive_moments(structure, model, regression):
    x, y = regression
    stack = model.sample_prior(2, seed=0, dtype=x.dtype)
    posterior = off_mode(model, x, y, modes=stack, structure=structure, temperature=0.5)
    f, predictive = posterior.functions(x, 4_000, seed=1), posterior.predict(x)
    assert f.shape == (8_000, 12, 2)
    # 5 standard errors of a mean of 8,000 draws, 6 of their std and of a variance of 4,000
    assert ((f.mean(0) - predictive.mean).abs() < 5 * predictive.epistemic_std / math.sqrt(8_000)).all()
    torch.testing.assert_close(f.std(0), predictive.epistemic_std, rtol=0.05, atol=0)
    first = f[:4_000, 3].mT.cov()
    torch.testing.assert_close(first, predictive.covariance[0, 3], rtol=0.15, atol=0.05 * first.max().item())


def test_a_mixture_of_modes(model, regression):
    x, y = regression
    stack = model.sample_prior(2, seed=0, dtype=x.dtype)
    both = off_mode(model, x, y, modes=stack)
    singles = [off_mode(model, x, y, modes=mode) for mode in stack]
    parts = [single.predict(x) for single in singles]
    mixture = both.predict(x)
    torch.testing.assert_close(mixture.means, torch.cat([part.means for part in parts]))
    densities = torch.stack([part.log_prob(y).exp() for part in parts])
    torch.testing.assert_close(mixture.log_prob(y), densities.mean(0).log())
    own = torch.distributions.MultivariateNormal(
        parts[0].mean, parts[0].covariance[0] + 0.09 * torch.eye(2, dtype=x.dtype)
    )
    torch.testing.assert_close(parts[0].log_prob(y), own.log_prob(y))
    second = sum(0.5 * (part.mean.square() + part.total_std.square()) for part in parts)
    torch.testing.assert_close(mixture.total_std, (second - mixture.mean.square()).sqrt())
    for q in (0.05, 0.5):
        torch.testing.assert_close(mixture.cdf(mixture.quantile(q)), torch.full_like(y, q), rtol=0, atol=1e-9)
    low, high = mixture.interval(0.9)
    assert ((y > low) & (y < high)).any() and (mixture.aleatoric_std == 0.3).all()
    evidence = torch.cat([single.log_marginal_likelihood() for single in singles])
    torch.testing.assert_close(both.log_marginal_likelihood(), evidence)
    torch.testing.assert_close(both.sample(3, seed=0).theta[:3], singles[0].sample(3, seed=0).theta)
    for name in ("q must lie", "probability must lie"):
        with pytest.raises(ValueError, match=name):
            mixture.quantile(1.0) if name[0] == "q" else mixture.interval(0)


def test_classes_are_averaged_over_the_logits(classes):
    model, x, y, stack = classes
    posterior = off_mode(model, x, y, modes=stack)
    p = posterior.functions(x, 4_000, seed=1).softmax(-1)
    predictive, entropy = posterior.predict(x, draws=4_000, seed=2), torch.special.entr(p).sum(-1)
    standard_error = math.sqrt(2 / len(p))  # of a difference of two means, in standard deviations of a draw
    for got, drawn in ((predictive.probabilities, p), (predictive.aleatoric_entropy, entropy)):
        assert ((got - drawn.mean(0)).abs() < 5 * standard_error * drawn.std(0)).all()
    torch.testing.assert_close(predictive.probabilities.sum(-1), torch.ones(len(x), dtype=x.dtype))
    assert (predictive.epistemic_entropy >= 0).all()


def test_one_temperature_per_mode(linear):
    model, x, y, _ = linear
    single = bdl.laplace(model, x, y, steps=300, lr=0.05)
    both = bdl.concatenate([single.modes, single.modes])
    predictive = bdl.laplace(model, x, y, modes=both, temperature=torch.tensor([1.0, 4.0])).predict(x)
    torch.testing.assert_close(predictive.covariance[1], 4 * predictive.covariance[0])


def test_draws_do_not_depend_on_their_company(classes):
    model, x, y, stack = classes
    for structure in STRUCTURES:
        posterior = off_mode(model, x, y, modes=stack[0], structure=structure)
        whole = posterior.sample(6, seed=3).theta
        torch.testing.assert_close(posterior.sample(range(4, 6), seed=3).theta, whole[4:])
        assert not torch.allclose(posterior.sample(6, seed=4).theta, whole)


@pytest.mark.parametrize("structure", ["full", "diagonal", "last_layer"])
def test_a_mode_that_was_found_alone_draws_as_in_company(linear, structure):
    """The posterior of a linear model has one mode, so that any two searches meet and draws alone can differ."""
    model, x, y, _ = linear
    three = bdl.laplace(model, x, y, modes=3, structure=structure)
    second = bdl.laplace(model, x, y, modes=range(1, 2), structure=structure)
    want = three.sample(5, seed=1).theta[5:10]
    torch.testing.assert_close(second.sample(5, seed=1).theta, want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        second.functions(x, 5, seed=1), three.functions(x, 5, seed=1)[5:10], rtol=1e-4, atol=1e-4
    )


def test_chunks_of_data_change_nothing(classes, monkeypatch):
    model, x, y, modes = classes
    for structure in STRUCTURES:
        whole = off_mode(model, x, y, structure=structure, modes=modes)
        with monkeypatch.context() as patch:
            patch.setattr("bdlcore._support.memory.PASS", 2_400)
            patch.setattr("bdlcore._support.memory.WORKSPACE", 12_000)
            parts = off_mode(model, x, y, structure=structure, modes=modes)
            torch.testing.assert_close(parts.log_marginal_likelihood(), whole.log_marginal_likelihood())
            probabilities = parts.predict(x).probabilities
        torch.testing.assert_close(probabilities, whole.predict(x).probabilities)


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"structure": "kfac"},
            ValueError,
            "structure must be one of 'full', 'diagonal', 'kron', 'last_layer'",
        ),
        ({"modes": 0}, ValueError, "modes must be at least 1"),
        ({"modes": 1.5}, TypeError, "modes must be a whole number"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": torch.ones(3)}, ValueError, r"one value per row, shape \(1,\)"),
        ({"likelihood_temperature": -1.0}, ValueError, "likelihood_temperature must be positive"),
        ({"memory_gb": 1e-9}, ValueError, "D=3 weights on N.C=15 outputs.*needs.*GB.*Use structure='kron'"),
        ({"memory_gb": 0}, ValueError, "memory_gb must be positive"),
        ({"refine_steps": -1}, ValueError, "refine_steps must be at least 0"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
    ],
)
def test_bad_settings_are_named(linear, arguments, error, message):
    model, x, y, _ = linear
    with pytest.raises(error, match=message):
        bdl.laplace(model, x, y, **{"steps": 3} | arguments)


def test_bad_data_stacks_and_questions_are_named(linear, classes):
    model, x, y, _ = linear
    with pytest.raises(ValueError, match="NaN"):
        bdl.laplace(model, x * torch.nan, y)
    with pytest.raises(ValueError, match="same length"):
        bdl.laplace(model, x[:3], y)
    with pytest.raises(ValueError, match="does not belong to this model"):
        bdl.laplace(model, x, y, modes=classes[3])
    with pytest.raises(ValueError, match="modes must be at least 1, got 0"):
        bdl.laplace(model, x, y, modes=model.sample_prior(2, seed=0, dtype=x.dtype)[:0])
    posterior = bdl.laplace(model, x, y, steps=300, lr=0.05)
    for question, message in (
        (lambda: posterior.predict(x[:, :1]), "takes 2 input"),
        (lambda: posterior.predict(x.float()), "Convert one of them"),
        (lambda: posterior.functions(x, 0), "draws must be at least 1"),
        (lambda: posterior.log_marginal_likelihood(prior_std=-1.0), "prior_std must be positive"),
        (
            lambda: posterior.log_marginal_likelihood(prior_std=torch.ones(3)),
            r"one value per parameter tensor",
        ),
        (lambda: posterior.log_marginal_likelihood(noise_std=0.0), "noise_std must be positive"),
        (
            lambda: off_mode(*classes[:3], modes=classes[3]).log_marginal_likelihood(noise_std=1.0),
            "noise_std is for a Gaussian likelihood; Categorical has none",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            question()

    class Poisson(bdl.Likelihood):
        targets, log_prob = bdl.Gaussian(1.0).targets, bdl.Gaussian(1.0).log_prob

    with pytest.raises(TypeError, match="Poisson has no curvature in closed form"):
        bdl.laplace(bdl.Model(bdl.nets.mlp(2, 1), bdl.GaussianPrior(), Poisson()), x, y)
