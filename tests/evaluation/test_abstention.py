"""Risk-coverage curves against brute force and closed forms; distances of features against scikit-learn."""

import numpy as np
import pytest
import torch

import bdlcore as bdl


def test_the_curve_is_the_mean_loss_of_what_is_kept():
    g = torch.Generator().manual_seed(0)
    confidence, loss = torch.rand(50, generator=g), torch.rand(50, generator=g)
    curve = bdl.risk_coverage(confidence, loss)
    for k in range(1, 51):
        kept = confidence >= curve.threshold[k - 1]
        assert kept.sum() == k and curve.coverage[k - 1].item() == pytest.approx(k / 50)
        assert curve.risk[k - 1].item() == pytest.approx(loss[kept].mean().item(), rel=1e-5)
    assert curve.aurc == pytest.approx(np.mean(curve.risk.numpy()), rel=1e-6)


def test_area_in_closed_form():
    """Sure of the right ones: with e of N wrong, the area is sum_j j / (N - e + j) / N. All equal: the error rate."""
    wrong = (torch.arange(100) >= 80).double()
    best = bdl.risk_coverage(-wrong, wrong)
    ordered = bdl.risk_coverage(-torch.arange(100.0), wrong)
    want = sum(j / (80 + j) for j in range(1, 21)) / 100
    assert ordered.aurc == pytest.approx(want)
    assert bdl.risk_coverage(torch.ones(100), wrong).aurc == pytest.approx(0.2)
    assert best.keep(0.0) == (0.8, 0.0) and ordered.keep(0.1)[0] == pytest.approx(0.88)
    assert bdl.risk_coverage(wrong, wrong).keep(0.1) == (0.0, float("inf"))
    assert bdl.risk_coverage(wrong, wrong > 0).risk[-1].item() == pytest.approx(0.2)


def test_entropy_abstains_better_than_chance():
    """A predictive that orders its errors has less area than its error rate; entropies serve as confidence too."""
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 3, generator=g, dtype=torch.float64)
    y = torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]
    predictive = bdl.CategoricalPredictive(logits.softmax(1), torch.zeros(4000))
    wrong = predictive.labels != y
    for confidence in (predictive.confidence, -predictive.total_entropy):
        assert bdl.risk_coverage(confidence, wrong).aurc < 0.7 * wrong.double().mean()


def test_distances_are_mahalanobis():
    from sklearn.covariance import EmpiricalCovariance, LedoitWolf

    g = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, -0.3], [0.2, 0.0, 0.7]], dtype=torch.float64)
    known = torch.randn(4000, 3, generator=g, dtype=torch.float64) @ mixing + 1
    new = torch.randn(20, 3, generator=g, dtype=torch.float64)
    found = bdl.feature_distance(new, known)
    shrunk = LedoitWolf().fit(known.numpy())
    np.testing.assert_allclose(found.square(), shrunk.mahalanobis(new.numpy()), rtol=1e-6)
    known = torch.cat([known + s for s in (-1e-9, 1e-9)] * 10)  # shrinkage falls as 1 / N
    found = bdl.feature_distance(new, known)
    plain = EmpiricalCovariance().fit(known.numpy()).mahalanobis(new.numpy())
    np.testing.assert_allclose(found.square(), plain, rtol=0.01)


def test_the_nearest_class_counts():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 2 * 7
    centres = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    known = centres[labels // 7] + torch.randn(600, 2, generator=g)
    new = torch.tensor([[0.0, 3.0], [100.0, -4.0], [50.0, 0.0]])
    near = bdl.feature_distance(new, known, labels)
    assert near[0].item() == pytest.approx(3, rel=0.15) and near[1].item() == pytest.approx(4, rel=0.15)
    assert near[2] > 40 > bdl.feature_distance(new, known)[2]
    few = bdl.feature_distance(torch.randn(3, 50, generator=g), torch.randn(10, 50, generator=g))
    assert torch.isfinite(few).all()  # fewer data than features


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="loss has 2 values for 3 of confidence"):
        bdl.risk_coverage(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"confidence must have shape \(N,\)"):
        bdl.risk_coverage(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(ValueError, match="as many columns, got 2 and 3"):
        bdl.feature_distance(torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="at least 2 data"):
        bdl.feature_distance(torch.zeros(4, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="Use features.flatten"):
        bdl.feature_distance(torch.zeros(4, 2, 2), torch.zeros(4, 2))
