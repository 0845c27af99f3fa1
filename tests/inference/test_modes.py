"""Modes against the ensemble that they were trained as, and what is kept of an interrupted search."""

import pytest
import torch
from small_posteriors import linear_model

import bdlcore as bdl
from bdlcore.inference.modes import find_modes


@pytest.fixture
def linear():
    return linear_model()


def test_modes_are_found():
    x, y = bdl.data.two_clusters(40)
    model = bdl.Model(bdl.nets.mlp(1, 20, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    posterior = bdl.laplace(model, x, y, modes=3, steps=200)
    assert posterior.excess.max() < 0.5  # nats; the training alone leaves more than the 1 below
    assert posterior.loss.shape == (200, 3) and posterior.seconds > 0
    trained = bdl.ensemble(model, x, y, members=3, steps=200)
    gain = (
        bdl.LogPosterior(model, x, y)(posterior.modes.theta)[0]
        - bdl.LogPosterior(model, x, y)(trained.stack.theta)[0]
    )
    assert gain.min() > 1, "refining would not be worth its time"
    # rounding may lead the refinement elsewhere along a flat valley, so that the training is compared
    _, alone, _ = find_modes(model, x, y, modes=range(2, 3), steps=200, refine_steps=0)
    torch.testing.assert_close(alone[:20, 0], posterior.loss[:20, 2], rtol=1e-4, atol=0)
    with pytest.warns(UserWarning, match="not at a mode: a Newton step would raise the log posterior by"):
        bdl.laplace(model, x, y, modes=trained.stack)


def test_interrupted_refinement_keeps_the_trained_modes(linear, monkeypatch):
    model, x, y, _ = linear

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("scipy.optimize.minimize", interrupt)
    with pytest.warns(UserWarning, match="modes from row 0 on are not refined"):
        stack, _, _ = find_modes(model, x, y, modes=2, steps=5)
    torch.testing.assert_close(stack.theta, bdl.ensemble(model, x, y, members=2, steps=5).stack.theta)
