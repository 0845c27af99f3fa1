"""What a health report says of posteriors whose faults are known."""

import math
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, StackDataset, TensorDataset

import bdlcore as bdl


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def regression_model():
    """A linear model, for which Laplace is exact, and HMC's report on it around independent draws of its posterior.

    The draws are exact because a chain's R-hat hangs on its random numbers and on how the processor rounds. Of 16 x 200
    independent draws the largest R-hat is 1.0019 +- 0.0009 over seeds, 9 standard deviations below health's line at
    1.01, and the ESS 3,100 +- 100, far above 400.
    """
    g = torch.Generator().manual_seed(0)
    x = torch.randn(20, 1, generator=g, dtype=torch.float64)
    y = 0.8 * x[:, 0] + 0.3 * torch.randn(20, generator=g)
    model = bdl.Model(bdl.nets.mlp(1, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
    hmc = bdl.hmc(model, x, y, chains=16, draws=200, warmup=100, leapfrog_steps=12)
    exact = bdl.linear_regression(torch.cat([x, torch.ones_like(x)], 1), y, prior_std=1.0, noise_std=0.3)
    return model, x, y, replace(hmc, stack=bdl.Stack(exact.sample(3200, seed=0), model.layout))


def test_a_healthy_posterior(regression_model):
    model, x, y, hmc = regression_model
    report = bdl.health(model, hmc, x)
    assert report.good, report
    assert [f.name for f in report.findings] == ["R-hat", "ESS", "acceptance", "divergences", "spread"]
    f = model.functions(hmc.stack, x).unflatten(0, (16, 200))
    assert report["R-hat"].value == bdl.rhat(f).max().item()
    assert report["ESS"].value == bdl.ess(f).min().item()
    assert report["acceptance"].value == hmc.acceptance.mean().item()
    features = torch.cat([x, torch.ones_like(x)], 1)
    exact = bdl.linear_regression(features, y, prior_std=1.0, noise_std=0.3).predict(features).epistemic_std
    ratio = (exact / (x[:, 0] ** 2 + 1).sqrt()).median().item()
    assert report["spread"].value == pytest.approx(ratio, rel=0.2)
    assert "nothing wrong to be seen" in repr(report) and "HMC: 3200 settings from 16 chains;" in repr(report)
    assert report._repr_html_().count("<tr>") == 5
    with pytest.raises(KeyError, match="'ELBO' was not checked for HMC"):
        report["ELBO"]


def test_chains_that_disagree(regression_model):
    model, x, _, hmc = regression_model
    shift = torch.zeros(16, 1, 2, dtype=x.dtype)
    shift[0] = 3.0
    moved = replace(hmc, stack=bdl.Stack((hmc.draws + shift).flatten(0, 1), model.layout))
    report = bdl.health(model, moved, x)
    assert not report.good and report["R-hat"].good is False
    assert "chains found different functions" in repr(report)
    assert report["ESS"].value < bdl.health(model, hmc, x)["ESS"].value / 5
    stuck = replace(hmc, stack=bdl.Stack(hmc.stack.theta[:1].expand(3200, -1), model.layout))
    assert math.isnan(bdl.health(model, stuck, x)["R-hat"].value)
    assert "chains are stuck" in repr(bdl.health(model, stuck, x))


def test_of_data_that_are_read_only_the_probes_are(regression_model):
    model, x, y, hmc = regression_model
    want = bdl.health(model, hmc, x, y)
    for source in (TensorDataset(x, y), DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True)):
        assert repr(bdl.health(model, hmc, source)) == repr(want)
    read = []

    class Rows:
        def __len__(self):
            return 1000

        def __getitem__(self, i):
            read.append(i)
            return x[i % 20]

    wide, targets = x[torch.arange(1000) % 20], y[torch.arange(1000) % 20]
    report = bdl.health(model, hmc, StackDataset(Rows(), targets))
    assert len(set(read)) == 200 and max(read) == 999
    assert report["R-hat"] == bdl.health(model, hmc, wide, targets)["R-hat"]
    with pytest.raises(ValueError, match="leave out y"):
        bdl.health(model, hmc, TensorDataset(x, y), y)
    with pytest.raises(TypeError, match="Items must be pairs"):
        bdl.health(model, hmc, TensorDataset(x))


def test_distance_to_a_reference(regression_model):
    model, x, y, hmc = regression_model
    laplace = bdl.laplace(model, x, y, steps=300, lr=0.05)
    report = bdl.health(model, laplace, x, reference=hmc, draws=2000)
    assert report.good, report
    assert report["mode"].value < 1e-3 and report["distance"].good
    f, g = laplace.functions(x, 2000), model.functions(hmc.stack, x)
    assert report["distance"].value == bdl.wasserstein(f, g).mean().item()
    halves = g.unflatten(0, (16, 200))
    floor = bdl.wasserstein(halves[::2].flatten(0, 1), halves[1::2].flatten(0, 1)).mean()
    assert f"halves of the reference: {floor:.3g}" in report["distance"].verdict
    map_estimate = bdl.health(model, laplace.modes, x, reference=hmc)
    assert map_estimate["spread"].good is False and "no uncertainty" in map_estimate["spread"].verdict
    assert map_estimate["distance"].good is False
    draws = model.sample_prior(4000, seed=3, dtype=x.dtype)  # the ratio's standard error is 1.6 %
    prior = bdl.health(model, draws, x, reference=hmc, prior_draws=4000)
    assert "nothing was learned from the data" in prior[
        "spread"
    ].verdict and "far from the reference" in repr(prior)
    near = bdl.Stack(laplace.modes.theta + 1e-6 * normal(10, 2), model.layout)
    assert "collapsed" in bdl.health(model, near, x)["spread"].verdict


def test_a_reference_that_has_not_mixed_is_named(regression_model):
    model, x, _, hmc = regression_model
    shift = torch.arange(16)[:, None, None] % 2 * 0.5
    split = replace(hmc, stack=bdl.Stack((hmc.draws + shift).flatten(0, 1), model.layout))
    finding = bdl.health(model, hmc, x, reference=split)["distance"]
    assert "The reference has not mixed itself" in finding.verdict and finding.good is None


def test_classes_are_compared_by_their_probabilities():
    x = normal(30, 2)
    y = (x[:, 0] > 0).long()
    model = bdl.Model(bdl.nets.mlp(2, 2), bdl.GaussianPrior(1.0), bdl.Categorical())
    hmc = bdl.hmc(model, x, y, chains=8, draws=100, warmup=50, leapfrog_steps=10)
    members = bdl.ensemble(model, x, y, members=2, steps=300)
    report = bdl.health(model, members, x, reference=hmc)
    p, q = (bdl.predict(model, posterior.stack, x) for posterior in (members, hmc))
    assert report["distance"].value == pytest.approx(bdl.total_variation(p, q).mean().item())
    assert report["agreement"].value == pytest.approx(bdl.agreement(p, q))
    assert report["loss"].good and "Total variation" in repr(report)
    shifted = bdl.health(model, hmc, x, reference=hmc)
    assert shifted["distance"].value == 0 and shifted["agreement"].value == 1
    laplace = bdl.laplace(model, x, y, modes=2, steps=300)
    assert bdl.health(model, laplace, x, reference=hmc)["distance"].value < report["distance"].value


def test_an_elbo_rises(regression_model):
    model, x, _, hmc = regression_model
    settled = -torch.exp(-torch.arange(200) / 10)[:, None].expand(-1, 3)
    posterior = replace(hmc, elbo=settled, log_density=None)
    assert bdl.health(model, posterior, x)["ELBO"].good
    posterior = replace(hmc, elbo=torch.arange(200.0)[:, None], log_density=None)
    assert bdl.health(model, posterior, x)["ELBO"].good is False


def test_a_sampler_without_rejection(regression_model):
    model, x, _, hmc = regression_model
    warm = replace(hmc, acceptance=None, divergences=None, configurational_temperature=torch.full((16,), 1.3))
    report = bdl.health(model, warm, x)
    assert [f.name for f in report.findings] == ["R-hat", "ESS", "configurational temperature", "spread"]
    assert "draws are too wide" in repr(report)


def test_bad_input_to_health(regression_model):
    model, x, _, hmc = regression_model
    for arguments, error, message in [
        (
            {"posterior": hmc.stack.theta},
            TypeError,
            "Expected a posterior or a Stack, got Tensor",
        ),
        ({"posterior": hmc.stack[:0]}, ValueError, "stack is empty"),
        ({"x": x.float()}, ValueError, "Convert one of them"),
        ({"x": x[:, 0]}, ValueError, "must have shape"),
        ({"prior_draws": 1}, ValueError, "prior_draws must be at least 2"),
        ({"reference": hmc.stack[0]}, ValueError, "reference has one setting only"),
    ]:
        with pytest.raises(error, match=message):
            bdl.health(model, **{"posterior": hmc, "x": x} | arguments)


# --- against data ---


class Counts(bdl.Likelihood):
    """Poisson counts, which knows nothing but what the protocol asks."""

    def targets(self, y, outputs, like):
        return y.to(like)

    def log_prob(self, f, y):
        return y * f[..., 0] - f[..., 0].exp() - torch.lgamma(y + 1)

    def sample(self, f, generator):
        return torch.poisson(f[..., 0].exp(), generator)


def test_inputs_in_thousands_are_named():
    g = torch.Generator().manual_seed(0)
    x = 2000 + 1000 * torch.rand(100, 1, generator=g)
    y = 300 + 200 * (x[:, 0] / 1000 - 2.5) + 5 * torch.randn(100, generator=g)
    model = bdl.Model(bdl.nets.mlp(1, 20, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(5.0))
    posterior = bdl.mean_field_vi(model, x, y, steps=500)
    report = bdl.health(model, posterior, x, y)
    assert report["fit"].good is False and report["fit"].value < -10
    numbers = [f"mean {v.mean():.3g}, std {v.std(correction=0):.3g}" for v in (x, y)]
    assert f"Standardise inputs ({numbers[0]}) and targets ({numbers[1]})" in report["fit"].verdict
    assert bdl.health(model, posterior, x)["inputs"].good is False
    with pytest.raises(KeyError, match="'inputs' was not checked"):
        report["inputs"]


@pytest.mark.parametrize(
    ("likelihood", "outputs", "targets"),
    [
        (bdl.Gaussian(0.3), 1, lambda f, g: f[:, 0] + 0.3 * torch.randn(200, generator=g)),
        (
            bdl.Gaussian([0.3, 0.1]),
            2,
            lambda f, g: f + torch.tensor([0.3, 0.1]) * torch.randn(200, 2, generator=g),
        ),
        (bdl.Categorical(), 2, lambda f, g: bdl.Categorical().sample(f, g)),
        (bdl.Bernoulli(), 1, lambda f, g: bdl.Bernoulli().sample(f, g)),
        (Counts(), 1, lambda f, g: Counts().sample(f, g)),
    ],
)
def test_data_that_the_model_made_fit_it_and_others_do_not(likelihood, outputs, targets):
    """One function as the posterior: data that it made are like its replicates, those of another function are not."""
    x = torch.linspace(-1, 1, 200)[:, None]
    model = bdl.Model(bdl.nets.mlp(1, outputs), bdl.GaussianPrior(1.0), likelihood)
    truth = bdl.Stack(torch.linspace(-1, 1, model.layout.dim)[None], model.layout)
    for seed in range(3):
        y = targets(model.functions(truth, x)[0], torch.Generator().manual_seed(seed))
        assert bdl.health(model, truth, x, y, seed=seed)["fit"].good is not False
        other = bdl.Stack(5 * truth.theta.flip(1), model.layout)
        misfit = bdl.health(model, other, x, y, seed=seed)["fit"]
        assert misfit.good is False and "Check the likelihood" in misfit.verdict
    if outputs == 1:
        far = bdl.Stack(torch.full_like(truth.theta, 8.0), model.layout)
        y = targets(model.functions(far, x)[0], torch.Generator().manual_seed(0))
        counted = not isinstance(likelihood, bdl.Gaussian)  # labels and counts are not to be standardised
        verdict = bdl.health(model, bdl.Stack(-far.theta, model.layout), x, y)["fit"].verdict
        assert ("Check the likelihood" if counted else "Standardise targets") in verdict


def test_healthy_posteriors_fit_their_data(regression_model):
    """Two weights and 20 data: residuals of a fit are a little smaller than noise, so z is about 1 / sqrt(10)."""
    model, x, _, hmc = regression_model
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        y = 0.8 * x[:, 0] + 0.3 * torch.randn(20, generator=g, dtype=x.dtype)
        exact = bdl.linear_regression(torch.cat([x, torch.ones_like(x)], 1), y, prior_std=1.0, noise_std=0.3)
        stack = bdl.Stack(exact.sample(200, seed=seed), model.layout)
        assert bdl.health(model, replace(hmc, stack=stack, log_density=None), x, y, seed=seed).good
        laplace = bdl.laplace(model, x, y, modes=bdl.Stack(exact.mean[None], model.layout))
        assert bdl.health(model, laplace, x, y, seed=seed).good


def test_too_small_a_noise_is_named(regression_model):
    model, x, y, hmc = regression_model
    sure = bdl.Model(model.network, model.prior, bdl.Gaussian(0.01))
    report = bdl.health(sure, bdl.Stack(torch.full_like(hmc.stack.theta[:2], 0.5), model.layout), x, y)
    assert report["fit"].good is False and "is noise_std too small?" in report["fit"].verdict
    assert bdl.health(model, hmc, x, y)["fit"].good


def test_what_would_have_hidden_behind_nan_is_refused(regression_model):
    model, x, y, hmc = regression_model
    theta = hmc.stack.theta[:10].clone()
    theta[3] = torch.nan
    with pytest.raises(ValueError, match="1 of 10 functions are NaN"):
        bdl.health(model, bdl.Stack(theta, model.layout), x)
    with pytest.raises(ValueError, match="prior_draws must be at least 2"):
        bdl.health(model, hmc, x, prior_draws=model.sample_prior(1, seed=0, dtype=x.dtype))
    with pytest.raises(ValueError, match="all the same"):
        bdl.health(model, hmc, x, reference=hmc.stack[[0, 0, 0]])
    with pytest.raises(ValueError, match="same length"):
        bdl.health(model, hmc, x, y[:-1])
    with pytest.raises(TypeError, match="y must be"):
        bdl.health(model, hmc, x, y.tolist())


def test_copies_of_one_chain_are_not_healthy(regression_model):
    model, x, _, hmc = regression_model
    copies = replace(hmc, stack=bdl.Stack(hmc.draws[:1].expand(16, -1, -1).flatten(0, 1), model.layout))
    report = bdl.health(model, copies, x)
    assert report["R-hat"].good is False and "15 of 16 chains are identical" in repr(report)
    finding = bdl.health(model, hmc, x, reference=copies)["distance"]
    assert "halves" not in finding.verdict
