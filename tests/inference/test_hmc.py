"""HMC against posteriors known in closed form, and its leapfrog against what an integrator must do."""

import math

import pytest
import torch
from conjugate import PRIOR_STD
from small_posteriors import exact, linear_model

import bdlcore as bdl
from bdlcore._support.randomness import RowRandom
from bdlcore.inference.hmc import leapfrog


@pytest.fixture
def linear():
    return linear_model()


@pytest.mark.parametrize("name", ["temperature", "likelihood_temperature"])
@pytest.mark.parametrize("T", [0.1, 0.5, 1.0, 2.0])
def test_hmc_finds_the_closed_form_posterior(linear, name, T):
    model, x, y, features = linear
    posterior = bdl.hmc(model, x, y, chains=32, draws=400, warmup=100, leapfrog_steps=16, seed=1, **{name: T})
    want = exact(features, y, **{name: T})
    weights = posterior.stack.weights
    std = want.covariance.diagonal().sqrt()
    # 5 standard errors of a mean and of a covariance entry, with the effective size measured on the weights
    effective = bdl.ess(weights.unflatten(0, (32, -1))).min().item()
    assert effective > 1500
    error = ((weights.mean(0) - want.mean) / std).abs().max().item()
    assert error < 5 / math.sqrt(effective)
    scaled = (weights.mT.cov() - want.covariance) / torch.outer(std, std)
    assert scaled.abs().max().item() < 5 * math.sqrt(2 / effective) * 1.5
    assert posterior.rhat.max() < 1.03  # mixed chains: about (1 + 32 / effective)^(1/2), at most 1.011
    assert posterior.divergences.sum() == 0


def test_one_temperature_per_chain_in_one_run(linear):
    model, x, y, features = linear
    T = torch.tensor([0.25, 1.0, 4.0], dtype=torch.float64).repeat_interleave(64)
    posterior = bdl.hmc(model, x, y, chains=192, draws=300, leapfrog_steps=8, temperature=T, seed=2)
    for i, t in enumerate([0.25, 1.0, 4.0]):
        weights = posterior.draws[64 * i : 64 * (i + 1)] * PRIOR_STD
        want = exact(features, y, temperature=t)
        effective = bdl.ess((weights - want.mean).square()).min().item()  # of what a variance averages
        assert effective > 2500
        torch.testing.assert_close(
            weights.flatten(0, 1).var(0),
            want.covariance.diagonal(),
            rtol=5 * math.sqrt(2 / effective),
            atol=0,
        )


def test_a_rejected_proposal_is_a_repeated_draw():
    """With a step that is often rejected, dropping repeats would make the sampled Gaussian too wide."""

    def standard_normal(theta):
        return -0.5 * theta.square().sum(1), -theta

    random = RowRandom(0, range(200), dtype=torch.float64)
    start = torch.randn(200, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    run = bdl.sample_hmc(
        standard_normal, start, 200, warmup=0, leapfrog_steps=1, step_size=1.5, random=random
    )
    draws = run.draws
    moved = (draws[:, 1:] != draws[:, :-1]).any(-1)
    assert moved.double().mean().item() == pytest.approx(run.acceptance.mean().item(), abs=0.02)
    assert draws.var().item() == pytest.approx(1.0, abs=0.05)
    assert draws[:, 1:][moved].var().item() > 1.15, "this test could not tell"


def test_leapfrog_is_reversible_and_second_order(model, regression):
    x, y = regression
    density = bdl.LogPosterior(model, x, y)
    theta = model.sample_prior(100, seed=0, dtype=x.dtype).theta
    momentum = torch.randn(theta.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    value, gradient = density(theta)

    def energy_error(eps, steps):
        end, p, v, _ = leapfrog(
            density, theta, momentum, gradient, torch.full((100,), eps, dtype=x.dtype), steps
        )
        return (v - 0.5 * p.square().sum(1)) - (value - 0.5 * momentum.square().sum(1)), end, p

    coarse, end, p = energy_error(0.02, 10)
    fine, _, _ = energy_error(0.01, 20)
    # the median: where the leading term of an error happens to vanish, the ratio is another
    assert (coarse / fine).median().item() == pytest.approx(4.0, rel=0.1)
    back, _, _, _ = leapfrog(density, end, -p, density(end)[1], torch.full((100,), 0.02, dtype=x.dtype), 10)
    torch.testing.assert_close(back, theta)


def test_adaptation_reaches_the_target_acceptance(linear):
    model, x, y, _ = linear
    for target in (0.6, 0.9):
        posterior = bdl.hmc(
            model, x, y, chains=64, draws=100, warmup=200, leapfrog_steps=4, target_acceptance=target
        )
        assert posterior.acceptance.mean().item() == pytest.approx(target, abs=0.1)


def test_chains_do_not_depend_on_their_company(linear):
    model, x, y, _ = linear
    run = {"draws": 20, "warmup": 20, "leapfrog_steps": 5, "initial_steps": 20, "seed": 3}
    whole = bdl.hmc(model, x, y, chains=6, **run)
    part = bdl.hmc(model, x, y, chains=range(4, 6), chunk_size=1, **run)
    torch.testing.assert_close(part.draws, whole.draws[4:6])
    looped = torch.cat([bdl.hmc(model, x, y, chains=range(i, i + 1), **run).draws for i in range(6)])
    torch.testing.assert_close(looped, whole.draws)


def test_hmc_keeps_what_it_has_when_interrupted(linear):
    model, x, y, _ = linear
    density, calls = bdl.LogPosterior(model, x, y), 0

    def interrupted(theta):
        nonlocal calls
        calls += 1
        if calls > 100:
            raise KeyboardInterrupt
        return density(theta)

    start = model.sample_prior(2, seed=0, dtype=x.dtype).theta
    random = RowRandom(0, range(2), dtype=x.dtype)
    with pytest.warns(UserWarning, match=r"returning the \d+ of 500 draws"):
        run = bdl.sample_hmc(
            interrupted, start, 500, warmup=0, leapfrog_steps=5, step_size=0.1, random=random
        )
    assert run.draws.shape[1] == run.log_density.shape[1] == 19


def test_stuck_and_divergent_chains_are_reported(linear):
    model, x, y, _ = linear
    with pytest.warns(UserWarning) as caught:
        posterior = bdl.hmc(model, x, y, chains=2, draws=10, warmup=0, leapfrog_steps=20, step_size=5.0)
    messages = " ".join(str(w.message) for w in caught)
    assert "hardly moved" in messages and "diverged" in messages
    assert posterior.divergences.sum() > 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"chains": 0}, ValueError, "chains must be at least 1, got 0"),
        ({"chains": 2.5}, TypeError, "chains must be a whole number, got 2.5"),
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"leapfrog_steps": 0}, ValueError, "leapfrog_steps must be at least 1"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive and finite, got 0.0"),
        ({"temperature": -1}, ValueError, "temperature must be positive"),
        ({"temperature": torch.ones(3)}, ValueError, r"one value per row, shape \(2,\)"),
        ({"likelihood_temperature": float("nan")}, ValueError, "likelihood_temperature must be positive"),
        ({"target_acceptance": 1.0}, ValueError, "target_acceptance must lie between 0 and 1"),
        ({"warmup": 0}, ValueError, "needs warmup >= 10"),
        ({"step_size": -0.1}, ValueError, "step_size must be positive"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1"),
    ],
)
def test_bad_settings_of_hmc_are_named(linear, arguments, error, message):
    model, x, y, _ = linear
    with pytest.raises(error, match=message):
        bdl.hmc(model, x, y, **{"chains": 2, "draws": 5} | arguments)


def test_hmc_refuses_a_stack_of_the_wrong_size_as_start(linear):
    model, x, y, _ = linear
    with pytest.raises(ValueError, match="3 rows for 2 chains"):
        bdl.hmc(model, x, y, chains=2, draws=5, initial=model.sample_prior(3, seed=0, dtype=x.dtype))


def test_a_continued_run_equals_the_uninterrupted_one(linear, tmp_path, monkeypatch):
    """Bit for bit: continued, continued from a file, and continued after an interrupt."""
    model, x, y, _ = linear
    settings = {"chains": 4, "warmup": 20, "leapfrog_steps": 5, "seed": 3}
    whole = bdl.hmc(model, x, y, draws=30, **settings)
    part = bdl.hmc(model, x, y, draws=12, **settings)
    part.save(tmp_path / "part")
    for begun in (part, bdl.Posterior.load(tmp_path / "part", model)):
        again = bdl.hmc(model, x, y, draws=18, leapfrog_steps=5, resume=begun)
        for name in ("draws", "log_density", "divergences", "step_size", "rhat", "ess", "random_state"):
            assert torch.equal(getattr(again, name), getattr(whole, name)), name
        torch.testing.assert_close(again.acceptance, whole.acceptance)
        assert again.gradient_evaluations == pytest.approx(whole.gradient_evaluations)
        assert again.seconds > begun.seconds

    evaluate, calls = bdl.LogPosterior._evaluate, 0

    def interrupted(self, theta, **settings):
        nonlocal calls
        calls += 1
        if calls == 200:
            raise KeyboardInterrupt
        return evaluate(self, theta, **settings)

    monkeypatch.setattr(bdl.LogPosterior, "_evaluate", interrupted)
    with pytest.warns(UserWarning, match="Interrupted: returning the"):
        cut = bdl.hmc(model, x, y, draws=30, initial_steps=0, **settings)
    monkeypatch.undo()
    whole = bdl.hmc(model, x, y, draws=30, initial_steps=0, **settings)
    done = cut.draws.shape[1]
    assert 0 < done < 30
    again = bdl.hmc(model, x, y, draws=30 - done, leapfrog_steps=5, resume=cut)
    assert torch.equal(again.draws, whole.draws)


def test_a_trajectory_asks_for_the_density_at_its_end_alone(linear, monkeypatch):
    model, x, y, _ = linear
    evaluate, asked = bdl.LogPosterior._evaluate, []

    def counted(self, theta, with_value=True, **settings):
        asked.append(with_value)
        return evaluate(self, theta, with_value=with_value, **settings)

    monkeypatch.setattr(bdl.LogPosterior, "_evaluate", counted)
    start = model.sample_prior(2, seed=0, dtype=x.dtype)
    bdl.hmc(
        model,
        x,
        y,
        chains=2,
        draws=3,
        warmup=0,
        leapfrog_steps=5,
        step_size=0.1,
        initial=start,
        initial_steps=0,
    )
    assert asked[-15:] == 3 * [False, False, False, False, True]


def test_what_cannot_be_continued_is_refused(linear):
    model, x, y, _ = linear
    other = bdl.ensemble(model, x, y, members=2, steps=5)
    with pytest.raises(ValueError, match="resume must be a posterior that hmc made, got"):
        bdl.hmc(model, x, y, resume=other)
    made = bdl.hmc(model, x, y, chains=2, draws=5, warmup=10, leapfrog_steps=2)
    wider = bdl.Model(model.network, bdl.GaussianPrior(9.0), model.likelihood)
    with pytest.raises(ValueError, match="resume belongs to another model"):
        bdl.hmc(wider, x, y, resume=made)
    with pytest.raises(ValueError, match="resume was drawn from another density: that of its last draw was"):
        bdl.hmc(model, x, y + 1, leapfrog_steps=2, resume=made)
