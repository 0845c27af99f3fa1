"""SGLD and SGHMC: their draws have the closed form's moments, widened by exactly what discretisation adds."""

import math

import pytest
import torch
from conjugate import conjugate

import bdlcore as bdl
from bdlcore.inference.sgmcmc import sghmc_step, sgld_step

METHODS = {"sgld": bdl.sgld, "sghmc": bdl.sghmc}
TEMPERATURES = [
    ("temperature", 0.1),
    ("temperature", 0.5),
    ("temperature", 1.0),
    ("temperature", 2.0),
    ("likelihood_temperature", 0.1),
    ("likelihood_temperature", 0.5),
    ("likelihood_temperature", 2.0),
]


@pytest.fixture(scope="module")
def linear():
    return conjugate()


def standard_errors(z, chains):
    """Standard errors of a mean and of a variance of standardised draws, for the worst direction.

    A chain that swings to and fro knows its mean better than its width: the squares have an ESS of their own.
    """
    of_mean, of_square = (bdl.ess(v.unflatten(0, (chains, -1))).min().item() for v in (z, z.square()))
    return 1 / math.sqrt(min(of_mean, len(z))), math.sqrt(2 / min(of_square, len(z)))


def at_the_mean(problem, chains, **temperatures):
    """Starts for which -(theta - start) . grad log p is the sum of the squares of the standardised draw."""
    mean, _ = problem.whitened(**temperatures)
    return bdl.Stack(mean.repeat(chains, 1), problem.model.layout)


# --- exact up to a known discretisation error ---


@pytest.mark.parametrize(("name", "T"), TEMPERATURES)
def test_sgld_has_its_stationary_variance_at_every_temperature(linear, name, T):
    """Var = 1/(1 - eps c/4) of the target's in a direction of curvature c: temperature enters once, the right way."""
    _, curvature = linear.standardised(torch.zeros(1, 3, dtype=torch.float64), **{name: T})
    eps = 1.2 / curvature.max().item()
    run = bdl.sgld(
        *linear.data,
        chains=48,
        draws=150,
        warmup=40,
        thinning=3,
        step_size=eps,
        seed=1,
        initial=at_the_mean(linear, 48, **{name: T}),
        **{name: T},
    )
    z, _ = linear.standardised(run.stack.theta, **{name: T})
    of_mean, of_variance = standard_errors(z, 48)
    assert of_mean < 0.025 and of_variance < 0.035
    assert z.mean(0).abs().max() < 5 * of_mean
    want = 1 / (1 - eps * curvature / 4)
    torch.testing.assert_close(z.var(0), want, rtol=5 * of_variance, atol=0)
    assert want.max() > 1.4, "this test could not tell"
    # from a start at the mean it is known to the last digit
    torch.testing.assert_close(
        run.configurational_temperature, z.square().mean(1).view(48, -1).mean(1), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("friction", "name", "T"),
    [
        (0.1, "temperature", 0.1),
        (0.1, "temperature", 0.5),
        (0.1, "temperature", 2.0),
        (0.1, "likelihood_temperature", 2.0),
        (0.5, "temperature", 1.0),
        (0.5, "likelihood_temperature", 0.1),
        (1.0, "likelihood_temperature", 0.5),
    ],
)
def test_sghmc_has_its_stationary_variance_at_every_temperature_and_friction(linear, friction, name, T):
    """Var = 1/(1 - h^2 c/(2 (2 - friction))) of the target's; noise of the wrong size would show as a factor."""
    _, curvature = linear.standardised(torch.zeros(1, 3, dtype=torch.float64), **{name: T})
    h = math.sqrt(0.9 / curvature.max().item())
    run = bdl.sghmc(
        *linear.data,
        friction=friction,
        chains=192,
        draws=150,
        warmup=40,
        thinning=3,
        step_size=h,
        seed=1,
        **{name: T},
    )
    z, _ = linear.standardised(run.stack.theta, **{name: T})
    of_mean, of_variance = standard_errors(z, 192)
    assert of_mean < 0.02 and of_variance < 0.025
    assert z.mean(0).abs().max() < 5 * of_mean
    want = 1 / (1 - h**2 * curvature / (2 * (2 - friction)))
    torch.testing.assert_close(z.var(0), want, rtol=5 * of_variance, atol=0)
    assert want.max() > 1 + 1.5 * 5 * of_variance, "this test could not tell"


def test_small_steps_are_exact_and_one_run_can_hold_many_temperatures_and_steps(linear):
    T = torch.tensor([0.25, 1.0, 4.0], dtype=torch.float64).repeat_interleave(64)
    h = 0.03 * T.sqrt()
    run = bdl.sghmc(
        *linear.data,
        chains=192,
        draws=150,
        warmup=100,
        thinning=6,
        temperature=T,
        step_size=h,
        friction=0.2,
        seed=2,
    )
    for i, t in enumerate([0.25, 1.0, 4.0]):
        z, curvature = linear.standardised(run.draws[64 * i : 64 * (i + 1)].flatten(0, 1), temperature=t)
        bias = 0.03**2 * t * curvature.max().item() / (2 * (2 - 0.2))
        of_mean, of_variance = standard_errors(z, 64)
        assert bias < 0.025 and of_mean < 0.04 and of_variance < 0.03
        torch.testing.assert_close(
            z.var(0), torch.ones(3, dtype=z.dtype), rtol=bias + 5 * of_variance, atol=0
        )
        assert z.mean(0).abs().max() < 5 * of_mean
        # 0.13 and 0.004 of noise in a chain's temperature and in the mean of 192 distances from 1
        assert (run.configurational_temperature[64 * i : 64 * (i + 1)] - 1).mean().abs() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_width_shrinks_with_the_number_of_data_though_batches_stay_the_same(method):
    """Without the factor N / batch_size in the gradient, the width would be that of one batch, whatever N."""
    stds = []
    for n in (40, 160):
        problem = conjugate(n)
        run = METHODS[method](
            *problem.data, batch_size=10, chains=96, draws=80, warmup=150, thinning=10, seed=3
        )
        weights, exact = run.stack.weights, problem.exact()
        std = exact.covariance.diagonal().sqrt()
        stds.append((weights.std(0).mean() / std.mean()).item())
        # widened by 1 to 12 % by steps and batches; a standard error (ESS of 1,900 and more) is 0.016
        torch.testing.assert_close(weights.std(0), std, rtol=0.25, atol=0)
        assert (
            (weights.mean(0) - exact.mean) / std
        ).abs().max() < 0.2  # 0.05 by batches, standard error 0.023
    assert stds[0] / stds[1] == pytest.approx(1.0, rel=0.15)  # without the factor it would be a half


def test_independent_noise_of_minibatches_widens_by_its_known_amount(linear):
    """eps V/4 on top of the discretisation: gradients with added noise of variance V play the minibatches."""
    g = torch.Generator().manual_seed(0)
    curvature, V, eps, S = 30.0, 60.0, 0.02, 4000
    theta, total = torch.zeros(S, 1, dtype=torch.float64), 0.0
    step = torch.full((S,), eps, dtype=torch.float64)
    for t in range(120):
        gradient = -curvature * theta + math.sqrt(V) * torch.randn(S, 1, generator=g, dtype=torch.float64)
        theta = sgld_step(theta, gradient, step, torch.randn(S, 1, generator=g, dtype=torch.float64))
        total += theta.square().mean().item() / 60 if t >= 60 else 0
    want = (1 + eps * V / 4) / (1 - eps * curvature / 4)
    # 60 steps of 4,000 chains whose squares have a correlation of 0.7**2 are worth 82,000 draws: standard error 0.005
    assert total * curvature == pytest.approx(want, rel=0.03)


def test_sgld_is_sghmc_with_full_friction():
    theta, momentum, gradient, noise = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    h = torch.rand(5, generator=torch.Generator().manual_seed(1))
    moved, _ = sghmc_step(theta, momentum, gradient, h, 1.0, noise)
    torch.testing.assert_close(moved, sgld_step(theta, gradient, 2 * h**2, noise))


def test_one_step_is_the_papers():
    theta, momentum, gradient, noise = torch.randn(4, 1, 2, generator=torch.Generator().manual_seed(0))
    for i in range(2):
        want = theta[0, i] + 0.3 / 2 * gradient[0, i] + math.sqrt(0.3) * noise[0, i]
        torch.testing.assert_close(sgld_step(theta, gradient, torch.tensor([0.3]), noise)[0, i], want)
    # SGD with momentum on the velocity v = h p, with learning rate h^2 and added noise of variance 2 friction h^2
    velocity = 0.8 * 0.3 * momentum + 0.09 * gradient + 0.3 * math.sqrt(0.4) * noise
    moved, after = sghmc_step(theta, momentum, gradient, torch.tensor([0.3]), 0.2, noise)
    torch.testing.assert_close(moved, theta + velocity)
    torch.testing.assert_close(0.3 * after, velocity)


def test_a_step_size_is_chosen_that_suits_the_curvature(linear):
    _, curvature = linear.standardised(torch.zeros(1, 3, dtype=torch.float64))
    run = bdl.sgld(*linear.data, chains=3, draws=4, warmup=0)
    torch.testing.assert_close(
        run.step_size * curvature.max() / 4, torch.full((3,), 0.25).double(), rtol=0.01, atol=0
    )
    warm = bdl.sgld(*linear.data, chains=3, draws=4, warmup=0, temperature=4.0)
    torch.testing.assert_close(warm.step_size, 4 * run.step_size, rtol=0.02, atol=0)
    batched = bdl.sgld(*linear.data, chains=3, draws=4, warmup=0, batch_size=3)
    assert (batched.step_size < 0.5 * run.step_size).all()


def test_configurational_temperature_is_that_of_the_posterior_not_of_the_batches():
    problem = conjugate(100)
    run = bdl.sgld(
        *problem.data,
        chains=32,
        draws=300,
        warmup=100,
        thinning=4,
        batch_size=10,
        seed=2,
        initial=at_the_mean(problem, 32),
    )
    z, _ = problem.standardised(run.stack.theta)
    # over seeds the difference varies by 0.033; measured on the batches of the steps it would be 0.28 to 0.38
    assert run.configurational_temperature.mean().item() == pytest.approx(z.square().mean().item(), abs=0.17)


# --- which steps are draws ---


def test_draws_are_the_states_of_one_unbroken_chain(linear):
    """A chain that restarts after its burn-in, or returns other than every `thinning`-th state, would differ here."""
    common = {"chains": 2, "step_size": 0.01, "seed": 4, "initial_steps": 5}
    for method, settings in [(bdl.sgld, {}), (bdl.sghmc, {}), (bdl.sgld, {"batch_size": 4})]:
        every = method(*linear.data, draws=24, warmup=0, thinning=1, **common, **settings)
        some = method(*linear.data, draws=5, warmup=4, thinning=4, **common, **settings)
        assert every.draws.shape == (2, 24, 3) and some.draws.shape == (2, 5, 3) and len(some.stack) == 10
        assert torch.equal(some.draws, every.draws[:, 7::4])
        start = method(*linear.data, draws=1, warmup=0, thinning=1, **common, **settings)
        assert torch.equal(start.draws, every.draws[:, :1])


@pytest.mark.parametrize("schedule", ["polynomial", "cosine"])
def test_decaying_steps_lose_their_bias(linear, schedule):
    """A step whose stationary variance would be 1.67 times too large, decayed over each of four cycles."""
    _, curvature = linear.standardised(torch.zeros(1, 3, dtype=torch.float64))
    eps = 1.6 / curvature.max().item()
    run = bdl.sgld(
        *linear.data,
        chains=256,
        draws=80,
        warmup=100,
        thinning=5,
        cycles=4,
        schedule=schedule,
        step_size=eps,
        seed=5,
        initial=at_the_mean(linear, 256),
    )
    z, _ = linear.standardised(run.stack.theta)
    # a bias of 0.06 is left; standard errors are 0.027 for a variance (ESS 2,700) and 0.029 for a mean (1,200)
    assert (z.var(0) - 1).abs().max() < 0.2
    assert z.mean(0).abs().max() < 0.15
    assert run.configurational_temperature.mean().item() == pytest.approx(z.square().mean().item(), rel=1e-6)


def test_a_schedule_multiplies_the_learning_rate_of_either_method(linear):
    common = {"chains": 2, "draws": 5, "warmup": 2, "seed": 1}
    for method, first, same in [(bdl.sgld, 0.04, 0.01), (bdl.sghmc, 0.1, 0.05)]:
        scheduled = method(*linear.data, step_size=first, schedule=lambda share: 0.25, **common)
        torch.testing.assert_close(scheduled.draws, method(*linear.data, step_size=same, **common).draws)


# --- stack = loop ---


@pytest.mark.parametrize("method", METHODS)
def test_chains_do_not_depend_on_their_company(model, regression, method):
    x, y = regression
    T = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=x.dtype)
    run = {"draws": 6, "warmup": 3, "thinning": 2, "initial_steps": 20, "batch_size": 5, "seed": 6}
    whole = METHODS[method](model, x, y, chains=4, temperature=T, **run)
    for i in range(4):
        one = METHODS[method](model, x, y, chains=range(i, i + 1), temperature=T[i : i + 1], **run)
        torch.testing.assert_close(one.draws, whole.draws[i : i + 1])
        torch.testing.assert_close(one.log_density, whole.log_density[i : i + 1])
    part = METHODS[method](model, x, y, chains=range(2, 4), temperature=T[2:], chunk_size=1, **run)
    torch.testing.assert_close(part.draws, whole.draws[2:])


def test_what_is_reported_belongs_to_the_draws(linear):
    run = bdl.sgld(*linear.data, chains=3, draws=5, warmup=10, thinning=2, step_size=0.01, temperature=2.0)
    value, gradient = bdl.LogPosterior(*linear.data, temperature=2.0)(run.stack.theta)
    torch.testing.assert_close(run.log_density.flatten(), value)
    assert run.rhat.shape == run.ess.shape == (15, 1)
    assert run.gradient_evaluations == 3 * (300 + 1 + 10 + 2 * 5)
    quick = bdl.sgld(*linear.data, chains=3, draws=5, warmup=0, thinning=2, step_size=0.01, batch_size=5)
    assert quick.gradient_evaluations == 3 * (300 + 1 + 2 * 5 + 5) / 3
    start = model_start(linear, 3)
    pull = -((run.stack.theta - start.repeat_interleave(5, 0)) * gradient).sum(1).view(3, 5).mean(1) / 3
    torch.testing.assert_close(run.configurational_temperature, pull)
    assert "configurational temperature" in repr(run)


def model_start(linear, chains):
    """The optimised prior draws that chains start from."""
    return bdl.sgld(
        *linear.data, chains=chains, draws=1, warmup=0, thinning=1, step_size=1e-30, temperature=2.0
    ).stack.theta


def test_chains_start_where_they_are_told(linear):
    stack = linear.model.sample_prior(2, seed=0, dtype=torch.float64)
    run = bdl.sghmc(*linear.data, chains=2, draws=1, warmup=0, thinning=1, step_size=1e-12, initial=stack)
    torch.testing.assert_close(run.stack.theta, stack.theta)
    prior = bdl.sghmc(*linear.data, chains=2, draws=1, warmup=0, thinning=1, step_size=1e-12, initial_steps=0)
    torch.testing.assert_close(prior.stack.theta, stack.theta)


# --- trouble ---


@pytest.mark.parametrize("method", METHODS)
def test_a_chain_that_runs_away_is_named_with_its_remedy(linear, method):
    steps = torch.tensor([0.01, 10.0], dtype=torch.float64)
    run = {"chains": 2, "draws": 40, "seed": 3}
    with pytest.warns(UserWarning, match=r"chain\(s\) \[1\] became NaN .* The others are returned"):
        rest = METHODS[method](*linear.data, step_size=steps, **run)
    assert rest.chains == 1 and rest.draws.shape == (1, 40, 3) and torch.isfinite(rest.stack.theta).all()
    alone = METHODS[method](*linear.data, step_size=0.01, **run | {"chains": 1})
    torch.testing.assert_close(rest.draws, alone.draws)
    message = r"chain\(s\) \[0, 1\] became NaN or infinite by step \d+; use a smaller step_size than 10"
    with pytest.raises(RuntimeError, match=message):
        METHODS[method](*linear.data, step_size=10.0, **run)


@pytest.mark.parametrize("method", METHODS)
def test_what_would_fail_after_the_draws_fails_before_them(linear, method):
    with pytest.raises(ValueError, match="schedule.*gave -1; it must return positive factors"):
        METHODS[method](*linear.data, draws=10**3, schedule=lambda r: 1 if r < 0.95 else -1)
    for probe in (torch.zeros(3, 1, dtype=torch.float64), torch.zeros(3, 2)):
        with pytest.raises(ValueError, match="R-hat cannot be computed at this probe"):
            METHODS[method](*linear.data, draws=10**4, probe=probe)


def test_the_default_step_widens_the_stiffest_direction_by_a_third(linear):
    """1 / (1 - 1/4) = 1.333 in theory; 512 chains give it to 0.015: 1.25 and 1.42 are five standard errors off."""
    run = bdl.sgld(*linear.data, chains=512, draws=100, warmup=300, thinning=10)
    z, _ = linear.standardised(run.draws)
    by_chain = z[..., -1].square().mean(1)
    error = by_chain.std() / 512**0.5
    assert abs(by_chain.mean() - 4 / 3) < 5 * error
    assert error < 0.017


def test_an_interrupted_run_keeps_its_draws(linear, monkeypatch):
    taken = 0

    def interrupted(*arguments):
        nonlocal taken
        taken += 1
        if taken > 25:
            raise KeyboardInterrupt
        return sgld_step(*arguments)

    monkeypatch.setattr("bdlcore.inference.sgmcmc.sgld_step", interrupted)
    with pytest.warns(UserWarning, match="returning the 7 of 100 draws"):
        run = bdl.sgld(*linear.data, chains=2, draws=100, warmup=10, thinning=2, step_size=0.01)
    assert run.draws.shape == (2, 7, 3) and run.log_density.shape == (2, 7)
    assert torch.isfinite(run.draws).all()
    taken = 20
    with pytest.raises(KeyboardInterrupt):
        bdl.sgld(*linear.data, chains=2, draws=100, warmup=10, thinning=2, step_size=0.01)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"chains": 0}, ValueError, "chains must be at least 1, got 0"),
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"warmup": -1}, ValueError, "warmup must be at least 0"),
        ({"thinning": 0}, ValueError, "thinning must be at least 1"),
        ({"thinning": 1.5}, TypeError, "thinning must be a whole number"),
        ({"cycles": 2}, ValueError, "multiple of cycles, got 5 draws in 2 cycles"),
        (
            {"schedule": "linear"},
            ValueError,
            "one of constant, polynomial, cosine or a function, got 'linear'",
        ),
        ({"schedule": lambda r: r}, ValueError, r"schedule\(0\) gave 0.0; it must return positive"),
        ({"step_size": 0.0}, ValueError, "step_size must be positive and finite, got 0.0"),
        ({"step_size": torch.ones(3)}, ValueError, r"step_size must .* shape \(2,\); got \(3,\)"),
        ({"temperature": -1.0}, ValueError, "temperature must be positive"),
        ({"temperature": torch.ones(3)}, ValueError, r"temperature must .* shape \(2,\)"),
        ({"likelihood_temperature": 0.0}, ValueError, "likelihood_temperature must be positive"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"initial_steps": -1}, ValueError, "initial_steps must be at least 0"),
        ({"probe": torch.zeros(2, 5)}, ValueError, "takes 2 input"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_bad_settings_are_named(linear, method, arguments, error, message):
    with pytest.raises(error, match=message):
        METHODS[method](*linear.data, **{"chains": 2, "draws": 5, "warmup": 0} | arguments)


def test_bad_friction_start_and_data_are_named(linear):
    for friction in (0.0, 1.5, -0.1):
        with pytest.raises(ValueError, match=r"friction must lie in \(0, 1\]"):
            bdl.sghmc(*linear.data, friction=friction)
    three = linear.model.sample_prior(3, seed=0, dtype=torch.float64)
    with pytest.raises(ValueError, match="3 rows for 2 chains; give one row per chain"):
        bdl.sgld(*linear.data, chains=2, initial=three)
    with pytest.raises(ValueError, match="NaN"):
        bdl.sgld(linear.model, linear.x * math.nan, linear.y)


def test_only_draws_are_kept_in_memory(linear, monkeypatch):
    """Thinned states are not stored on the way: whatever the thinning, a run asks for the same memory."""
    sizes = []
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *size: sizes.append(size) or new_empty(self, *size)
    )
    bdl.sgld(*linear.data, chains=2, draws=4, warmup=50, thinning=1, step_size=0.01)
    assert (2, 4, 3) in sizes
    unthinned, sizes[:] = list(sizes), []
    bdl.sgld(*linear.data, chains=2, draws=4, warmup=50, thinning=25, step_size=0.01)
    assert sizes == unthinned


# --- going on ---


CONTINUED = {
    "constant": ({}, 12, 18),
    "minibatches": ({"batch_size": 4, "step_size": 1e-3}, 12, 18),
    "cosine cycles": ({"batch_size": 4, "schedule": "cosine", "cycles": 2}, 10, 15),
    "a function": ({"schedule": lambda r: 2.0 - r, "cycles": 2}, 10, 5),
}


def same_run(again, whole):
    names = "draws", "log_density", "step_size", "rhat", "ess", "random_state", "momentum", "start"
    for name in names:
        mine, wanted = getattr(again, name), getattr(whole, name)
        assert (mine is wanted is None) or torch.equal(mine, wanted), name
    torch.testing.assert_close(again.configurational_temperature, whole.configurational_temperature)
    assert again.gradient_evaluations == pytest.approx(whole.gradient_evaluations, abs=2)
    assert again.settings == whole.settings


@pytest.mark.parametrize("D", [3, 1001], ids=["noise of many steps", "noise of one step"])
@pytest.mark.parametrize("case", CONTINUED)
@pytest.mark.parametrize("method", METHODS)
def test_a_continued_run_equals_the_uninterrupted_one(linear, method, case, D, tmp_path):
    """Bit for bit: continued, continued from a file, and continued twice."""
    more, first, further = CONTINUED[case]
    run, settings = METHODS[method], {"warmup": 7, "thinning": 3} | more
    model, x, y = linear.data
    if D > 3:
        model = bdl.Model(bdl.nets.mlp(2, 250, 1), bdl.GaussianPrior(1.0, fan_in=True), bdl.Gaussian(0.5))
    assert model.layout.dim == D
    start = {"chains": 3, "seed": 3, "initial_steps": 20}
    cycles = {"cycles": (first + further) // (first // more["cycles"])} if "cycles" in more else {}
    whole = run(model, x, y, draws=first + further, **start, **settings | cycles)
    part = run(model, x, y, draws=first, **start, **settings)
    part.save(tmp_path / "part")
    assert len(whole.stack) == 3 * (first + further)
    for begun in (part, bdl.Posterior.load(tmp_path / "part", model)):
        again = run(model, x, y, draws=further, resume=begun, **settings)
        same_run(again, whole)
        assert again.seconds > begun.seconds
    if "cycles" not in more:
        twice = run(model, x, y, draws=further - 4, resume=part, **settings)
        same_run(run(model, x, y, draws=4, resume=twice, **settings), whole)


@pytest.mark.parametrize("stop", [60, 61, 70])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_goes_on_after_an_interrupt(linear, method, stop, monkeypatch):
    """Wherever it was stopped, between draws as well, and in the middle of a cycle."""
    settings = {"warmup": 7, "thinning": 3, "batch_size": 4, "schedule": "cosine", "cycles": 2}
    start = {"chains": 3, "seed": 3, "initial_steps": 0, "step_size": 1e-3}
    evaluate, calls = bdl.LogPosterior._evaluate, 0

    def interrupted(self, theta, **settings):
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return evaluate(self, theta, **settings)

    monkeypatch.setattr(bdl.LogPosterior, "_evaluate", interrupted)
    with pytest.warns(UserWarning, match="Interrupted: returning the .* of 30 draws"):
        cut = METHODS[method](*linear.data, draws=30, **start, **settings)
    monkeypatch.undo()
    done = cut.draws.shape[1]
    assert 10 < done < 20
    whole = METHODS[method](*linear.data, draws=30, **start, **settings)
    same_run(METHODS[method](*linear.data, draws=30 - done, resume=cut, **settings), whole)
    rest = -done % 15 or 15
    with pytest.raises(ValueError, match=f"a cycle, which has 15: after {done} give {rest}, and 15 for"):
        METHODS[method](*linear.data, draws=rest + 1, resume=cut, **settings)


def test_an_interrupt_of_what_goes_on_loses_nothing(linear, monkeypatch):
    begun = bdl.sgld(*linear.data, chains=2, draws=5, warmup=3, thinning=1)
    monkeypatch.setattr(
        bdl.LogPosterior, "_evaluate", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.warns(UserWarning, match="the 5 of 9 draws"):
        again = bdl.sgld(*linear.data, draws=4, warmup=3, thinning=1, resume=begun)
    assert torch.equal(again.draws, begun.draws) and torch.equal(again.random_state, begun.random_state)


def test_chains_that_are_left_go_on_without_the_others(linear):
    settings = {"warmup": 3, "thinning": 1}
    initial = linear.model.sample_prior(3, seed=0, dtype=torch.float64)
    step = torch.tensor([1e-3, 1e3, 1e-3], dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"chain\(s\) \[1\] became NaN"):
        begun = bdl.sghmc(*linear.data, chains=3, draws=300, initial=initial, step_size=step, **settings)
    again = bdl.sghmc(*linear.data, draws=5, resume=begun, **settings)
    assert again.draws.shape == (2, 305, 3)
    whole = bdl.sghmc(
        *linear.data, chains=range(2, 3), draws=305, initial=initial[2:], step_size=1e-3, **settings
    )
    torch.testing.assert_close(again.draws[1:], whole.draws)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thinning": 2}, "thinning cannot change where a run goes on: resume was made with 1, got 2"),
        ({"warmup": 4}, "warmup cannot change .* made with 3, got 4"),
        ({"schedule": "cosine"}, "schedule cannot change .* made with 'constant', got 'cosine'"),
        ({"schedule": lambda r: 1.0}, "schedule cannot change .* made with 'constant', got another function"),
        ({"batch_size": 5}, "batch_size cannot change .* made with 4, got 5"),
        ({"batch_size": None}, "batch_size cannot change .* made with 4, got None"),
        ({"friction": 0.5}, "friction cannot change .* made with 0.05, got 0.5"),
        ({"step_size": 2e-3}, "step_size cannot change where a run goes on"),
        ({"temperature": 0.5}, "resume was drawn from another density: that of its last draw was"),
        ({"likelihood_temperature": 2.0}, "resume was drawn from another density"),
        ({"draws": 0}, "draws must be at least 1"),
    ],
)
def test_what_cannot_change_is_refused(linear, change, message):
    settings = {"warmup": 3, "thinning": 1, "batch_size": 4, "draws": 5}
    begun = bdl.sghmc(*linear.data, chains=2, step_size=1e-3, **settings)
    bdl.sghmc(*linear.data, resume=begun, **settings | {"step_size": 1e-3})
    with pytest.raises(ValueError, match=message):
        bdl.sghmc(*linear.data, resume=begun, **settings | change)
    model, x, y = linear.data
    with pytest.raises(ValueError, match="resume was drawn from another density"):
        bdl.sghmc(model, x, y + 1, resume=begun, **settings)
    with pytest.raises(ValueError, match="resume must be a posterior that sgld made, got SGHMC"):
        bdl.sgld(model, x, y, resume=begun, **settings)
    wider = bdl.Model(model.network, bdl.GaussianPrior(9.0), model.likelihood)
    with pytest.raises(ValueError, match="resume belongs to another model"):
        bdl.sghmc(wider, x, y, resume=begun, **settings)
