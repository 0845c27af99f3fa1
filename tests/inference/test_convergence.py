"""R-hat and ESS against ArviZ, on chains good and bad."""

import warnings

import pytest
import torch

import bdlcore as bdl

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


def test_many_values_at_once():
    values = torch.stack([chains(kind) for kind in KINDS], -1).unflatten(-1, (2, 3))
    assert bdl.rhat(values).shape == bdl.ess(values).shape == (2, 3)
    assert bdl.ess(values)[0, 2].item() == pytest.approx(bdl.ess(chains(KINDS[2])).item())
    assert bdl.rhat(values)[1, 0].item() == pytest.approx(bdl.rhat(chains(KINDS[3])).item())


def test_a_value_that_never_changes_has_no_diagnostics():
    values = torch.ones(4, 20)
    assert bdl.rhat(values).isnan() and bdl.ess(values).isnan()


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="draws >= 4"):
        bdl.rhat(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        bdl.ess(torch.full((4, 10), torch.nan))
