"""Proper scores against brute force and torchmetrics, on predictions that are in closed form."""

import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

import bdlcore as bdl

D = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def by_quadrature(predictive, y, reach=25.0, points=10_001):
    """Midpoints err by at most half a step, where the integrand jumps at y."""
    z = torch.linspace(-reach, reach, points, dtype=D)
    return sum((predictive.cdf(at) - (at >= y).double()).square() for at in z) * (z[1] - z[0])


PREDICTIVES = {
    "mixture": bdl.GaussianPredictive(2 * normal(5, 3, 2), 0.7),
    "per output": bdl.GaussianPredictive(2 * normal(5, 3, 2), torch.tensor([0.3, 2.0], dtype=D)),
    "noise of its own": bdl.GaussianPredictive(2 * normal(5, 3, 2), (0.5 * normal(5, 1, 2, seed=1)).exp()),
    "linearised": bdl.LinearisedPredictive(
        normal(2, 3, 2), normal(2, 3, 2, seed=2).square().diag_embed(), 0.5
    ),
    "normal": bdl.NormalPredictive(normal(3, 2), normal(3, 2, seed=3).abs(), 0.5),
}


@pytest.mark.parametrize("name", PREDICTIVES)
def test_crps_in_closed_form_is_the_integral(name):
    predictive, y = PREDICTIVES[name], 2 * normal(3, 2, seed=9)
    torch.testing.assert_close(predictive.crps(y), by_quadrature(predictive, y), rtol=0, atol=5e-3)


def test_crps_of_one_sure_function_is_the_absolute_error():
    y = normal(3, 1)
    found = bdl.GaussianPredictive(torch.zeros(1, 3, 1, dtype=D), 1e-9).crps(y[:, 0])
    torch.testing.assert_close(found, y.abs())
    standard = bdl.GaussianPredictive(torch.zeros(1, 1, 1, dtype=D), 1.0).crps(torch.zeros(1, dtype=D))
    assert standard.item() == pytest.approx((2**0.5 - 1) / torch.pi**0.5)


def test_crps_of_draws_is_that_of_their_distribution():
    """By all pairs, and on average over sets of draws that of the mixture, to five standard errors."""
    draws, y = normal(7, 3, 2), normal(3, 2, seed=1)
    pairs = (draws[:, None] - draws).abs().sum((0, 1)) / (7 * 6)
    torch.testing.assert_close(bdl.crps_of_draws(draws, y), (draws - y).abs().mean(0) - pairs / 2)
    sets = torch.stack([bdl.crps_of_draws(normal(4, 1, 1, seed=s), y[:1, :1])[0, 0] for s in range(2000)])
    exact = bdl.GaussianPredictive(torch.zeros(1, 1, 1, dtype=D), 1.0).crps(y[:1, :1])[0, 0]
    assert abs(sets.mean() - exact) < 5 * sets.std() / 2000**0.5


def test_crps_in_parts_is_the_same():
    model = bdl.Model(bdl.nets.mlp(1, 3, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
    stack, x, y = model.sample_prior(6, seed=0, dtype=D), normal(5, 1), normal(5)
    whole, parts = bdl.predict(model, stack, x), bdl.predict(model, stack, x, chunk_size=2)
    torch.testing.assert_close(parts.crps(y), whole.crps(y))


def test_scores_are_best_for_the_truth():
    """Proper: of all predicted probabilities, or stds, the true one has the lowest mean score."""
    g = torch.Generator().manual_seed(0)
    y = (torch.rand(100_000, generator=g) < 0.3).long()
    score = [bdl.brier(torch.tensor([[1 - p, p]]).expand(100_000, 2), y).mean() for p in (0.1, 0.3, 0.5)]
    assert score[1] < min(score[0], score[2])
    z = torch.randn(100_000, generator=g)
    widths = [bdl.GaussianPredictive(torch.zeros(1, 100_000, 1), s).crps(z).mean() for s in (0.6, 1.0, 1.6)]
    assert widths[1] < min(widths[0], widths[2])


def test_brier_is_that_of_the_errors():
    p, y = normal(1, 20, 4).softmax(-1), torch.arange(20) % 4
    assert bdl.brier(p[0], y).mean().item() == pytest.approx(bdl.error_products(p, y).item())
    predictive = bdl.CategoricalPredictive(p[0], torch.zeros(20, dtype=D))
    torch.testing.assert_close(bdl.brier(predictive, y), bdl.brier(p[0], y))


def test_auroc_against_torchmetrics():
    inside, outside = (10 * normal(300)).round(), (10 * normal(200, seed=1) + 5).round()  # with ties
    both = torch.cat([inside, outside]) / 200 + 0.5
    want = binary_auroc(both, (torch.arange(500) >= 300).long())
    assert bdl.auroc(inside, outside) == pytest.approx(want.item(), abs=1e-6)
    assert bdl.auroc(torch.zeros(3), torch.ones(2)) == 1 and bdl.auroc(torch.ones(3), torch.ones(2)) == 0.5


def test_bad_scores_are_named():
    with pytest.raises(ValueError, match="draws must have shape .S, N, C. with S of 2"):
        bdl.crps_of_draws(torch.zeros(1, 3, 1), torch.zeros(3))
    with pytest.raises(ValueError, match="y must have shape"):
        bdl.crps_of_draws(torch.zeros(4, 3, 1), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="p must be at least 0 and sum to 1"):
        bdl.brier(torch.ones(3, 2), torch.zeros(3).long())
    with pytest.raises(ValueError, match="inside must have shape"):
        bdl.auroc(torch.zeros(3, 1), torch.zeros(3))
