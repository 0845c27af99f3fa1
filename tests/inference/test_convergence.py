"""R-hat and ESS against ArviZ, on chains good and bad."""

import re
import warnings

import pytest
import torch

import bdlcore as bdl
from bdlcore.inference import convergence

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    arviz = pytest.importorskip("arviz_stats.base").array_stats


def chains(kind: str, shape=(4, 101)) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(shape, generator=g, dtype=torch.float64)
    if kind == "independent":
        return z
    if kind == "antithetic":
        return z * torch.tensor([1.0, -1.0], dtype=z.dtype).repeat(shape[1])[: shape[1]] * 0.2 + (
            -1.0
        ) ** torch.arange(shape[1])
    values = z.clone()
    for t in range(1, shape[1]):
        values[:, t] = 0.9 * values[:, t - 1] + z[:, t]
    if kind == "one chain elsewhere":
        values[0] += 5
    if kind == "different spread":
        values[0] *= 10
    if kind == "rejections":
        values = values[:, torch.arange(shape[1]) // 3]
    return values


KINDS = [
    "independent",
    "antithetic",
    "autocorrelated",
    "one chain elsewhere",
    "different spread",
    "rejections",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 101), (2, 40), (1, 60)])
def test_against_arviz(kind, shape):
    values = chains(kind, shape)
    rhat = arviz.rhat(values.numpy(), chain_axis=0, draw_axis=1)
    ess = arviz.ess(values.numpy(), chain_axis=0, draw_axis=1, method="bulk")
    if shape[0] > 1:
        assert bdl.rhat(values).item() == pytest.approx(float(rhat), rel=1e-6)
    assert bdl.ess(values).item() == pytest.approx(float(ess), rel=1e-6)
    if (
        shape[1] % 2 == 0
    ):  # of an odd number we leave the middle draw out, and ArviZ takes it for the quantiles alone
        tail = arviz.ess(values.numpy(), chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95))
        assert bdl.tail_ess(values).item() == pytest.approx(float(tail), rel=1e-6)


def test_tails_that_are_known_less_well_than_means():
    """Independent draws have about as many of both; of chains whose spread wanders, the tails have far fewer."""
    z = chains("independent", (4, 2000))
    assert 0.7 < bdl.tail_ess(z).item() / 8000 < 1.3
    wandering = z * (0.3 * chains("autocorrelated", (4, 2000))).exp()
    assert bdl.tail_ess(wandering) < 0.5 * bdl.ess(wandering)
    assert bdl.tail_ess(z[:, :8]).isnan() and bdl.tail_ess(torch.ones(2, 40)).isnan()
    with pytest.raises(ValueError, match="values must have shape"):
        bdl.tail_ess(z[:, :3])


def test_many_values_at_once():
    values = torch.stack([chains(kind) for kind in KINDS], -1).unflatten(-1, (2, 3))
    assert bdl.rhat(values).shape == bdl.ess(values).shape == (2, 3)
    assert bdl.ess(values)[0, 2].item() == pytest.approx(bdl.ess(chains(KINDS[2])).item())
    assert bdl.rhat(values)[1, 0].item() == pytest.approx(bdl.rhat(chains(KINDS[3])).item())


def test_a_value_that_never_changes_has_no_diagnostics():
    values = torch.ones(4, 20)
    assert bdl.rhat(values).isnan() and bdl.ess(values).isnan()


def test_chains_stuck_apart_are_infinitely_far():
    values = torch.tensor([0.1, 0.7])[:, None].expand(2, 40)
    for dtype in (torch.float32, torch.float64, torch.float16):
        assert bdl.rhat(values.to(dtype)) == torch.inf
    both = torch.stack([values, torch.full((2, 40), 0.3), torch.randn(2, 40)], -1)
    found = bdl.rhat(both)
    assert found[0] == torch.inf and found[1].isnan() and found[2].isfinite()


def test_two_values_equally_often_do_not_hide_r_hat():
    """Their distance from the median never changes, so that only the bulk form is there."""
    values = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(4, 50)
    assert bdl.rhat(values).item() == pytest.approx((49 / 50) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("draws", [4, 7, 9])
def test_few_draws_have_no_ess(draws):
    assert bdl.ess(chains("independent", (4, draws))).isnan()
    assert bdl.ess(chains("independent", (4, 10))).isfinite()


@pytest.mark.parametrize("kind", KINDS)
def test_computed_in_the_dtype_of_the_values(kind):
    values = chains(kind)
    for question in (bdl.rhat, bdl.ess):
        single, half = question(values.float()), question(values.half())
        assert question(values).dtype == torch.float64 and single.dtype == half.dtype == torch.float32
        assert single.item() == pytest.approx(question(values).item(), rel=1e-3)
        assert half.item() == pytest.approx(question(values.half().double()).item(), rel=1e-3)


def test_copies_of_a_chain_are_found():
    values = torch.randn(5, 20, 60, generator=torch.Generator().manual_seed(0))
    assert not convergence.copied_chains(values).any()
    values[3], values[4] = values[1], values[1]
    values[4, 7, 55] += 1  # nearly
    assert convergence.copied_chains(values).tolist() == [False, False, False, True, False]


def posterior(f):
    """A posterior of constants f (chains, draws), as a sampler would report it."""
    model = bdl.Model(bdl.nets.mlp(1, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(1.0))
    theta = torch.stack([torch.zeros_like(f), f], -1)
    mixing = convergence.convergence(model, theta, torch.zeros(3, 1, dtype=f.dtype))
    stack = bdl.Stack(theta.flatten(0, 1), model.layout)
    return bdl.Posterior(model, stack, "chains", 1.0, 0, len(f), acceptance=torch.ones(len(f)), **mixing)


def test_a_posterior_says_what_r_hat_cannot_see():
    good = chains("independent", (4, 100))
    assert re.search(r"max R-hat [\d.]{5}, min ESS \d+ \(of function values\); 1\.0 s", repr(posterior(good)))
    assert "3 of 4 chains are copies of others" in repr(posterior(good[:1].repeat(4, 1)))
    assert "no function value ever changes" in repr(posterior(torch.ones(4, 100)))
    assert "no ESS, which needs 10 draws per chain" in repr(posterior(good[:, :9]))
    one_constant = posterior(good)
    one_constant.rhat[0] = one_constant.ess[0] = torch.nan
    assert "1 of 3 values never change" in repr(one_constant) and "nan" not in repr(one_constant)


def test_bad_values_are_refused():
    with pytest.raises(TypeError, match="values must be a torch.Tensor, got ndarray"):
        bdl.rhat(torch.zeros(4, 10).numpy())
    with pytest.raises(TypeError, match="values must be a torch.Tensor, got list"):
        bdl.ess([[0.0] * 10])
    with pytest.raises(ValueError, match="must have shape"):
        bdl.rhat(torch.zeros(0, 10))
    with pytest.raises(ValueError, match="draws >= 4"):
        bdl.rhat(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        bdl.ess(torch.full((4, 10), torch.nan))
