"""Planes and paths through weight space."""

import pytest
import torch

import bdlcore as bdl


def test_a_plane_holds_its_three_settings(model):
    stack = model.sample_prior(3, seed=0, dtype=torch.float64)
    plane = bdl.plane_through(stack)
    at = plane.coordinates(stack)
    torch.testing.assert_close(plane.stack(at).theta, stack.theta)
    torch.testing.assert_close(torch.cdist(at, at), torch.cdist(stack.theta, stack.theta))
    torch.testing.assert_close(at[0], torch.zeros(2, dtype=torch.float64))
    assert at[1, 1].abs() < 1e-9


def test_a_segment_is_straight_and_even(model):
    ends = model.sample_prior(2, seed=0, dtype=torch.float64)
    line = bdl.segment(ends, 5).theta
    torch.testing.assert_close(line[[0, 4]], ends.theta)
    torch.testing.assert_close(line.diff(dim=0), (ends.theta[1] - ends.theta[0]).expand(4, -1) / 4)


def test_the_bent_path_is_lower_than_the_straight_one():
    x, y = bdl.data.moons(60, seed=0)
    model = bdl.Model(bdl.nets.mlp(2, 10, 2), bdl.GaussianPrior(2.0, fan_in=True), bdl.Categorical())
    one = bdl.ensemble(model, x, y, members=1, steps=300, lr=0.05, seed=0).stack
    # tanh is odd: all signs turned but those of the last bias, it is the same function, and in between a constant
    other = torch.cat([-one.theta[:, :-2], one.theta[:, -2:]], dim=1)
    ends = bdl.Stack(torch.cat([one.theta, other]), one.layout)
    path = bdl.low_loss_path(model, ends, x, y, steps=150)
    torch.testing.assert_close(path.stack(3).theta[[0, 2]], ends.theta)

    def worst(stack):
        return -model.log_joint(stack.theta, x, y).min()

    straight, bent = worst(bdl.segment(ends, 21)), worst(path.stack(21))
    assert straight > worst(ends) + 10 and bent < straight - 10  # measured: 17 to 25, both, over 8 data sets


def test_the_gradient_of_the_bend_is_that_of_the_mean(model, regression):
    from bdlcore.evaluation.landscapes import _MeanOverPath

    start, end, bend = model.sample_prior(3, seed=0, dtype=torch.float64).theta
    density = bdl.LogPosterior(model, *regression)
    target = _MeanOverPath(density, start, end, torch.tensor([0.1, 0.5, 0.7], dtype=torch.float64))
    bend = bend[None]
    for evaluate in (target, target.likelihood):
        value, gradient = evaluate(bend)
        step = 1e-6 * torch.randn_like(bend)
        change = (evaluate(bend + step)[0] - evaluate(bend - step)[0]) / 2
        torch.testing.assert_close(change, (gradient * step).sum(1), rtol=1e-5, atol=1e-12)


def test_bad_input_is_refused(model, regression):
    stack = model.sample_prior(3, seed=0, dtype=torch.float64)
    with pytest.raises(ValueError, match="3 settings"):
        bdl.plane_through(stack[:2])
    with pytest.raises(ValueError, match="on one line"):
        bdl.plane_through(bdl.Stack(torch.stack([stack.theta[0] * k for k in (1, 2, 3)]), stack.layout))
    with pytest.raises(ValueError, match="shape \\(M, 2\\)"):
        bdl.plane_through(stack).stack(torch.zeros(3))
    with pytest.raises(ValueError, match="two ends"):
        bdl.segment(stack, 5)
    with pytest.raises(ValueError, match="points must be at least 2"):
        bdl.segment(stack[:2], 1)
    with pytest.raises(ValueError, match="maximise must be"):
        bdl.low_loss_path(model, stack[:2], *regression, maximise="loss")
    with pytest.warns(UserWarning, match="same setting"):
        bdl.low_loss_path(model, stack[[0, 0]], *regression, steps=1)


def test_coordinates_that_are_no_tensor_are_named(model):
    plane = bdl.plane_through(model.sample_prior(3, seed=0, dtype=torch.float64))
    with pytest.raises(ValueError, match="torch.Tensor, got list"):
        plane.stack([[0.0, 1.0]])
    with pytest.raises(ValueError, match="coordinates contains 1 NaN"):
        plane.stack(torch.tensor([[0.0, torch.nan]]))
