"""Temperature sweeps against exact posteriors; the top of a curve; curated labels; averaged views."""

import functools

import pytest
import torch

import bdlcore as bdl


def linear_data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12, 2, generator=g, dtype=torch.float64)
    return x, x @ torch.tensor([1.0, -0.5], dtype=torch.float64) + 0.3 * torch.randn(
        12, generator=g, dtype=torch.float64
    )


@pytest.mark.parametrize("kind", ["cold", "tempered"])
def test_sweep_has_the_exact_posterior_at_every_temperature(kind):
    x, y = linear_data()
    x_test, T = (
        torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        torch.tensor([0.1, 0.5, 1.0, 2.0]),
    )
    model = bdl.Model(bdl.nets.mlp(2, 1), prior=bdl.GaussianPrior(1.0), likelihood=bdl.Gaussian(0.3))
    sweep = bdl.temperature_sweep(model, x, y, x_test, T, kind=kind, draws=800, leapfrog_steps=12, seed=3)
    assert sweep.functions.shape == (4, 3200, 5, 1)
    assert sweep.rhat.shape == sweep.acceptance.shape == (4,)
    assert (sweep.rhat < 1.03).all()
    phi, phi_test = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in (x, x_test))
    for temperature, f in zip(T.tolist(), sweep.functions[..., 0], strict=True):
        noise = 0.3 * temperature**0.5
        prior = temperature**0.5 if kind == "cold" else 1.0
        exact = bdl.linear_regression(phi, y, prior_std=prior, noise_std=noise).predict(phi_test)
        torch.testing.assert_close(f.mean(0), exact.mean.flatten(), atol=0.1 * noise, rtol=0.02)
        torch.testing.assert_close(f.std(0), exact.epistemic_std.flatten(), atol=0.0, rtol=0.1)


def test_sweep_asks_for_what_it_needs():
    x, y = linear_data()
    model = bdl.Model(bdl.nets.mlp(2, 1), prior=bdl.GaussianPrior(1.0), likelihood=bdl.Gaussian(0.3))
    one = torch.ones(1)
    with pytest.raises(ValueError, match="kind must be 'cold'"):
        bdl.temperature_sweep(model, x, y, x, one, kind="warm")
    with pytest.raises(ValueError, match="chains must be at least 2"):
        bdl.temperature_sweep(model, x, y, x, one, kind="cold", chains=1)
    with pytest.raises(ValueError, match="shape \\(T,\\)"):
        bdl.temperature_sweep(model, x, y, x, 1.0, kind="cold")
    with pytest.raises(ValueError, match="positive"):
        bdl.temperature_sweep(model, x, y, x, 0 * one, kind="cold")


def test_best_temperature_finds_the_top_of_a_parabola_in_log_temperature():
    T = torch.tensor([0.01, 0.03, 0.1, 0.4, 1.0, 3.0], dtype=torch.float64)
    tops = torch.tensor([0.02, 0.11, 0.5, 1.0, 1.7], dtype=torch.float64)
    scores = -(T.log() - tops.log()[:, None]).square() + 7
    torch.testing.assert_close(bdl.best_temperature(T, scores), tops)
    ends = torch.stack([T, -T])  # rising and falling: the ends themselves
    torch.testing.assert_close(bdl.best_temperature(T, ends), T[[-1, 0]])
    torch.testing.assert_close(bdl.best_temperature(T, torch.zeros(6)), torch.tensor(0.01))


def test_best_temperature_says_what_is_wrong():
    T = torch.tensor([0.1, 0.3, 1.0])
    with pytest.raises(ValueError, match="at least 3 temperatures"):
        bdl.best_temperature(T[:2], torch.zeros(2))
    with pytest.raises(ValueError, match="must increase"):
        bdl.best_temperature(T.flip(0), torch.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        bdl.best_temperature(T, torch.tensor([0.0, torch.nan, 0.0]))


def test_consensus_is_bayes_rule_for_agreeing_annotators():
    g = torch.Generator().manual_seed(0)
    f = torch.randn(3, 4, 5, generator=g, dtype=torch.float64)
    y = torch.tensor([0, 4, 2, 2])
    likelihood, p = bdl.Consensus(3), f.softmax(-1)
    posterior = (p**3 / (p**3).sum(-1, keepdim=True)).gather(-1, y.expand(3, 4)[..., None])[..., 0]
    torch.testing.assert_close(likelihood.log_prob(f, y).exp(), posterior)
    f.requires_grad_()
    slope = torch.autograd.grad(likelihood.log_prob(f, y).sum(), f)[0]
    torch.testing.assert_close(likelihood.slope(f.detach(), y), slope)
    torch.testing.assert_close(bdl.Consensus(1).log_prob(f, y), bdl.Categorical().log_prob(f, y))


def test_consensus_labels_are_those_that_annotators_agree_on():
    g = torch.Generator().manual_seed(0)
    f = torch.tensor([0.0, 0.7, -0.4]).expand(40_000, 3)
    annotators = torch.multinomial(f.softmax(-1), 2, replacement=True, generator=g)
    agreed = annotators[annotators[:, 0] == annotators[:, 1], 0]
    sampled = bdl.Consensus(2).sample(f, g)
    shares = [torch.bincount(labels, minlength=3) / len(labels) for labels in (agreed, sampled)]
    torch.testing.assert_close(*shares, atol=0.015, rtol=0)
    with pytest.raises(ValueError, match="annotators"):
        bdl.Consensus(0)


def test_rotations_are_turns_of_the_plane():
    x = torch.tensor([[1.0, 0.0], [0.5, -2.0]])
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = bdl.rotations(x)
    for k in range(4):
        torch.testing.assert_close(turned[k], x @ torch.matrix_power(quarter, k).T)
    with pytest.raises(ValueError, match="shape \\(N, 2\\)"):
        bdl.rotations(torch.zeros(3, 3))


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_view_average_is_invariant_and_brings_its_gradient(power):
    views = functools.partial(bdl.rotations, views=3)
    network = bdl.ViewAverage(bdl.nets.mlp(2, 5, 4), views, power).double()
    model = bdl.Model(network, prior=bdl.GaussianPrior(1.5), likelihood=bdl.Categorical())
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stack = model.sample_prior(7, 0, dtype=torch.float64)
    f = model.functions(stack, x)
    torch.testing.assert_close(model.functions(stack, views(x)[2]), f)
    plain = bdl.Model(bdl.nets.mlp(2, 5, 4), prior=bdl.GaussianPrior(1.5), likelihood=bdl.Categorical())
    each = torch.stack([plain.functions(bdl.Stack(stack.theta, plain.layout), view) for view in views(x)])
    torch.testing.assert_close(f, each.sum(0) / 3**power)
    state = {name: value[0] for name, value in stack.named().items()}
    torch.testing.assert_close(torch.func.functional_call(network, state, (x,)), f[0])
    weights = (stack.theta * model.layout.scale(stack.theta)).requires_grad_()
    g = torch.randn(f.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    by_autograd = torch.autograd.grad((g * model.forward_weights(weights, x)).sum(), weights)[0]
    same, pull = model.pullback(weights, x)
    torch.testing.assert_close(same, f)
    torch.testing.assert_close(pull(g), by_autograd)
    with pytest.raises(ValueError, match="forward_stack"):
        bdl.ViewAverage(torch.nn.Linear(2, 1), bdl.rotations)


def test_summed_views_are_averaged_views_at_another_temperature():
    model = bdl.Model(bdl.nets.mlp(2, 5, 4), prior=bdl.GaussianPrior(1.5), likelihood=bdl.Categorical())
    x, y = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 1, 0])
    theta = model.sample_prior(3, 0).theta
    each = [bdl.LogPosterior(model, view, y).likelihood(theta)[0] for view in bdl.rotations(x)]
    data = bdl.rotations(x).flatten(0, 1), y.repeat(4)
    averaged = bdl.LogPosterior(model, *data, likelihood_temperature=4 * 0.25)
    torch.testing.assert_close(averaged.likelihood(theta)[0], torch.stack(each).mean(0) / 0.25)
