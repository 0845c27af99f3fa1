"""Mean-field variational inference against the optimum that is known for a Gaussian posterior."""

import math

import pytest
import torch
from conjugate import conjugate

import bdlcore as bdl
from bdlcore._support.adam import Adam
from bdlcore._support.randomness import RowRandom

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
    """Inputs with a correlation of exactly 0.8, so that independent Gaussians cannot be right."""
    problem = conjugate()
    x = math.sqrt(len(problem.x)) * torch.linalg.qr(problem.x - problem.x.mean(0)).Q
    problem.x[:] = torch.stack([x[:, 0], 0.8 * x[:, 0] + 0.6 * x[:, 1]], 1)
    return problem


# --- the known optimum ---


@pytest.mark.parametrize(("name", "T"), TEMPERATURES)
def test_the_mean_is_right_and_the_width_too_small_by_the_known_amount(linear, name, T):
    """q* = N(mean, 1/diag(A)) for a posterior of precision A: narrower than the marginals diag(A^-1)."""
    run = bdl.mean_field_vi(*linear.data, members=16, steps=1500, samples=32, lr=0.03, seed=1, **{name: T})
    mean, precision = linear.whitened(**{name: T})
    want = precision.diagonal().rsqrt()
    marginal = torch.linalg.inv(precision).diagonal().sqrt()
    assert (want / marginal).min() < 0.75, "this test could not tell"
    # one member's mean and std have a noise of 0.017 and 0.009, the average over 16 members a fourth of it
    error = (run.approximation.mean - mean) / want
    assert error.abs().max() < 0.09 and error.mean(0).abs().max() < 0.03
    ratio = run.approximation.std / want - 1
    assert ratio.abs().max() < 0.05 and ratio.mean(0).abs().max() < 0.015


def test_the_bound_is_below_the_evidence_by_the_known_amount(linear):
    """log evidence - ELBO = KL(q* || posterior) = (sum log A_dd - log det A) / 2."""
    run = bdl.mean_field_vi(*linear.data, members=2, steps=1500, samples=32, lr=0.03)
    _, precision = linear.whitened()
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision)).item()
    assert gap > 0.3, "this test could not tell"
    final = run.elbo[-300:]
    # the noise of a member's average is 0.013
    assert final.mean().item() == pytest.approx(linear.exact().log_evidence - gap, abs=0.1)
    assert run.elbo.shape == (1500, 2)
    assert run.elbo[:10].mean() < final.mean()


def test_one_temperature_per_run(linear):
    T = torch.tensor([0.25, 1.0, 4.0], dtype=torch.float64)
    run = bdl.mean_field_vi(*linear.data, members=3, steps=1200, samples=16, lr=0.03, temperature=T)
    for t, std in zip(T.tolist(), run.approximation.std, strict=True):
        want = linear.whitened(temperature=t)[1].diagonal().rsqrt()
        torch.testing.assert_close(std, want, rtol=0.075, atol=0)  # 5 times the noise of one member


def test_minibatches_find_the_same_optimum(linear):
    run = bdl.mean_field_vi(*linear.data, members=2, steps=3000, samples=16, lr=0.03, batch_size=5)
    mean, precision = linear.whitened()
    want = precision.diagonal().rsqrt()
    # one member's mean and std have a noise of 0.015 and 0.012
    assert ((run.approximation.mean - mean) / want).abs().max() < 0.2
    torch.testing.assert_close(run.approximation.std, want.expand(2, -1), rtol=0.06, atol=0)


def test_without_data_to_speak_of_it_is_the_prior(linear):
    run = bdl.mean_field_vi(
        *linear.data, members=8, steps=1500, samples=16, lr=0.03, likelihood_temperature=1e9
    )
    # one member's mean, std and bound have a noise of 0.015, 0.012 and 0.017; the bound is averaged over 8
    assert run.approximation.mean.abs().max() < 0.08
    torch.testing.assert_close(
        run.approximation.std, torch.ones(8, 3, dtype=torch.float64), rtol=0.065, atol=0
    )
    assert run.elbo[-300:].mean().item() == pytest.approx(0.0, abs=0.035)


def test_its_gradient_is_that_of_the_bound(model, regression, monkeypatch):
    """One step's gradient equals autograd's through theta = mu + sigma eps, on the same noise."""
    x, y = regression
    seen = {}
    monkeypatch.setattr(Adam, "step", lambda self, gradient, lr: seen.update(gradient=gradient.clone()))
    stack = model.sample_prior(2, seed=3, dtype=x.dtype)
    T = torch.tensor([0.5, 2.0], dtype=x.dtype)
    bdl.mean_field_vi(
        model, x, y, members=2, steps=1, samples=3, temperature=T, initial=stack, initial_std=0.2, seed=7
    )
    D = model.layout.dim
    noise = RowRandom(7, range(2), stream=1, dtype=x.dtype).normal(3 * D).view(2, 3, D)
    mu = stack.theta.clone().requires_grad_()
    log_std = torch.full((2, D), math.log(0.2), dtype=x.dtype, requires_grad=True)
    theta = mu[:, None] + log_std.exp()[:, None] * noise
    log_p = model.log_joint(theta.flatten(0, 1), x, y).view(2, 3).mean(1) / T
    want = torch.autograd.grad(-(log_p + log_std.sum(1)).sum(), [mu, log_std])
    torch.testing.assert_close(seen["gradient"], torch.stack(want))


# --- the stack ---


def test_draws_follow_the_fitted_gaussians(linear):
    run = bdl.mean_field_vi(*linear.data, members=2, draws=4000, steps=200)
    q = run.approximation
    assert run.draws.shape == (2, 4000, 3)
    assert (((run.draws.mean(1) - q.mean) / q.std).abs() < 5 / math.sqrt(4000)).all()
    torch.testing.assert_close(run.draws.std(1), q.std, rtol=5 / math.sqrt(8000), atol=0)
    corner = run.draws[0].mT.corrcoef() - torch.eye(3, dtype=torch.float64)
    assert corner.abs().max() < 5 / math.sqrt(4000)
    again = q.sample(4000, seed=5)
    assert len(again) == 8000 and not torch.equal(again.theta, run.stack.theta)
    torch.testing.assert_close(again.theta.view(2, 4000, 3).std(1), q.std, rtol=5 / math.sqrt(8000), atol=0)


def test_runs_do_not_depend_on_their_company(model, regression):
    x, y = regression
    T = torch.tensor([0.5, 1.0, 2.0], dtype=x.dtype)
    settings = {"steps": 20, "samples": 3, "draws": 4, "initial_steps": 20, "batch_size": 5, "seed": 6}
    whole = bdl.mean_field_vi(model, x, y, members=3, temperature=T, **settings)
    for i in range(3):
        one = bdl.mean_field_vi(
            model, x, y, members=range(i, i + 1), temperature=T[i : i + 1], chunk_size=2, **settings
        )
        torch.testing.assert_close(one.draws, whole.draws[i : i + 1])
        torch.testing.assert_close(one.elbo, whole.elbo[:, i : i + 1])
        torch.testing.assert_close(one.approximation.std, whole.approximation.std[i : i + 1])


def test_runs_from_different_starts_are_a_mixture(model, regression):
    x, y = regression
    run = bdl.mean_field_vi(model, x, y, members=3, draws=10, steps=300)
    assert len(run.stack) == 30 and run.chains == 3
    assert run.approximation.mean.std(0).max() > 0.5
    assert run.gradient_evaluations == 3 * (300 + 300 * 8)
    assert "ELBO" in repr(run)


def test_it_starts_where_it_is_told(linear):
    stack = linear.model.sample_prior(1, seed=9, dtype=torch.float64)
    run = bdl.mean_field_vi(*linear.data, steps=1, lr=1e-9, initial=stack, initial_std=0.3)
    torch.testing.assert_close(run.approximation.mean, stack.theta)
    torch.testing.assert_close(run.approximation.std, torch.full((1, 3), 0.3, dtype=torch.float64))


# --- trouble ---


def test_a_run_that_diverges_is_named_with_its_remedy(linear):
    message = r"ELBO of mean-field VI member\(s\) \[0\] became NaN .* use a smaller lr than 1e\+200"
    with pytest.raises(RuntimeError, match=message):
        bdl.mean_field_vi(*linear.data, steps=50, lr=1e200)


def test_an_interrupted_run_returns_q_as_it_is(linear, monkeypatch):
    step, taken = Adam.step, 0

    def interrupted(self, *arguments):
        nonlocal taken
        taken += 1
        if taken > 5:
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(Adam, "step", interrupted)
    start = linear.model.sample_prior(1, seed=0, dtype=torch.float64)
    with pytest.warns(UserWarning, match="6 of 100 steps are done: returning q as it is"):
        run = bdl.mean_field_vi(*linear.data, steps=100, initial=start, draws=3)
    assert len(run.elbo) == 6 and torch.isfinite(run.stack.theta).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"members": 0}, ValueError, "members must be at least 1"),
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"samples": 0}, ValueError, "samples must be at least 1"),
        ({"samples": 2.5}, TypeError, "samples must be a whole number"),
        ({"lr": -0.1}, ValueError, "lr must be positive"),
        ({"initial_std": 0.0}, ValueError, "initial_std must be positive"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"temperature": torch.ones(3)}, ValueError, r"temperature must .* shape \(2,\)"),
        (
            {"likelihood_temperature": torch.ones(4)},
            ValueError,
            r"likelihood_temperature must .* shape \(2,\)",
        ),
        ({"seed": -1}, ValueError, "seed must be a non-negative integer"),
    ],
)
def test_bad_settings_are_named(linear, arguments, error, message):
    with pytest.raises(error, match=message):
        bdl.mean_field_vi(*linear.data, **{"members": 2, "steps": 3, "initial_steps": 0} | arguments)


def test_a_start_of_the_wrong_size_is_refused(linear):
    with pytest.raises(ValueError, match="3 rows for 2 members; give one row per member"):
        bdl.mean_field_vi(
            *linear.data, members=2, initial=linear.model.sample_prior(3, seed=0, dtype=torch.float64)
        )
