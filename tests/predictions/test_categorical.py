"""Predicted classes against torch.distributions, torchmetrics and counting."""

import math

import pytest
import torch

import bdlcore as bdl
from bdlcore.predictions.function_values import FunctionValues


@pytest.fixture
def categorical():
    model = bdl.Model(bdl.nets.mlp(2, 8, 3), bdl.GaussianPrior(2.0), bdl.Categorical())
    x = torch.randn(9, 2, dtype=torch.float64)
    stack = model.sample_prior(20, seed=0, dtype=torch.float64)
    return model, stack, x, model.functions(stack, x).softmax(-1)


def test_probabilities_are_averaged_not_logits(categorical):
    model, stack, x, p = categorical
    for batch_size in (None, 4):
        predictive = bdl.predict(model, stack, x, batch_size)
        torch.testing.assert_close(predictive.probabilities, p.mean(0))
    y = torch.randint(3, (9,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predictive.log_prob(y), p.mean(0)[range(9), y].log())
    assert predictive.accuracy(y) == (p.mean(0).argmax(1) == y).double().mean()
    wrong = model.functions(stack, x).mean(0).softmax(-1)
    assert (predictive.probabilities - wrong).abs().max() > 0.05, "this test could not tell"


def test_entropies_against_torch_distributions(categorical):
    model, stack, x, p = categorical
    predictive = bdl.predict(model, stack, x)
    torch.testing.assert_close(predictive.total_entropy, torch.distributions.Categorical(p.mean(0)).entropy())
    torch.testing.assert_close(
        predictive.aleatoric_entropy, torch.distributions.Categorical(p).entropy().mean(0)
    )
    assert (predictive.epistemic_entropy > 0).all()
    alone = bdl.predict(model, stack[0], x)
    torch.testing.assert_close(alone.epistemic_entropy, torch.zeros(9, dtype=torch.float64))


def test_entropies_survive_certainty():
    model = bdl.Model(bdl.nets.mlp(2, 3), bdl.GaussianPrior(1e4), bdl.Categorical())
    predictive = bdl.predict(model, model.sample_prior(4, seed=0), torch.ones(2, 2))
    assert (
        torch.isfinite(predictive.total_entropy).all() and torch.isfinite(predictive.aleatoric_entropy).all()
    )


def test_a_very_wrong_and_very_sure_network_has_a_finite_log_probability():
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.0), bdl.Categorical())
    stack = bdl.Stack(torch.tensor([[500.0, 0.0, 0.0, 0.0], [300.0, 0.0, 0.0, 0.0]]), model.layout)
    predictive = bdl.predict(model, stack, torch.ones(1, 1))
    want = -300 - math.log(2)  # exp(-500) adds nothing
    assert predictive.probabilities[0, 1] == 0
    assert predictive.log_prob(torch.tensor([1])).item() == pytest.approx(want)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error_against_torchmetrics(bins):
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    g = torch.Generator().manual_seed(0)
    p = (3 * torch.randn(500, 4, generator=g)).softmax(-1)
    y = torch.multinomial(p.sqrt(), 1, generator=g)[:, 0]
    predictive = bdl.CategoricalPredictive(p, torch.zeros(500))
    want = metrics.multiclass_calibration_error(p, y, num_classes=4, n_bins=bins, norm="l1").item()
    assert want > 0.05, "this test could not tell"
    assert predictive.calibration_error(y, bins) == pytest.approx(want, rel=1e-5)


def test_calibration_error_of_known_cases():
    sure = bdl.CategoricalPredictive(torch.eye(2).repeat(10, 1), torch.zeros(20))
    y = torch.tensor([0, 1] * 10)
    assert sure.calibration_error(y) == 0
    assert sure.calibration_error(1 - y) == 1
    with pytest.raises(ValueError, match="bins must be at least 1"):
        sure.calibration_error(y, bins=0)


def test_reliability_by_counting():
    g = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(40, 3, generator=g, dtype=torch.float64)).softmax(-1)
    y = torch.randint(3, (40,), generator=g)
    predictive = bdl.CategoricalPredictive(p, torch.zeros(40))
    confidence, accuracy, count = predictive.reliability(y, bins=6)
    top, labels = p.max(-1)
    for b in range(6):
        inside = (top >= b / 6) & (top < (b + 1) / 6)
        assert count[b] == inside.sum()
        if inside.any():
            assert confidence[b].item() == pytest.approx(top[inside].mean().item())
            assert accuracy[b].item() == pytest.approx((labels == y)[inside].double().mean().item())
        else:
            assert confidence[b].isnan() and accuracy[b].isnan()
    error = (count / 40 * (accuracy - confidence).abs())[count > 0].sum().item()
    assert predictive.calibration_error(y, bins=6) == pytest.approx(error)


def alike(p, n, right, dtype=torch.float32):
    """n predictions of confidence p, of which a share `right` is right."""
    y = (torch.arange(n) % 100 >= 100 * right).long()
    return bdl.CategoricalPredictive(torch.tensor([[p, 1 - p]], dtype=dtype).repeat(n, 1), torch.zeros(n)), y


def test_millions_of_predictions_lose_no_digits():
    """A running float32 sum of 3 million confidences is 2.5 % too large."""
    predictive, y = alike(0.97, 3_000_000, 0.97)
    assert predictive.calibration_error(y) < 1e-6
    confidence, accuracy, count = predictive.reliability(y)
    assert count[-1] == 3_000_000 and not count.is_floating_point()
    assert confidence[-1].item() == accuracy[-1].item() == pytest.approx(0.97, rel=1e-6)
    assert predictive.accuracy(y) == 0.97


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_calibration_of_half_precision(dtype):
    g = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(5000, 4, generator=g)).softmax(-1).to(dtype)
    y = torch.randint(4, (5000,), generator=g)
    half, single = (bdl.CategoricalPredictive(q, torch.zeros(5000)) for q in (p, p.float()))
    for a, b in zip(half.reliability(y), single.reliability(y)):
        torch.testing.assert_close(a, b, equal_nan=True, rtol=0, atol=0)
    assert half.calibration_error(y) == single.calibration_error(y)


def test_averages_of_half_precision_are_made_in_single():
    f = torch.randn(3000, 2, 3, generator=torch.Generator().manual_seed(0)).half()
    got, want = (bdl.CategoricalPredictive.average(FunctionValues.of(g)) for g in (f, f.float()))
    torch.testing.assert_close(got.aleatoric_entropy, want.aleatoric_entropy)


def test_bad_predictions_are_refused():
    nan, y = torch.full((4, 2), torch.nan), torch.tensor([0, 1, 0, 1])
    predictive = bdl.CategoricalPredictive(nan, torch.zeros(4))
    for question in (predictive.accuracy, predictive.calibration_error, predictive.reliability):
        with pytest.raises(ValueError, match="probabilities contain NaN"):
            question(y)
    for wrong, got in ((torch.zeros(0, 3), "shape"), (torch.zeros(3), "shape"), ([[0.5, 0.5]], "list")):
        with pytest.raises(ValueError, match=rf"probabilities must .* \(N, C\).*got {got}"):
            bdl.CategoricalPredictive(wrong, torch.zeros(1))
