"""The fit of a generator to an observation: its loss, averages and choice by hand, its steps against torch.optim."""

import math

import pytest
import torch
from short_fits import SIZE, fit, network, uniform

import bdlcore as bdl
from bdlcore.restoration.deep_image_prior import DEFAULT_PRIOR


@pytest.fixture
def observed():
    return uniform(*SIZE)


@pytest.fixture
def mask():
    """About two thirds of the pixels."""
    return uniform(*SIZE[1:], seed=1) < 0.67


def prior_draws(net, members, seed=0, prior=DEFAULT_PRIOR):
    model = bdl.Model(net, prior, bdl.Gaussian(1.0))
    return model.sample_prior(members, seed, dtype=torch.float64)


def error(pictures, observed, where):
    """Mean squared error (F, S) of pictures (F, S, channels, h, w) where a mask (S, h, w) is True."""
    squares = (pictures - observed).square()
    rows = [squares[:, s, :, where[s]].mean((1, 2)) for s in range(len(where))]
    return torch.stack(rows, 1)


def same(one, other):
    """Are these restorations the same, up to rounding?"""
    for name in ("frames", "averages", "chosen", "loss", "held_out_error", "z"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one.stack.theta, other.stack.theta, rtol=1e-7, atol=1e-7)
    assert torch.equal(one.chosen_step, other.chosen_step) and torch.equal(one.steps, other.steps)


# --- the loss ---


def test_observed_pixels_are_fitted_and_the_others_stay(observed, mask):
    pixels = bdl.nets.Pixels(SIZE)
    start = prior_draws(pixels, 2)
    r = fit(observed, mask=mask, network=pixels, members=2, held_out=0, steps=400, lr=0.3)
    end = pixels.images(r.stack.weights, r.z)
    torch.testing.assert_close(end[..., mask], observed[..., mask].expand(2, -1, -1), rtol=0, atol=1e-4)
    assert torch.equal(end[..., ~mask], pixels.images(start.weights, r.z)[..., ~mask])
    assert (r.loss[-1] < 1e-8).all()


@pytest.mark.parametrize("prior", [DEFAULT_PRIOR, bdl.GaussianPrior(0.3)], ids=["default", "another"])
def test_the_first_loss_is_that_of_prior_draws(observed, mask, prior):
    net = network()
    start = prior_draws(net, 3, seed=5, prior=prior)
    z = net.noise(range(3), 5, dtype=torch.float64)
    r = fit(observed, mask=mask, members=3, held_out=0, jitter_std=0, steps=1, prior=prior, seed=5)
    pictures = net.images(start.weights, z)
    torch.testing.assert_close(r.frames[0], pictures)
    want = [sum((p[0, mask] - observed[0, mask]) ** 2) / mask.sum() for p in pictures]
    torch.testing.assert_close(r.loss[0], torch.stack(want))
    assert torch.equal(r.z, z)


def test_steps_equal_those_of_torch(observed, mask):
    net, lr = network(), 0.05
    start = prior_draws(net, 2)
    z, scale = net.noise(range(2), 0, dtype=torch.float64), start.layout.scale(start.theta)
    theta = start.theta.clone().requires_grad_()
    adam, losses = torch.optim.Adam([theta], lr=lr), []
    for _ in range(6):
        adam.zero_grad()
        squares = (net.images(theta * scale, z) - observed).square()
        loss = squares[..., mask].mean((1, 2))
        loss.sum().backward()
        adam.step()
        losses.append(loss.detach())
    r = fit(observed, mask=mask, members=2, held_out=0, jitter_std=0, steps=6, lr=lr)
    torch.testing.assert_close(r.loss, torch.stack(losses))
    torch.testing.assert_close(r.stack.theta, theta.detach(), rtol=1e-9, atol=1e-9)


def test_a_penalty_is_added(observed):
    def penalty(pictures):
        return 0.3 * pictures.square().mean((1, 2, 3))

    r = fit(observed, members=2, held_out=0, penalty=penalty)
    everywhere = torch.ones(2, *SIZE[1:], dtype=torch.bool)
    want = error(r.frames, observed, everywhere) + torch.stack([penalty(f) for f in r.frames])
    torch.testing.assert_close(r.loss, want)
    strong = fit(observed, held_out=0, steps=150, penalty=lambda pictures: 100 * penalty(pictures))
    assert strong.frames[-1].mean() < 0.2 * observed.mean()  # 0.04 in ten fits
    strengths = torch.tensor([0.0, 0.3])
    each = fit(observed, members=2, held_out=0, penalty=lambda p: strengths * p.square().mean((1, 2, 3)))
    torch.testing.assert_close(each.loss[:, 1], r.loss[:, 1])
    torch.testing.assert_close(each.loss[:, 0], fit(observed, held_out=0).loss[:, 0])


def test_ones_own_degradation(observed, mask):
    """Only the mean of three colours was observed."""

    def grey(pictures):
        return pictures.mean(1, keepdim=True)

    r = fit(observed, degrade=grey, network=network((3, 8, 8)), mask=mask, members=2, held_out=0)
    assert r.frames.shape == (8, 2, 3, 8, 8)
    want = error(r.frames.mean(2, keepdim=True), observed, mask.expand(2, -1, -1))
    torch.testing.assert_close(r.loss, want)


@pytest.mark.parametrize("kernel", ["box", "lanczos2"])
def test_a_small_picture_tells_the_size_of_the_large(observed, kernel):
    down = bdl.Downsample(2, kernel)
    r = fit(observed, degrade=down, network=None, held_out=0)
    assert r.network.image == (1, 16, 16) and r.chosen.shape == (1, 1, 16, 16)
    want = torch.stack([(down(frame) - observed).square().mean((1, 2, 3)) for frame in r.frames])
    torch.testing.assert_close(r.loss, want)
    assert fit(observed, network=None).network.image == SIZE


def test_fitting_a_small_picture_fits_it(observed):
    down = bdl.Downsample(2)
    pixels = bdl.nets.Pixels((1, 16, 16))
    r = fit(observed, degrade=down, network=pixels, held_out=0, steps=400, lr=0.3)
    torch.testing.assert_close(down(r.frames[-1])[0], observed, rtol=0, atol=1e-4)


# --- what is held out ---


def held_out_pixels(observed, **options):
    """(S, h, w) found from outside: those that a generator made of pixels never moves, though they were observed."""
    pixels = bdl.nets.Pixels(SIZE)
    r = fit(observed, network=pixels, **options)
    start = r.frames[0, :, 0]
    return (r.frames[1:, :, 0] == start).all(0) & options.get("mask", torch.ones(SIZE[1:], dtype=torch.bool))


@pytest.mark.parametrize("share", [0.01, 0.15, 0.5])
def test_loss_and_held_out_error_see_different_pixels(observed, mask, share):
    options = {"mask": mask, "members": 3, "held_out": share, "seed": 2}
    kept = held_out_pixels(observed, **options)
    assert kept.sum((1, 2)).tolist() == [max(1, round(share * mask.sum().item()))] * 3
    assert not torch.equal(kept[0], kept[1])
    r = fit(observed, **options)
    torch.testing.assert_close(r.loss, error(r.frames, observed, mask & ~kept))
    torch.testing.assert_close(r.held_out_error, error(r.averages, observed, kept))


def test_held_out_values_leave_the_fit_alone(observed, mask):
    (kept,) = held_out_pixels(observed, mask=mask)
    changed = observed.clone()
    changed[0, kept] = 1 - changed[0, kept]
    changed[0, ~mask] = torch.nan
    one, other = fit(observed, mask=mask), fit(changed, mask=mask)
    assert torch.equal(one.frames, other.frames) and torch.equal(one.loss, other.loss)
    assert not torch.equal(one.held_out_error, other.held_out_error)
    changed[0, mask & ~kept] += 0.01
    assert not torch.equal(fit(changed, mask=mask).loss, one.loss)


def test_the_step_is_chosen_by_the_held_out_pixels(observed):
    r = fit(observed, members=12, steps=40, held_out=0.3, averaging=0.5)
    best = r.held_out_error.argmin(0)
    assert len({step for step in best.tolist() if 0 < step < 39}) > 1, "this test could not tell"
    assert torch.equal(r.chosen_step, best + 1)
    assert torch.equal(r.chosen, r.averages[best, range(12)])


def test_with_nothing_held_out_the_last_step_is_chosen(observed):
    r = fit(observed, members=2, held_out=0)
    assert r.held_out_error is None and r.chosen_step.tolist() == [8, 8]
    assert torch.equal(r.chosen, r.averages[-1])


# --- averages and frames ---


def test_running_average_by_hand(observed):
    r = fit(observed, members=2, steps=30, averaging=0.7)
    average = r.frames[0]
    for t, (picture, got) in enumerate(zip(r.frames, r.averages), start=1):
        if t > 1:
            beta = min(0.7, t / (t + 9))
            average = beta * average + (1 - beta) * picture
        torch.testing.assert_close(got, average)
    none = fit(observed, averaging=0)
    assert torch.equal(none.averages, none.frames)


def test_frames_are_spread_over_the_steps(observed):
    every = fit(observed, steps=10)
    assert every.steps.tolist() == [*range(1, 11)] and every.frames.shape == (10, 1, *SIZE)
    for frames, steps in [(4, [1, 4, 7, 10]), (2, [1, 10]), (1, [10])]:
        few = fit(observed, steps=10, frames=frames)
        assert few.steps.tolist() == steps
        assert torch.equal(few.frames, every.frames[few.steps - 1])
        assert torch.equal(few.averages, every.averages[few.steps - 1])
        assert torch.equal(few.loss, every.loss) and few.loss.shape == (10, 1)


def test_the_stack_is_what_the_last_step_made(observed):
    """Its pictures are those of one step more."""
    r, longer = fit(observed, jitter_std=0), fit(observed, jitter_std=0, steps=9)
    torch.testing.assert_close(r.network.images(r.stack.weights, r.z), longer.frames[8])


# --- inputs ---


class Recording(bdl.nets.Pixels):
    """Pixels that remember the inputs they were given, the first time for checks; `stop` interrupts."""

    inputs = 2

    def __init__(self, image, stop=math.inf):
        super().__init__(image)
        self.seen, self.stop = [], stop

    def images(self, weights, z):
        if len(self.seen) == self.stop:
            raise KeyboardInterrupt
        self.seen.append(z)
        return super().images(weights, z)


def test_jitter_is_fresh_and_each_members_own(observed):
    net = Recording(SIZE)
    r = fit(observed, network=net, members=3, steps=100, jitter_std=0.2)
    jitter = torch.stack(net.seen[1:]) - r.z
    assert jitter.shape == (100, 3, 2, 8, 8)
    assert jitter.std().item() == pytest.approx(0.2, rel=0.02) and abs(jitter.mean()) < 0.005
    flat = torch.corrcoef(jitter[:20].flatten(0, 1).flatten(1)).fill_diagonal_(0)
    assert flat.abs().max() < 0.5, "two steps or members share their jitter"
    calm = Recording(SIZE)
    r = fit(observed, network=calm, members=3, jitter_std=0)
    assert all(torch.equal(z, r.z) for z in calm.seen[1:])


def test_ones_own_inputs(observed):
    net = network()
    z = uniform(2, 2, 8, 8, seed=3)
    for own in (z, z[:1], z.float()):
        r = fit(observed, network=net, members=2, z=own, jitter_std=0)
        assert r.z.shape == z.shape and r.z.dtype == torch.float64
        start = prior_draws(net, 2).weights
        torch.testing.assert_close(r.frames[0], net.images(start, own.double()))
    shared = fit(observed, members=2, z=z[:1])
    assert not torch.equal(shared.frames[0, 0], shared.frames[0, 1])


# --- stacks and seeds ---


def test_members_do_not_depend_on_their_company(observed, mask):
    options = {"mask": mask, "held_out": 0.2, "seed": 4}
    whole = fit(observed, members=3, **options)
    assert not torch.equal(whole.frames[:, 0], whole.frames[:, 1])
    parts = [fit(observed, members=range(i, i + 1), **options) for i in range(3)]
    joined = bdl.Restoration(
        network=whole.network,
        z=torch.cat([p.z for p in parts]),
        stack=bdl.concatenate([p.stack for p in parts]),
        chosen=torch.cat([p.chosen for p in parts]),
        chosen_step=torch.cat([p.chosen_step for p in parts]),
        steps=whole.steps,
        frames=torch.cat([p.frames for p in parts], 1),
        averages=torch.cat([p.averages for p in parts], 1),
        loss=torch.cat([p.loss for p in parts], 1),
        held_out_error=torch.cat([p.held_out_error for p in parts], 1),
        seconds=0.0,
    )
    same(joined, whole)


def test_an_observation_for_each_member():
    observed = uniform(3, *SIZE)
    whole = fit(observed, seed=4)
    assert len(whole) == 3
    for i in range(3):
        alone = fit(observed[i : i + 1], members=range(i, i + 1), seed=4)
        torch.testing.assert_close(alone.frames[:, 0], whole.frames[:, i], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(alone.loss[:, 0], whole.loss[:, i])
        same(alone, fit(observed[i], members=range(i, i + 1), seed=4))
    same(fit(observed, members=3, seed=4), whole)
    same(fit(observed[:1].expand(2, -1, -1, -1)), fit(observed[0], members=2))


def test_a_seed_gives_one_result_and_global_randomness_is_left_alone(observed):
    before = torch.get_rng_state()
    one, again, another = (bdl.deep_image_prior(observed, steps=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.frames, again.frames) and torch.equal(one.stack.theta, again.stack.theta)
    assert not torch.equal(another.frames, one.frames)
    drawn = [fit(observed, members=2, seed=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(drawn[0].frames, drawn[1].frames)


def test_dtype_follows_the_observation(observed):
    r = fit(observed.float())
    for tensor in (r.chosen, r.frames, r.averages, r.loss, r.held_out_error, r.z, r.stack.theta):
        assert tensor.dtype == torch.float32
    assert fit(observed).frames.dtype == torch.float64


def test_lower_precision_for_the_network(observed):
    observed = observed.float()
    full, lower = (fit(observed, steps=4, autocast=dtype) for dtype in (None, torch.bfloat16))
    for tensor in (lower.chosen, lower.frames, lower.loss, lower.stack.theta):
        assert tensor.dtype == torch.float32
    # the first picture: afterwards Adam makes of a small difference a step
    torch.testing.assert_close(lower.frames[0], full.frames[0], rtol=0, atol=0.03)
    assert not torch.equal(lower.frames, full.frames)


# --- watching, stopping, interrupting ---


def test_on_step_sees_the_running_averages(observed):
    seen = []
    r = fit(observed, members=2, on_step=lambda step, averages: seen.append((step, averages)))
    assert [step for step, _ in seen] == [*range(1, 9)]
    assert torch.equal(torch.stack([averages for _, averages in seen]), r.averages)


@pytest.mark.parametrize("frames", [1000, 2])
def test_on_step_stops_the_fit(observed, frames):
    whole = fit(observed)
    r = fit(observed, frames=frames, on_step=lambda step, averages: step == 5)
    assert r.loss.shape == (5, 1) and r.held_out_error.shape == (5, 1)
    assert r.steps[-1] == 5 and torch.equal(r.frames[-1], whole.frames[4])
    assert torch.equal(r.averages[-1], whole.averages[4])
    assert r.chosen_step <= 5 and torch.equal(r.loss, whole.loss[:5])


def test_an_interruption_returns_what_there_is(observed):
    def interrupt(step, averages):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted: 3 of 8 steps are done: returning what there is"):
        r = fit(observed, on_step=interrupt)
    same(r, fit(observed, on_step=lambda step, averages: step == 3))
    with pytest.warns(UserWarning, match="Interrupted: 2 of 8 steps"):
        r = fit(observed, network=Recording(SIZE, stop=3), held_out=0)
    assert r.loss.shape == (2, 1) and r.chosen_step.tolist() == [2]


def test_an_interruption_before_the_first_picture_is_one(observed):
    with pytest.raises(KeyboardInterrupt):
        fit(observed, network=Recording(SIZE, stop=1))


def test_a_diverging_fit_names_its_learning_rate(observed):
    message = r"NaN or infinite at step 2; use a smaller lr than 1e\+200"
    with pytest.raises(RuntimeError, match=message):
        fit(observed, network=bdl.nets.Pixels(SIZE), lr=1e200)


# --- what it is for ---


def test_a_network_denoises_and_pixels_do_not():
    clean = bdl.photo("coffee", 32)
    noisy = bdl.corruptions.noise(clean[None], 25 / 255, seed=0)[0]
    before = bdl.psnr(noisy, clean)
    r = bdl.deep_image_prior(noisy, steps=150)
    assert bdl.psnr(r.image, clean) > before + 2
    control = bdl.deep_image_prior(noisy, network=bdl.nets.Pixels(clean.shape), steps=150)
    assert control.oracle(clean)[0] < before and bdl.psnr(control.image, clean) < before


def test_a_network_fills_in_what_is_missing():
    clean = bdl.photo("coffee", 32)
    mask = torch.rand(32, 32, generator=torch.Generator().manual_seed(0)) < 0.5
    r = bdl.deep_image_prior(clean, mask=mask, steps=150)
    filled = bdl.psnr(r.image, clean, where=~mask)
    mean = clean[:, mask].mean(1)[:, None, None].expand_as(clean)
    assert filled > bdl.psnr(mean, clean, where=~mask) + 2
