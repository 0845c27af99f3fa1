"""Draws of the prior against the standard deviations that were asked for."""

import pytest
import torch
from torch import nn

import bdlcore as bdl


def test_prior_draws_have_the_stated_standard_deviation():
    model = bdl.Model(
        bdl.nets.mlp(3, 40, 2), bdl.GaussianPrior(std=2.0, bias_std=0.5, fan_in=True), bdl.Gaussian(1.0)
    )
    named = model.sample_prior(2000, seed=1).named()
    assert named["layers.1.weight"].std().item() == pytest.approx(2 / 40**0.5, rel=0.02)
    assert named["layers.0.weight"].std().item() == pytest.approx(2 / 3**0.5, rel=0.02)
    assert named["layers.0.bias"].std().item() == pytest.approx(0.5, rel=0.02)
    plain = bdl.GaussianPrior(std=0.3).layout(model.network)
    assert set(plain.stds) == {0.3}


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_standard_deviations_must_be_positive(std):
    for make in (bdl.GaussianPrior, bdl.Gaussian):
        with pytest.raises(ValueError, match="std must be positive and finite"):
            make(std)


def stds(network, **prior):
    layout = bdl.GaussianPrior(**prior).layout(network)
    return dict(zip(layout.names, zip(layout.means, layout.stds)))


def test_what_a_parameter_is_its_module_says():
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.GroupNorm(2, 4),
        nn.ConvTranspose2d(4, 3, 4, stride=2),
        nn.Flatten(),
        nn.Linear(9, 1),
    )
    found = stds(network, std=2.0, bias_std=0.5, fan_in=True, gain_std=0.1)
    assert found["0.weight"] == (0.0, pytest.approx(2 / 18**0.5)) and found["0.bias"] == (0.0, 0.5)
    assert found["1.weight"] == (1.0, 0.1) and found["1.bias"] == (0.0, 0.5)
    assert found["2.weight"] == (0.0, pytest.approx(2 / (4 * 16 / 4) ** 0.5))
    assert stds(nn.LayerNorm(3), std=2.0)["weight"] == (1.0, 2.0)
    assert stds(nn.Embedding(100, 3), std=2.0, fan_in=True)["weight"] == (0.0, 2.0)
    attention = stds(nn.MultiheadAttention(4, 2), std=2.0, bias_std=0.5, fan_in=True)
    assert attention["in_proj_weight"] == (0.0, 1.0) and attention["in_proj_bias"] == (0.0, 0.5)
    assert stds(nn.GRU(9, 4), std=3.0, fan_in=True)["weight_ih_l0"] == (0.0, 1.0)


def test_a_transposed_convolution_keeps_the_variance_as_a_convolution_does():
    """Interior pixels of white noise have variance 1 under fan_in: to 5 standard errors of 2,000 networks."""
    for layer in (
        nn.ConvTranspose2d(64, 1, 2, bias=False),
        nn.ConvTranspose2d(64, 1, 4, stride=2, bias=False),
    ):
        model = bdl.Model(
            nn.Sequential(layer, nn.Flatten()), bdl.GaussianPrior(fan_in=True), bdl.Gaussian(1.0)
        )
        g = torch.Generator().manual_seed(0)
        x = torch.randn(1, 64, 4, 4, generator=g)
        side = layer(x).shape[-1]
        f = model.functions(model.sample_prior(2000, seed=0), x)[:, 0].unflatten(1, (side, side))
        middle = f[:, side // 2, side // 2]
        patch = (
            x.square().mean()
        )  # the variance given these inputs is that of the pixels a unit sees, about 1
        assert abs(middle.var() / patch - 1) < 5 * (2 / 2000) ** 0.5 + 0.2


def test_gains_are_drawn_around_one_and_come_back():
    model = bdl.Model(
        nn.Sequential(nn.LayerNorm(500), nn.Linear(500, 1)),
        bdl.GaussianPrior(gain_std=0.1),
        bdl.Gaussian(1.0),
    )
    stack = model.sample_prior(40, seed=0)
    gains = stack.named()["0.weight"]
    assert abs(gains.mean() - 1) < 5 * 0.1 / 20_000**0.5 and abs(gains.std() - 0.1) < 5 * 0.1 / 40_000**0.5
    back = bdl.Stack.from_state_dicts(stack.state_dicts(), model.layout)
    torch.testing.assert_close(back.theta, stack.theta, rtol=1e-4, atol=1e-4)


def test_the_density_of_wide_stacks_is_that_of_their_rows():
    prior, theta = bdl.GaussianPrior(), torch.randn(7, 50_000, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([prior.log_prob(row[None]) for row in theta])
    torch.testing.assert_close(prior.log_prob(theta), alone)
    torch.testing.assert_close(alone, torch.distributions.Normal(0.0, 1.0).log_prob(theta).sum(1))


# --- stds of layers, and other shapes ---


def test_layers_have_stds_of_their_own():
    network = nn.Sequential(nn.Linear(4, 9), nn.LayerNorm(9), nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 1)))
    found = stds(network, std=2.0, bias_std=0.5, fan_in=True, layers={"2": 0.3, "2.1": 0.6, "1.bias": 0.7})
    assert found["0.weight"] == (0.0, 1.0) and found["0.bias"] == (0.0, 0.5)
    assert found["1.weight"] == (1.0, 0.5) and found["1.bias"] == (0.0, 0.7)
    assert found["2.0.weight"] == (0.0, pytest.approx(0.1)) and found["2.0.bias"] == (0.0, 0.3)
    assert found["2.1.weight"] == (0.0, pytest.approx(0.2)) and found["2.1.bias"] == (0.0, 0.6)
    prior = bdl.GaussianPrior(1.0, layers={"0": 0.3})
    assert hash(prior) == hash(bdl.GaussianPrior(1.0, layers=(("0", 0.3),)))
    with pytest.raises(ValueError, match="layers names 'head', which is neither.*0.weight, 0.bias"):
        stds(network, layers={"head": 1.0})
    with pytest.raises(ValueError, match=r"layers\['0'\] must be positive"):
        bdl.GaussianPrior(layers={"0": -1.0})
    model = bdl.Model(network, bdl.GaussianPrior(layers={"0": 0.3}), bdl.Gaussian(0.5))
    x = torch.randn(8, 4)
    with pytest.raises(ValueError, match="layers have a std of their own"):
        bdl.laplace(model, x, x[:, 0], steps=300).log_marginal_likelihood(prior_std=2.0)


def test_layers_of_a_linear_model_are_ridge_regression():
    """A prior std per input of a linear model is its columns scaled, so the closed form is at hand."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(15, 1, generator=g, dtype=torch.float64)
    y = x[:, 0] + 0.5 * torch.randn(15, generator=g, dtype=torch.float64)
    prior = bdl.GaussianPrior(1.0, layers={"layers.0.weight": 2.0, "layers.0.bias": 0.1})
    model = bdl.Model(bdl.nets.mlp(1, 1), prior, bdl.Gaussian(0.5))
    features = torch.cat([2 * x, 0.1 * torch.ones_like(x)], 1)
    exact = bdl.linear_regression(features, y, prior_std=1.0, noise_std=0.5).predict(features)
    predictive = bdl.laplace(model, x, y, steps=500).predict(x)
    torch.testing.assert_close(predictive.mean, exact.mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(predictive.epistemic_std, exact.epistemic_std, rtol=1e-6, atol=1e-6)


SHAPES = {
    "laplace": (bdl.LaplacePrior, {}, torch.distributions.Laplace(0.0, 0.5**0.5)),
    "t": (bdl.StudentTPrior, {"dof": 5.0}, torch.distributions.StudentT(5.0, 0.0, (3 / 5) ** 0.5)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_density_and_slope_of_other_shapes(shape):
    prior, settings, distribution = SHAPES[shape]
    model = bdl.Model(bdl.nets.mlp(2, 3, 1), prior(0.7, **settings), bdl.Gaussian(bdl.LearnedNoise(0.5)))
    theta = model.sample_prior(4, seed=0, dtype=torch.float64).theta.requires_grad_()
    want = distribution.log_prob(theta[:, :-1]).sum(1) + torch.distributions.Normal(0, 1).log_prob(
        theta[:, -1]
    )
    torch.testing.assert_close(model.log_prior(theta), want)
    torch.testing.assert_close(model.prior_slope(theta.detach()), torch.autograd.grad(want.sum(), theta)[0])
    x, y = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    joint = model.log_joint(theta, x, y)
    value, gradient = bdl.LogPosterior(model, x, y)(theta.detach())
    torch.testing.assert_close(value, joint.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(joint.sum(), theta)[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_of_other_shapes(shape):
    """Kolmogorov and Smirnov's distance is below 1.95 / sqrt(n) with probability 0.999; and the std is as stated."""
    from scipy.stats import kstest, laplace, t

    prior, settings, _ = SHAPES[shape]
    model = bdl.Model(bdl.nets.mlp(99, 1), prior(0.7, **settings), bdl.Gaussian(1.0))
    weights = model.sample_prior(200, seed=0, dtype=torch.float64).weights.flatten()
    of = laplace(0, 0.7 * 0.5**0.5) if shape == "laplace" else t(5, 0, 0.7 * 0.6**0.5)
    assert kstest(weights.numpy(), of.cdf).statistic < 2.5 / len(weights) ** 0.5
    assert weights.std().item() == pytest.approx(0.7, rel=0.06)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("method", "settings", "error"),
    [
        (bdl.hmc, {"chains": 160, "draws": 50, "leapfrog_steps": 6}, 0.1),
        (bdl.sgld, {"chains": 320, "draws": 50, "step_size": 0.1, "thinning": 20}, 0.2),
        (bdl.sghmc, {"chains": 320, "draws": 50, "step_size": 0.1, "thinning": 20}, 0.2),
        (bdl.mean_field_vi, {"draws": 4000}, 0.25),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_posteriors_under_other_shapes_are_integrals_on_a_grid(shape, method, settings, error):
    """One weight and two data; the prior's tails and kink matter, and every std of it gives the same posterior."""
    prior, own, _ = SHAPES[shape]
    x, y = torch.ones(2, 1, dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)
    model = bdl.Model(nn.Linear(1, 1, bias=False), prior(0.5, **own), bdl.Gaussian(0.8))
    theta = torch.linspace(-8, 20, 20_001, dtype=torch.float64)[:, None]
    weight = model.log_joint(theta, x, y).softmax(0)
    mean = (weight * theta[:, 0]).sum()
    std = (weight * (theta[:, 0] - mean).square()).sum().sqrt()
    found = method(model, x, y, **settings).stack.theta
    assert abs(found.mean() - mean) < error * std
    assert abs(found.std() / std - 1) < error


def test_other_shapes_have_no_curvature_for_laplace():
    x = torch.randn(5, 1)
    for prior in (bdl.LaplacePrior(1.0), bdl.StudentTPrior(1.0)):
        model = bdl.Model(nn.Linear(1, 1), prior, bdl.Gaussian(0.5))
        with pytest.raises(ValueError, match="laplace needs a Gaussian prior.*Use GaussianPrior, or hmc"):
            bdl.laplace(model, x, x[:, 0])
        assert len(bdl.ensemble(model, x, x[:, 0], members=2, steps=5).stack) == 2
    with pytest.raises(ValueError, match="dof must be more than 2"):
        bdl.StudentTPrior(1.0, dof=2.0)


def trained():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()


def test_trained_weights_as_prior_mean_against_a_shifted_density():
    network = trained()
    model = bdl.Model(network, bdl.GaussianPrior(0.5, mean=network.state_dict()), bdl.Gaussian(0.3))
    flat = torch.cat([p.detach().flatten() for p in network.parameters()])
    stack = model.sample_prior(20_000, seed=0, dtype=torch.float64)
    assert ((stack.weights.mean(0) - flat) / 0.5).abs().max() < 5 / 20_000**0.5
    torch.testing.assert_close(model.layout.weights(torch.zeros(1, len(flat), dtype=flat.dtype))[0], flat)
    back = bdl.Stack.from_state_dicts(stack[:3].state_dicts(), model.layout)
    torch.testing.assert_close(back.theta, stack[:3].theta)
    want = torch.distributions.Normal(flat, 0.5).log_prob(stack.weights[:3]).sum(1)
    scale = model.layout.scale(flat).log().sum()
    torch.testing.assert_close(model.log_prior(stack.theta[:3]) - scale, want)


def test_hmc_under_a_trained_prior_mean_has_the_closed_form():
    torch.manual_seed(0)
    head = torch.nn.Linear(2, 1).double()
    x = torch.randn(12, 2, dtype=torch.float64)
    y = x.sum(1)
    prior = bdl.GaussianPrior(0.2, mean=head.state_dict())
    run = bdl.hmc(bdl.Model(head, prior, bdl.Gaussian(0.5)), x, y, chains=16, draws=300, leapfrog_steps=12)
    start = torch.cat([p.detach().flatten() for p in head.parameters()])
    features = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    exact = bdl.linear_regression(features, y - features @ start, prior_std=0.2, noise_std=0.5)
    n, std = bdl.ess(run.draws).min().item(), exact.covariance.diagonal().sqrt()
    assert ((run.stack.weights.mean(0) - start - exact.mean) / std).abs().max() < 5 / min(n, 4800) ** 0.5
    assert (exact.mean / std).abs().max() > 1, "this test could not tell a mean from none"


def test_a_prior_mean_goes_with_what_is_saved(tmp_path):
    network = trained()
    model = bdl.Model(network, bdl.GaussianPrior(0.5, mean=network.state_dict()), bdl.Gaussian(0.3))
    stack = model.sample_prior(2, seed=0, dtype=torch.float64)
    stack.save(tmp_path / "stack")
    back = bdl.Stack.load(tmp_path / "stack")
    assert back.layout == model.layout
    torch.testing.assert_close(back.weights, stack.weights)
    other = bdl.Model(network, bdl.GaussianPrior(0.5), bdl.Gaussian(0.3))
    with pytest.raises(ValueError, match="does not belong to this model"):
        other.functions(stack, torch.zeros(1, 2, dtype=torch.float64))
    x, y = torch.randn(9, 2, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    for make, kind in ((bdl.laplace, bdl.LaplacePosterior), (bdl.ensemble, bdl.Posterior)):
        made = make(model, x, y)
        made.save(tmp_path / "posterior")
        loaded = kind.load(tmp_path / "posterior", model)
        torch.testing.assert_close(loaded.predict(x).mean, made.predict(x).mean)


def test_a_prior_mean_that_does_not_fit_is_refused():
    network = trained()

    def make(mean):
        return bdl.Model(network, bdl.GaussianPrior(1.0, mean=mean), bdl.Gaussian(0.3))

    with pytest.raises(TypeError, match=r"as network.state_dict\(\) does; got Sequential"):
        make(network)
    with pytest.raises(ValueError, match="names none of the network's free parameters"):
        make({"fc.weight": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"has shape \(2, 3\), and the network's parameter \(3, 2\)"):
        make({"0.weight": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="NaN or infinite"):
        make({"0.weight": torch.full((3, 2), torch.nan)})
