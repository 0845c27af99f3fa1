"""Distances between predictions against SciPy and by hand."""

import pytest
import torch
from scipy.stats import wasserstein_distance

import bdlcore as bdl


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("S", "R"), [(7, 7), (7, 5), (1, 9), (12, 8), (1, 1)])
def test_wasserstein_against_scipy(S, R):
    f, g = normal(S, 4, 2), 2 * normal(R, 4, 2, seed=1) + 0.3
    g[0] = f[0]  # ties
    got = bdl.wasserstein(f, g)
    assert got.shape == (4, 2)
    for n in range(4):
        for c in range(2):
            assert got[n, c].item() == pytest.approx(wasserstein_distance(f[:, n, c], g[:, n, c]), rel=1e-12)
    torch.testing.assert_close(bdl.wasserstein(g, f), got)
    assert bdl.wasserstein(f, f[torch.randperm(S)]).max() == 0


def test_wasserstein_of_a_shift_is_the_shift():
    f = normal(50, 3)
    torch.testing.assert_close(bdl.wasserstein(f, f + 0.7), torch.full((3,), 0.7, dtype=f.dtype))


def test_class_distances():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    q = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    torch.testing.assert_close(bdl.total_variation(p, q), torch.tensor([0.6, 0.1]))
    assert bdl.total_variation(p, p).max() == 0 and bdl.agreement(p, q) == 0.5
    predictive = bdl.CategoricalPredictive(p, torch.zeros(2))
    torch.testing.assert_close(bdl.total_variation(predictive, q), torch.tensor([0.6, 0.1]))
    assert bdl.agreement(predictive, predictive) == 1


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            lambda: bdl.wasserstein(torch.zeros(0, 3), torch.zeros(2, 3)),
            "at least one draw along its first axis",
        ),
        (lambda: bdl.wasserstein([1.0], torch.zeros(2)), "at least one draw along its first axis, got list"),
        (lambda: bdl.wasserstein(torch.zeros(4, 3), torch.zeros(4, 2)), "same shape after the first axis"),
        (lambda: bdl.wasserstein(torch.full((4,), torch.nan), torch.zeros(4)), "f contains 4 NaN"),
        (lambda: bdl.total_variation(torch.ones(2, 3), torch.ones(2, 3)), "logits need softmax"),
        (lambda: bdl.agreement(torch.ones(2, 1), torch.ones(3, 1)), "same inputs and classes"),
        (lambda: bdl.agreement(torch.ones(2), torch.ones(2)), r"must have shape \(N, C\)"),
    ],
)
def test_bad_input_to_distances(question, message):
    with pytest.raises(ValueError, match=message):
        question()


def test_whole_numbers_and_half_precision():
    f, g = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 5])
    want = wasserstein_distance(f.numpy(), g.numpy())
    assert bdl.wasserstein(f, g).item() == pytest.approx(want)
    assert bdl.wasserstein(f, f + 2) == 2
    p = normal(50, 10).softmax(-1)
    for dtype in (torch.float16, torch.bfloat16):
        half = p.to(dtype)
        want = 0.5 * (half.float() - half.float().flip(0)).abs().sum(-1)
        torch.testing.assert_close(bdl.total_variation(half, half.flip(0)), want)
    with pytest.raises(ValueError, match="logits need softmax"):
        bdl.agreement(torch.full((2, 2), torch.nan), p[:2, :2])
