"""Masses of basins by annealing, against a closed form and against quadrature over two weights."""

import math

import pytest
import torch
from small_posteriors import exact, linear_model
from torch import nn

import bdlcore as bdl

SIDE = torch.linspace(-7, 7, 701, dtype=torch.float64)
# ten streams erred by 0.002 to 0.04 with these; with 30 temperatures single particles of large weight made it 0.09
WELL = {"particles": 1000, "temperatures": 120, "seed": 0}


class TwoWeights(nn.Module):
    """f(x) = v tanh(w x): the same function at (w, v) and at (-w, -v)."""

    def __init__(self):
        super().__init__()
        self.w, self.v = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def forward(self, x):
        return self.v(torch.tanh(self.w(x)))


@pytest.fixture
def two_weights():
    """Model, data, the log joint over a grid of (w, v), and its mode with w > 0."""
    x = torch.tensor([[-1.0], [0.4], [0.9], [1.5]], dtype=torch.float64)
    y = torch.tensor([-0.9, 0.7, 0.8, 1.4], dtype=torch.float64)
    model = bdl.Model(TwoWeights(), bdl.GaussianPrior(1.3), bdl.Gaussian(0.4))
    joint = model.log_joint(torch.cartesian_prod(SIDE, SIDE), x, y).view(701, 701)
    mode = bdl.laplace(model, x, y, modes=1, steps=500, lr=0.05, seed=0).modes
    return model, x, y, joint, bdl.Stack(mode.theta * mode.theta[:, :1].sign(), mode.layout)


def quadrature(joint):
    return (joint.flatten().logsumexp(0) + 2 * (SIDE[1] - SIDE[0]).log()).item()


def test_a_gaussian_posterior_has_its_mass_at_the_start():
    model, x, y, features = linear_model()
    modes = bdl.laplace(model, x, y, steps=300, lr=0.05).modes
    found = bdl.annealed_mass(model, x, y, modes, particles=5, temperatures=3, seed=0)
    mass, error = found.log_mass()
    assert mass.item() == pytest.approx(exact(features, y).log_evidence, abs=1e-6)
    assert error.item() < 1e-6


def test_two_weights_against_quadrature(two_weights):
    """All of it, and the half w > 0, whose mirror image has the other half, though particles start in one only."""
    model, x, y, joint, mode = two_weights
    found = bdl.annealed_mass(model, x, y, mode, **WELL)
    within = found.stack.theta.view(1, 1000, 2)[..., 0] > 0
    (mass,), (error,) = found.log_mass(within)
    assert error < 0.05
    assert abs(mass - quadrature(joint[SIDE > 0])) < 0.1
    assert quadrature(joint) == pytest.approx(quadrature(joint[SIDE > 0]) + math.log(2), abs=0.01)


def test_it_corrects_a_gaussian_that_is_wrong(two_weights):
    """Started beside the mode, where the Gaussian's own mass is off by half a nat."""
    model, x, y, joint, mode = two_weights
    beside = bdl.Stack(mode.theta + torch.tensor([0.3, -0.3]), mode.layout)
    H = bdl.curvature_matrix(model, beside, x, y)[0] + torch.eye(2, dtype=torch.float64)
    gaussian = model.log_joint(beside.theta, x, y)[0] + math.log(2 * math.pi) - 0.5 * torch.logdet(H)
    found = bdl.annealed_mass(model, x, y, beside, **WELL)
    within = found.stack.theta.view(1, 1000, 2)[..., 0] > 0
    truth = quadrature(joint[SIDE > 0])
    assert abs(gaussian - truth) > 0.4, "this test could not tell"
    assert abs(found.log_mass(within)[0] - truth) < 0.2


def test_the_error_is_the_spread_between_runs(two_weights):
    model, x, y, _, mode = two_weights
    runs = [bdl.annealed_mass(model, x, y, mode, particles=40, temperatures=5, seed=run) for run in range(60)]
    masses, errors = (torch.cat(parts) for parts in zip(*(run.log_mass() for run in runs)))
    assert 0.5 < masses.std() / errors.square().mean().sqrt() < 2


def test_rows_are_modes_and_nothing_within_is_no_mass(two_weights):
    model, x, y, _, mode = two_weights
    both = bdl.Stack(torch.cat([mode.theta, -mode.theta]), mode.layout)
    found = bdl.annealed_mass(model, x, y, both, particles=3, temperatures=2, leapfrog_steps=1)
    assert found.stack.theta.shape == (6, 2) and found.log_weights.shape == (2, 3)
    assert found.acceptance.shape == (2,) and found.gradient_evaluations == 18
    none = torch.zeros(2, 3, dtype=torch.bool)
    none[0] = True
    mass, error = found.log_mass(none)
    assert mass[1] == -math.inf and error[1].isnan() and mass[0].isfinite()
    with pytest.raises(ValueError, match="within must hold one boolean per particle"):
        found.log_mass(none[:1])


def test_where_it_cannot_start_it_says_so(two_weights):
    model, x, y, _, mode = two_weights
    saddle = bdl.Stack(torch.zeros(1, 2, dtype=torch.float64), mode.layout)
    with pytest.raises(ValueError, match="row 0 is not at a mode"):
        bdl.annealed_mass(model, x, y, saddle)
    heavy = bdl.Model(TwoWeights(), bdl.StudentTPrior(1.3), bdl.Gaussian(0.4))
    with pytest.raises(ValueError, match="needs a Gaussian prior"):
        bdl.annealed_mass(heavy, x, y, bdl.Stack(mode.theta, heavy.layout))
