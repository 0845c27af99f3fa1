"""What priors say about functions: known amplitudes and lengths, NumPy, loops and closed forms."""

import math

import numpy as np
import pytest
import torch

import bdlcore as bdl
from bdlcore import prior_functions


def line(n=2001, low=-20.0, high=20.0):
    return torch.linspace(low, high, n, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_amplitude_is_that_of_each_input():
    f = randn(20_000, 3) * torch.tensor([0.5, 1.0, 2.0])
    torch.testing.assert_close(
        prior_functions.amplitude(f), torch.tensor([0.5, 1.0, 2.0]).double(), rtol=0.02, atol=0
    )


def test_outputs_are_further_draws():
    f = randn(50, 4, 3)
    flat = f.permute(0, 2, 1).reshape(150, 4)
    for measure in (prior_functions.amplitude, prior_functions.kurtosis, prior_functions.correlation):
        torch.testing.assert_close(measure(f), measure(flat))


def test_correlation_equals_numpy():
    f = randn(200, 5) @ randn(5, 5, seed=1)
    torch.testing.assert_close(prior_functions.correlation(f, 2), torch.corrcoef(f.T)[2])


def test_length_scale_of_a_sine():
    x = line(4001, -20 * torch.pi, 20 * torch.pi)
    f = 3 + torch.sin(x / 0.5 + torch.tensor([[0.0], [1.0]]))
    assert prior_functions.length_scale(f, x).item() == pytest.approx(0.5, rel=2e-3)


def test_length_scale_of_rbf_draws():
    x, length = line(600), 1.5
    K = bdl.RBF(length, 2.0)(x[:, None]) + 1e-8 * torch.eye(600)
    f = randn(400, 600) @ torch.linalg.cholesky(K).T
    assert prior_functions.length_scale(f, x).item() == pytest.approx(length, rel=0.06)


def test_length_scale_does_not_depend_on_uneven_spacing():
    even = line(6001, 0, 2 * torch.pi)
    uneven = even**2 / (2 * torch.pi)
    wanted = prior_functions.length_scale(torch.sin(even).expand(2, -1), even)
    torch.testing.assert_close(
        prior_functions.length_scale(torch.sin(uneven).expand(2, -1), uneven), wanted, rtol=1e-4, atol=0
    )


def test_kurtosis():
    z = randn(200_000, 1)
    assert prior_functions.kurtosis(z).item() == pytest.approx(3, abs=0.05)
    assert prior_functions.kurtosis(z * randn(200_000, 1, seed=1)).item() == pytest.approx(9, rel=0.1)
    assert prior_functions.kurtosis(z.sign()).item() == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: prior_functions.amplitude(torch.ones(3)), "two or more draws"),
        (lambda: prior_functions.kurtosis(torch.ones(1, 3)), "two or more draws"),
        (lambda: prior_functions.correlation(torch.ones(4, 3)), "same value in every draw"),
        (lambda: prior_functions.correlation(randn(4, 3), 3), "one of the 3 inputs"),
        (lambda: prior_functions.length_scale(randn(4, 3), line(4)), "must hold the 3 inputs"),
        (lambda: prior_functions.length_scale(randn(4, 3), line(3).flip(0)), "increasing"),
        (lambda: prior_functions.amplitude(torch.full((2, 2), float("nan"))), "NaN"),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# --- of classes ---


def test_collapse_equals_a_loop():
    f = 2.0 * randn(4, 6, 3)
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
    x = randn(5, 4)
    model = bdl.Model(bdl.nets.mlp(4, 10), bdl.GaussianPrior(0.7), bdl.Categorical())
    f = model.functions(model.sample_prior(20_000, 0, dtype=torch.float64), x)
    want = 0.7 * (x.square().sum(1) + 1).sqrt()
    torch.testing.assert_close(bdl.collapse(f).logit_std, want, rtol=0.02, atol=0)


def test_prior_correlation_equals_numpy():
    f, g = randn(30, 4, 1), randn(30, 4, 1).roll(1, 0) + randn(30, 4, 1)
    both = np.corrcoef(np.concatenate([f[..., 0], g[..., 0]], 1), rowvar=False)
    np.testing.assert_allclose(bdl.prior_correlation(f), both[:4, :4])
    np.testing.assert_allclose(bdl.prior_correlation(f, g), both[:4, 4:])
    np.testing.assert_allclose(bdl.prior_correlation(f, g, paired=True), np.diag(both[:4, 4:]))


@pytest.mark.parametrize("remove_offset", [False, True])
def test_correlation_of_a_linear_prior(remove_offset):
    """f = w.x + b has covariance a² (x.x' + 1), and without the mean over inputs that of the centred inputs."""
    x, x2 = randn(5, 3) + 1, randn(4, 3)
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
    rho = bdl.prior_correlation(randn(500, 6, 10) + 5 * randn(500, 1, 10), remove_offset=True)
    off = rho[~torch.eye(6, dtype=torch.bool)]
    assert off.mean().item() == pytest.approx(-1 / 5, abs=0.01)


def test_bad_input_is_refused():
    f = randn(4, 3, 2)
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


def test_rounding_and_nan_hide_nothing():
    f = torch.cat([torch.full((3, 1), 0.1), torch.randn(3, 2)], 1)  # the mean of three 0.1 is not 0.1
    with pytest.raises(ValueError, match="same value in every draw"):
        prior_functions.correlation(f)
    with pytest.raises(ValueError, match="increasing, without NaN"):
        prior_functions.length_scale(f, torch.tensor([0.0, torch.nan, 1.0]))
    with pytest.raises(ValueError, match="f must hold two or more draws.*got list"):
        prior_functions.amplitude([[1.0], [2.0]])
    with pytest.raises(TypeError, match="x must be a torch.Tensor"):
        prior_functions.length_scale(f, [0.0, 1.0, 2.0])
    assert prior_functions.amplitude(torch.tensor([[1], [7]])).item() == 5
