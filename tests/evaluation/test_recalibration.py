"""Temperature scaling and conformal prediction: the temperature that was put in comes out, coverage is what it says."""

import pytest
import torch

import bdlcore as bdl


def too_sure(N, T, seed):
    """Labels drawn from softmax(logits), and a predictive that says softmax(T logits)."""
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(N, 4, generator=g, dtype=torch.float64)
    y = torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]
    return bdl.CategoricalPredictive((T * logits).softmax(1), torch.zeros(N).double()), y


@pytest.mark.parametrize("T", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_comes_out(T):
    """The standard error of log T is 1 / (sqrt(N) std of log p under p), about 0.01 for 20,000 labels."""
    predictive, y = too_sure(20_000, T, seed=0)
    scaling = bdl.temperature_scaling(predictive, y)
    assert scaling.temperature == pytest.approx(T, rel=0.06)
    mended = scaling(predictive)
    near = [
        bdl.evaluation.recalibration.TemperatureScaling(scaling.temperature * s)(predictive)
        for s in (0.99, 1.01)
    ]
    best = mended.log_prob(y).mean()
    assert all(best >= other.log_prob(y).mean() for other in near)
    assert (mended.labels == predictive.labels).all() and mended.epistemic_entropy.max() < 1e-12
    torch.testing.assert_close(mended.probabilities.sum(1), torch.ones(20_000).double())
    if T == 3:
        assert mended.calibration_error(y) < 0.02 < predictive.calibration_error(y)


def test_scaling_knows_its_log_probabilities():
    f = torch.tensor([[[900.0, 0.0], [0.0, 900.0]]])
    predictive = bdl.Categorical().predictive(bdl.predictions.function_values.FunctionValues.of(f))
    scaled = bdl.evaluation.recalibration.TemperatureScaling(900.0)(predictive)
    torch.testing.assert_close(scaled.probabilities[0], torch.tensor([1.0, 0.0]).softmax(0))


def test_a_temperature_that_does_not_exist_is_refused():
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    sure = bdl.CategoricalPredictive(p, torch.zeros(2))
    with pytest.raises(ValueError, match="no best temperature.*Give more held-out data"):
        bdl.temperature_scaling(sure, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no best temperature"):
        bdl.temperature_scaling(sure, torch.tensor([1, 0]))
    numbers = bdl.GaussianPredictive(torch.zeros(1, 3, 1), 1.0)
    with pytest.raises(TypeError, match="one of classes, got GaussianPredictive. For numbers use conformal"):
        bdl.temperature_scaling(numbers, torch.zeros(3).long())


def regression(N, seed):
    """A model that is sure by half, of data whose noise it orders rightly."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(N, 1, generator=g, dtype=torch.float64)
    y = (0.2 + x) * torch.randn(N, 1, generator=g, dtype=torch.float64)
    return bdl.GaussianPredictive(torch.zeros(1, N, 1, dtype=torch.float64), 0.5 * (0.2 + x)[None]), y


def test_intervals_have_their_coverage():
    """Over 400 splits of 99 held-out data the mean coverage is 90 / 100, to five standard errors."""
    shares = []
    for seed in range(400):
        predictive, y = regression(199, seed)
        first = bdl.GaussianPredictive(predictive.f[:, :99], predictive.noise_std[:, :99])
        rest = bdl.GaussianPredictive(predictive.f[:, 99:], predictive.noise_std[:, 99:])
        low, high = bdl.conformal_interval(first, y[:99], 0.9)(rest)
        shares.append(((low <= y[99:]) & (y[99:] <= high)).double().mean())
    shares = torch.stack(shares)
    assert abs(shares.mean() - 0.9) < 5 * shares.std() / 20
    low, high = rest.interval(0.9)
    assert ((low <= y[99:]) & (y[99:] <= high)).double().mean() < 0.8  # before it was mended


def test_sets_have_their_coverage():
    shares = []
    for seed in range(400):
        predictive, y = too_sure(199, 3.0, seed)
        p = predictive.probabilities
        first, rest = (bdl.CategoricalPredictive(part, torch.zeros(len(part))) for part in (p[:99], p[99:]))
        sets = bdl.conformal_sets(first, y[:99], 0.9)(rest)
        shares.append(sets.gather(1, y[99:, None]).double().mean())
    shares = torch.stack(shares)
    assert abs(shares.mean() - 0.9) < 5 * shares.std() / 20


def test_bad_conformal_calls_are_named():
    predictive, y = regression(8, 0)
    with pytest.raises(ValueError, match="probability=0.9 needs at least 9 held-out data, got 8"):
        bdl.conformal_interval(predictive, y, 0.9)
    with pytest.raises(ValueError, match="probability must lie between 0 and 1"):
        bdl.conformal_interval(predictive, y, 1.0)
    with pytest.raises(TypeError, match="For classes use conformal_sets"):
        bdl.conformal_interval(too_sure(8, 1.0, 0)[0], y)
    with pytest.raises(TypeError, match="For numbers use conformal_interval"):
        bdl.conformal_sets(predictive, torch.zeros(8).long())
    cauchy = bdl.StudentTPredictive(torch.zeros(1, 8, 1).double(), 1.0, 1.0)
    with pytest.raises(ValueError, match="no finite total_std"):
        bdl.conformal_interval(cauchy, y, 0.5)
