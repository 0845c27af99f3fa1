"""Conformal intervals and sets against crepes, on the same scores."""

import warnings

import numpy as np
import pytest
import torch

import bdlcore as bdl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    crepes = pytest.importorskip("crepes")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("N", [20, 100, 333])
@pytest.mark.parametrize("probability", [0.55, 0.8, 0.95])
def test_intervals(N, probability):
    g = torch.Generator().manual_seed(N)
    f, std = torch.randn(1, N, 1, generator=g).double(), torch.rand(1, N, 1, generator=g).double() + 0.1
    y = torch.randn(N, 1, generator=g).double()
    predictive = bdl.GaussianPredictive(f, std)
    low, high = bdl.conformal_interval(predictive, y, probability)(predictive)
    theirs = crepes.ConformalRegressor()
    theirs.fit((y - f[0]).numpy()[:, 0], sigmas=std.numpy()[0, :, 0])
    want = theirs.predict_int(f.numpy()[0, :, 0], sigmas=std.numpy()[0, :, 0], confidence=probability)
    np.testing.assert_allclose(torch.cat([low, high], 1).numpy(), want, rtol=1e-9)


@pytest.mark.parametrize("N", [20, 100, 333])
@pytest.mark.parametrize("probability", [0.55, 0.8, 0.95])
def test_sets(N, probability):
    g = torch.Generator().manual_seed(N)
    p = torch.randn(N, 4, generator=g).double().softmax(1)
    y = torch.multinomial(p, 1, generator=g)[:, 0]
    predictive = bdl.CategoricalPredictive(p, torch.zeros(N))
    sets = bdl.conformal_sets(predictive, y, probability)(predictive)
    theirs = crepes.ConformalClassifier()
    theirs.fit((1 - p.gather(1, y[:, None]))[:, 0].numpy())
    want = theirs.predict_set((1 - p).numpy(), confidence=probability, smoothing=False)
    np.testing.assert_array_equal(sets.numpy().astype(int), want)
