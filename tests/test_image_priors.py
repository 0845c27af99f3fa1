"""Collapse and prior correlations, against loops and closed forms."""

import math

import numpy as np
import pytest
import torch

import bdlcore as bdl


def draws(*shape, scale=1.0):
    return scale * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_collapse_equals_a_loop():
    f = draws(4, 6, 3, scale=2.0)
    c = bdl.collapse(f)
    p = np.exp(f.numpy()) / np.exp(f.numpy()).sum(-1, keepdims=True)
    for s in range(4):
        labels = [int(np.argmax(row)) for row in p[s]]
        entropies = [-sum(v * math.log(v) for v in row) for row in p[s]]
        assert c.top_share[s].item() == pytest.approx(max(np.mean(p[s], 0)))
        assert c.argmax_share[s].item() == pytest.approx(max(labels.count(k) for k in range(3)) / 6)
        assert c.confidence[s].item() == pytest.approx(np.mean([max(row) for row in p[s]]))
        assert c.entropy[s].item() == pytest.approx(np.mean(entropies))
    pooled = p.mean(0)
    np.testing.assert_allclose(c.pooled, pooled)
    np.testing.assert_allclose(c.pooled_entropy, -(pooled * np.log(pooled)).sum(1))
    np.testing.assert_allclose(c.logit_std, np.sqrt(f.numpy().var(-1, ddof=1).mean(0)))


def test_collapse_at_its_extremes():
    uniform = bdl.collapse(torch.zeros(3, 5, 4))
    torch.testing.assert_close(uniform.top_share, torch.full((3,), 0.25))
    torch.testing.assert_close(uniform.entropy, torch.full((3,), math.log(4)))
    one_class_each = torch.zeros(4, 5, 4)  # draw s is sure of class s, for every input
    one_class_each[range(4), :, range(4)] = 1e4
    sure = bdl.collapse(one_class_each)
    torch.testing.assert_close(sure.top_share, torch.ones(4))
    torch.testing.assert_close(sure.entropy, torch.zeros(4))
    torch.testing.assert_close(sure.pooled_entropy, torch.full((5,), math.log(4)))


def test_logit_std_of_a_linear_model():
    x = draws(5, 4)
    model = bdl.Model(bdl.nets.mlp(4, 10), bdl.GaussianPrior(0.7), bdl.Categorical())
    f = model.functions(model.sample_prior(20_000, 0, dtype=torch.float64), x)
    want = 0.7 * (x.square().sum(1) + 1).sqrt()
    torch.testing.assert_close(bdl.collapse(f).logit_std, want, rtol=0.02, atol=0)


def test_correlation_equals_numpy():
    f, g = draws(30, 4, 1), draws(30, 4, 1).roll(1, 0) + draws(30, 4, 1)
    both = np.corrcoef(np.concatenate([f[..., 0], g[..., 0]], 1), rowvar=False)
    np.testing.assert_allclose(bdl.prior_correlation(f), both[:4, :4])
    np.testing.assert_allclose(bdl.prior_correlation(f, g), both[:4, 4:])
    np.testing.assert_allclose(bdl.prior_correlation(f, g, paired=True), np.diag(both[:4, 4:]))


@pytest.mark.parametrize("remove_offset", [False, True])
def test_correlation_of_a_linear_prior(remove_offset):
    """f = w.x + b has covariance a² (x.x' + 1), and without the mean over inputs that of the centred inputs."""
    x, x2 = draws(5, 3) + 1, draws(4, 3)
    model = bdl.Model(bdl.nets.mlp(3, 10), bdl.GaussianPrior(0.7), bdl.Categorical())
    stack = model.sample_prior(20_000, 0, dtype=torch.float64)
    got = bdl.prior_correlation(
        model.functions(stack, x), model.functions(stack, x2), remove_offset=remove_offset
    )
    full, full2 = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in (x, x2))
    if remove_offset:
        full, full2 = full - full.mean(0), full2 - full.mean(0)
    want = torch.nn.functional.cosine_similarity(full[:, None], full2[None], dim=2)
    torch.testing.assert_close(got, want, rtol=0, atol=0.02)


def test_offset_removed_correlations_balance():
    rho = bdl.prior_correlation(draws(500, 6, 10) + 5 * draws(500, 1, 10), remove_offset=True)
    off = rho[~torch.eye(6, dtype=torch.bool)]
    assert off.mean().item() == pytest.approx(-1 / 5, abs=0.01)


def test_bad_input_is_refused():
    f = draws(4, 3, 2)
    with pytest.raises(ValueError, match="at least two outputs"):
        bdl.collapse(f[..., :1])
    with pytest.raises(ValueError, match=r"shape \(S, N, C\), got \(4, 3\)"):
        bdl.collapse(f[..., 0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        bdl.collapse(f / 0)
    with pytest.raises(ValueError, match="at least two draws"):
        bdl.prior_correlation(f[:1])
    with pytest.raises(ValueError, match="same draws"):
        bdl.prior_correlation(f, f[:3])
    with pytest.raises(ValueError, match="as many inputs"):
        bdl.prior_correlation(f, f[:, :2], paired=True)
    with pytest.raises(ValueError, match="single input"):
        bdl.prior_correlation(f[:, :1], remove_offset=True)
