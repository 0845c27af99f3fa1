"""Training of a stack whose rows have data of their own."""

import pytest
import torch

import bdlcore as bdl
from bdlcore import dynamics

ONE = dynamics.pendulum(1)
MODEL = bdl.Model(
    dynamics.RollOut(dynamics.ConstrainedHamiltonian(ONE.constraints, 8), 0.03, 1),
    bdl.GaussianPrior(1.0, fan_in=True),
    bdl.Gaussian(0.1),
)


@pytest.fixture(scope="module")
def data():
    motion = ONE.simulate(ONE.start(60, 0), 0.03 * torch.arange(40).double())
    x, y = dynamics.chunks(motion, 1, seed=0)
    return x.view(3, 20, -1), y.view(3, 20, -1)


def test_rows_learn_their_own_data(data):
    """One row sees a pendulum swing; the other is told that it stands still."""
    x, y = data
    still = torch.cat([x[:1], x[:1]]), torch.cat([y[:1], x[:1]])
    stack, loss = dynamics.train_each(MODEL, *still, steps=300, lr=0.1, batch_size=20)
    f = MODEL.functions(stack, x[0])
    assert loss.shape == (300, 2)
    assert (f[0] - y[0]).abs().mean() < 0.2 * (x[0] - y[0]).abs().mean()
    assert (f[1] - f[0]).abs().mean() > 0.2 * (x[0] - y[0]).abs().mean()


def test_a_row_does_not_depend_on_its_company(data):
    x, y = data
    settings = {"steps": 20, "batch_size": 8, "seed": 3}
    lr = torch.tensor([0.05, 0.1, 0.05])
    together, _ = dynamics.train_each(MODEL, x, y, lr=lr, **settings)
    two, _ = dynamics.train_each(MODEL, x[:2], y[:2], lr=lr[:2], **settings)
    alone, _ = dynamics.train_each(MODEL, x[:1], y[:1], lr=0.05, **settings)
    torch.testing.assert_close(two.theta, together.theta[:2], rtol=0, atol=1e-5)
    torch.testing.assert_close(alone.theta, together.theta[:1], rtol=0, atol=1e-5)
    assert (together.theta[1] - together.theta[0]).abs().max() > 0.1


def test_a_row_sees_only_its_first_data(data):
    x, y = data
    y = y.clone()
    y[1, 5:] = 1e3  # what the second row must not look at
    settings = {"steps": 10, "batch_size": 30}
    stack, loss = dynamics.train_each(MODEL, x[:2], y[:2], sizes=torch.tensor([20, 5]), **settings)
    assert loss.max() < 1e3
    _, seen = dynamics.train_each(MODEL, x[:2], y[:2], **settings)
    assert seen[:, 1].min() > 1e3


def test_a_row_that_breaks_leaves_the_others_alone(data):
    x, y = data
    huge = y.clone()
    huge[1] = 1e200  # squares of it are infinite
    well, _ = dynamics.train_each(MODEL, x[:1], y[:1], steps=5)
    both, _ = dynamics.train_each(MODEL, x[:2], huge[:2], steps=5)
    torch.testing.assert_close(both.theta[:1], well.theta, rtol=0, atol=1e-5)
    assert torch.isfinite(both.theta).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": -1.0}, "lr"),
        ({"lr": torch.ones(2)}, "lr must be a number or have one value per row"),
        ({"sizes": torch.tensor([1, 2, 21])}, "sizes must hold 3 whole numbers from 1 to 20"),
        ({"sizes": torch.tensor([1, 2])}, "sizes"),
        ({"x": torch.full((3, 20, 4), torch.nan)}, "x contains"),
        ({"y": torch.zeros(3, 19, 4)}, "a data set for each row"),
        ({"x": torch.zeros(3, 20, 6)}, "x must hold states of 4 numbers"),
    ],
)
def test_bad_arguments(data, bad, message):
    x, y = data
    with pytest.raises(ValueError, match=message):
        dynamics.train_each(MODEL, **{"x": x, "y": y, "steps": 1} | bad)
