"""SWA, SWAG and MultiSWAG: sampling has the stated covariance, moments are those of the snapshots, SGD is SGD."""

import math

import pytest
import torch
from conjugate import PRIOR_STD, conjugate

import bdlcore as bdl
from bdlcore._support.randomness import generator
from bdlcore.inference.approximations import SwagState
from bdlcore.inference.swag import SwagMoments

# --- a known state ---


@pytest.fixture(scope="module")
def layout():
    return bdl.GaussianPrior(1.0).layout(bdl.nets.mlp(2, 1))


def known_state(layout, members=2, collected=4):
    g = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    variance = torch.tensor([0.04, 0.25, 4.0], dtype=torch.float64)  # far from 1: a std is not a variance
    return SwagState(normal(members, 3), variance.repeat(members, 1), normal(members, collected, 3), layout)


def covariances(state, scale=1.0):
    """(M, P, P), eq. 1 of Maddox et al.: half diagonal, half low rank over K - 1."""
    K = state.deviations.shape[1]
    low_rank = state.deviations.mT @ state.deviations / (K - 1)
    return 0.5 * scale**2 * (torch.diag_embed(state.variance) + low_rank)


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_samples_have_the_stated_mean_and_covariance(layout, scale):
    """Noise scaled by variances, or `scale` used once as a std and once as a variance, would fail here."""
    state, n = known_state(layout), 40_000
    stack = state.sample(n, seed=1, scale=scale)
    assert len(stack) == 2 * n
    for theta, mean, want in zip(
        stack.theta.view(2, n, 3), state.mean, covariances(state, scale), strict=True
    ):
        std = want.diagonal().sqrt()
        assert ((theta.mean(0) - mean) / std).abs().max() < 5 / math.sqrt(n)
        error = (theta.mT.cov() - want) / torch.outer(std, std)
        assert error.abs().max() < 5 * math.sqrt(2 / n)
    torch.testing.assert_close(state.std, covariances(state).diagonal(dim1=1, dim2=2).sqrt())


def test_three_snapshots_of_rank_twenty_are_divided_by_two(layout):
    """The low-rank part belongs to the number collected; divided by rank - 1 it would be nine times too small."""
    g = torch.Generator().manual_seed(2)
    moments = SwagMoments(rank=20)
    for _ in range(3):
        moments.collect(torch.randn(1, 3, generator=g, dtype=torch.float64))
    state, n = moments.state(layout), 40_000
    assert state.deviations.shape == (1, 3, 3)
    want = 0.5 * (torch.diag(state.variance[0]) + state.deviations[0].mT @ state.deviations[0] / 2)
    std = want.diagonal().sqrt()
    error = (state.sample(n, seed=0).theta.mT.cov() - want) / torch.outer(std, std)
    assert error.abs().max() < 5 * math.sqrt(2 / n)


def test_members_are_sampled_each_from_its_own(layout):
    state = known_state(layout, members=3)
    together = state.sample(5, seed=4).theta.view(3, 5, 3)
    first = SwagState(state.mean[:1], state.variance[:1], state.deviations[:1], layout)
    torch.testing.assert_close(first.sample(5, seed=4).theta, together[0])
    assert torch.equal(state.average.theta, state.mean)
    assert not torch.equal(state.sample(5, seed=5).theta, state.sample(5, seed=4).theta)


# --- moments on the way ---


def test_moments_are_those_of_the_snapshots(layout):
    g = torch.Generator().manual_seed(1)
    snapshots = 5.0 + 1e-3 * torch.randn(30, 2, 3, generator=g, dtype=torch.float64)
    moments = SwagMoments(rank=8)
    for snapshot in snapshots:
        moments.collect(snapshot)
        assert len(moments.deviations) <= 8
    state = moments.state(layout)
    torch.testing.assert_close(state.mean, snapshots.mean(0))
    torch.testing.assert_close(state.variance, snapshots.var(0, correction=0))
    running = snapshots.cumsum(0) / torch.arange(1, 31)[:, None, None]
    torch.testing.assert_close(state.deviations, (snapshots - running)[-8:].transpose(0, 1))


def test_a_small_spread_survives_single_precision(layout):
    """E[theta^2] - E[theta]^2 would lose it: weights of size 5 that vary by 1e-3."""
    snapshots = 5.0 + 1e-3 * torch.randn(50, 1, 3, generator=torch.Generator().manual_seed(1))
    moments = SwagMoments(rank=2)
    for snapshot in snapshots:
        moments.collect(snapshot)
    want = snapshots.double().var(0, correction=0)
    torch.testing.assert_close(moments.state(layout).variance.double(), want, rtol=0.01, atol=0)
    naive = snapshots.square().mean(0) - snapshots.mean(0).square()
    assert ((naive - want) / want).abs().max() > 0.1, "this test could not tell"


# --- SGD ---


@pytest.fixture(scope="module")
def linear():
    return conjugate(80)


def optimum(linear):
    return bdl.Stack(linear.whitened()[0][None], linear.model.layout)


def test_its_sgd_is_torchs(linear):
    """Snapshots equal those of torch.optim.SGD on the loss per datum, with the same batches."""
    start = linear.model.sample_prior(2, seed=0, dtype=torch.float64)
    run = bdl.swag(
        *linear.data,
        members=2,
        initial=start,
        lr=0.02,
        momentum=0.8,
        batch_size=16,
        snapshots=6,
        every=3,
        rank=20,
        seed=3,
    )
    theta = start.theta.clone().requires_grad_()
    sgd = torch.optim.SGD([theta], lr=0.02, momentum=0.8)
    batches = bdl.LogPosterior(*linear.data).batches(16, generator(3, 2))
    snapshots = []
    for step in range(18):
        theta.grad = -next(batches)(theta.detach())[1] / 80
        sgd.step()
        if step % 3 == 2:
            snapshots.append(theta.detach().clone())
    snapshots = torch.stack(snapshots)
    state = run.approximation
    torch.testing.assert_close(state.mean, snapshots.mean(0))
    torch.testing.assert_close(state.variance, snapshots.var(0, correction=0))
    assert state.deviations.shape == (2, 6, 3)
    assert run.loss.shape == (18, 2)


def test_the_average_is_nearer_the_optimum_than_the_iterates(linear):
    """SWA: averaging removes most of SGD's noise."""
    run = bdl.swag(*linear.data, members=8, lr=0.02, batch_size=8, snapshots=100, seed=1)
    mean, _ = linear.whitened()
    iterates = (run.approximation.variance.sum(1)).sqrt()
    distance = (run.approximation.average.theta - mean).norm(dim=1)
    assert (distance < 0.4 * iterates).all()


def test_the_spread_is_that_of_sgd_and_not_of_the_posterior(linear):
    """It follows the learning rate, about as its square, and here is far from the posterior's at any of the two."""
    # from the optimum, where every member is at once where SGD takes it
    start = optimum(linear)
    settings = {
        "initial": start,
        "batch_size": 8,
        "momentum": 0.0,
        "snapshots": 200,
        "every": 7,
        "seed": 2,
    }
    wide, narrow = (
        bdl.swag(*linear.data, lr=lr, **settings).approximation.variance.mean().item() for lr in (0.02, 0.01)
    )
    assert wide / narrow == pytest.approx(4.0, rel=0.25)  # 3.83 to 3.95 over seeds
    posterior = linear.exact().covariance.diagonal().mean().item() / PRIOR_STD**2
    assert wide < 0.1 * posterior


def test_a_learning_rate_is_chosen_that_suits_the_curvature(linear):
    run = bdl.swag(*linear.data, members=2, snapshots=2, momentum=0.5)
    curvature = linear.standardised(torch.zeros(1, 3, dtype=torch.float64))[1].max() / 80
    torch.testing.assert_close(run.step_size * curvature, torch.full((2,), 0.3).double(), rtol=0.01, atol=0)


def test_members_do_not_depend_on_their_company(model, regression):
    x, y = regression
    T = torch.tensor([0.5, 1.0, 2.0], dtype=x.dtype)
    settings = {
        "draws": 4,
        "snapshots": 5,
        "every": 2,
        "rank": 3,
        "batch_size": 4,
        "initial_steps": 20,
        "seed": 6,
    }
    whole = bdl.swag(model, x, y, members=3, likelihood_temperature=T, **settings)
    assert whole.method == "MultiSWAG" and whole.draws.shape == (3, 4, model.layout.dim)
    for i in range(3):
        one = bdl.swag(
            model,
            x,
            y,
            members=range(i, i + 1),
            likelihood_temperature=T[i : i + 1],
            chunk_size=1,
            **settings,
        )
        assert one.method == "SWAG"
        torch.testing.assert_close(one.draws, whole.draws[i : i + 1])
        torch.testing.assert_close(one.loss, whole.loss[:, i : i + 1])
        torch.testing.assert_close(one.approximation.deviations, whole.approximation.deviations[i : i + 1])


def test_the_stack_is_drawn_from_the_state(model, regression):
    x, y = regression
    run = bdl.swag(model, x, y, members=2, draws=3000, snapshots=10, rank=4, initial_steps=50)
    draws, state = run.draws, run.approximation
    assert state.deviations.shape == (2, 4, model.layout.dim)
    assert (((draws.mean(1) - state.mean) / state.std).abs() < 5 / math.sqrt(3000)).all()
    torch.testing.assert_close(draws.std(1), state.std, rtol=0.1, atol=0)
    assert run.loss.shape == (50 + 10 * 6, 2)  # batches of an eighth of 12 data, rounded up: 6 a pass


# --- trouble ---


@pytest.mark.parametrize("snapshots", [0, 1])
def test_too_few_snapshots_are_refused(linear, layout, snapshots):
    with pytest.raises(
        ValueError, match=f"at least 2 snapshots .* you asked for {snapshots}. Raise `snapshots`"
    ):
        bdl.swag(*linear.data, snapshots=snapshots)
    moments = SwagMoments(rank=5)
    for _ in range(snapshots):
        moments.collect(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=f"SGD has given {snapshots}"):
        moments.state(layout)
    with pytest.raises(ValueError, match="at least 2 snapshots"):
        SwagState(torch.zeros(1, 3), torch.ones(1, 3), torch.zeros(1, snapshots, 3), layout)


def test_sgd_that_leaves_the_optimum_is_reported(linear):
    start = linear.model.sample_prior(2, seed=0, dtype=torch.float64)
    settings = {"initial": start, "members": 2, "snapshots": 50}
    with pytest.warns(UserWarning, match=r"member\(s\) \[1\] became NaN or infinite by step \d+"):
        rest = bdl.swag(*linear.data, lr=torch.tensor([0.01, 1e3]), **settings)
    assert rest.chains == 1 and torch.isfinite(rest.stack.theta).all() and rest.loss.shape[1] == 1
    with pytest.raises(
        RuntimeError, match=r"member\(s\) \[0, 1\] became NaN .* use a smaller lr than 1e\+03"
    ):
        bdl.swag(*linear.data, lr=1e3, **settings)
    with pytest.warns(
        UserWarning, match=r"SGD of member\(s\) \[0\] climbed .* nats away .* smaller lr than 3"
    ):
        bdl.swag(*linear.data, lr=3.0, momentum=0.0, snapshots=5, every=3)


def test_batches_without_noise_are_reported(linear):
    with pytest.warns(UserWarning, match="batch_size=80 is all the data: SGD without noise settles"):
        run = bdl.swag(*linear.data, initial=optimum(linear), batch_size=80, snapshots=3)
    assert run.approximation.std.max() < 1e-6


def test_an_interrupted_run_uses_the_snapshots_it_has(linear, monkeypatch):
    collect = SwagMoments.collect

    def interrupted(self, theta):
        if self.collected == most:
            raise KeyboardInterrupt
        collect(self, theta)

    monkeypatch.setattr(SwagMoments, "collect", interrupted)
    most = 7
    with pytest.warns(UserWarning, match="SWAG has 7 of 40 snapshots"):
        run = bdl.swag(*linear.data, initial_steps=10)
    assert run.approximation.deviations.shape == (1, 7, 3)
    most = 1
    with pytest.raises(KeyboardInterrupt):
        bdl.swag(*linear.data, initial_steps=10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"members": 0}, ValueError, "members must be at least 1"),
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"every": 0}, ValueError, "every must be at least 1"),
        ({"rank": 1}, ValueError, "rank must be at least 2"),
        ({"lr": 0.0}, ValueError, "lr must be positive"),
        ({"lr": torch.ones(3)}, ValueError, r"lr must .* shape \(2,\)"),
        ({"momentum": 1.0}, ValueError, r"momentum must lie in \[0, 1\)"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"initial_lr": -1.0}, ValueError, "initial_lr must be positive"),
        (
            {"likelihood_temperature": torch.ones(3)},
            ValueError,
            r"likelihood_temperature must .* shape \(2,\)",
        ),
    ],
)
def test_bad_settings_are_named(linear, arguments, error, message):
    with pytest.raises(error, match=message):
        bdl.swag(*linear.data, **{"members": 2, "initial_steps": 0} | arguments)


def test_bad_starts_and_scales_are_named(linear, layout):
    with pytest.raises(ValueError, match="3 rows for 2 members; give one row per member"):
        bdl.swag(*linear.data, members=2, initial=linear.model.sample_prior(3, seed=0, dtype=torch.float64))
    with pytest.raises(ValueError, match="scale must be positive .* use `average`"):
        known_state(layout).sample(3, seed=0, scale=0.0)
