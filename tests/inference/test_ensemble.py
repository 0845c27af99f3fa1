"""Ensembles against the posterior mean in closed form, and each member against itself alone."""

import pytest
import torch
from small_posteriors import exact, linear_model

import bdlcore as bdl


@pytest.fixture
def linear():
    return linear_model()


def test_members_of_a_linear_model_find_the_posterior_mean(linear):
    model, x, y, features = linear
    posterior = bdl.ensemble(model, x, y, members=4, steps=800, lr=0.05)
    want = exact(features, y).mean.expand(4, -1)
    torch.testing.assert_close(posterior.stack.weights, want, rtol=0, atol=1e-4)
    least_squares = torch.linalg.lstsq(features, y[:, None]).solution[:, 0].expand(4, -1)
    likely = bdl.ensemble(model, x, y, members=4, steps=800, lr=0.05, maximise="likelihood")
    torch.testing.assert_close(likely.stack.weights, least_squares, rtol=0, atol=1e-4)
    T = torch.tensor([0.1, 0.5, 2.0, 4.0], dtype=x.dtype)
    tempered = bdl.ensemble(model, x, y, members=4, steps=800, lr=0.05, likelihood_temperature=T)
    want = torch.stack([exact(features, y, likelihood_temperature=t).mean for t in T.tolist()])
    torch.testing.assert_close(tempered.stack.weights, want, rtol=0, atol=1e-4)


def test_minibatch_members_find_the_same_mean(linear):
    """A forgotten factor N / batch would make the prior three times too strong."""
    model, x, y, features = linear
    posterior = bdl.ensemble(model, x, y, members=2, steps=3000, lr=0.02, batch_size=5)
    want = exact(features, y)
    std = want.covariance.diagonal().sqrt()
    assert ((posterior.stack.weights - want.mean) / std).abs().max() < 0.1


def test_members_do_not_depend_on_their_company(linear):
    model, x, y, _ = linear
    run = {"steps": 50, "batch_size": 4, "seed": 5}
    whole = bdl.ensemble(model, x, y, members=5, **run)
    part = bdl.ensemble(model, x, y, members=range(3, 5), chunk_size=1, **run)
    torch.testing.assert_close(part.stack.theta, whole.stack.theta[3:])


def test_bad_settings_of_ensemble_are_named(linear):
    model, x, y, _ = linear
    for arguments, error, message in [
        ({"members": 0}, ValueError, "members must be at least 1"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"lr": 0.0}, ValueError, "lr must be positive"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"maximise": "loss"}, ValueError, "maximise must be one of 'posterior', 'likelihood'"),
        ({"members": range(0)}, ValueError, "non-empty"),
    ]:
        with pytest.raises(error, match=message):
            bdl.ensemble(model, x, y, **{"steps": 3} | arguments)
    with pytest.raises(RuntimeError, match="became NaN or infinite at step .* smaller lr"):
        bdl.ensemble(model, x * 1e200, y, steps=20, lr=1e150)
