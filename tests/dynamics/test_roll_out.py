"""Roll-outs: the order of the integrator, the adaptive solver, and that sources and users of stacks take them."""

import math

import pytest
import torch

import bdlcore as bdl
from bdlcore import dynamics
from bdlcore.dynamics.solver import LOST

TWO = dynamics.pendulum(2)


def model_of(steps=3, hidden=6, noise_std=0.1):
    network = dynamics.RollOut(dynamics.ConstrainedHamiltonian(TWO.constraints, hidden), 0.03, steps)
    return bdl.Model(network, bdl.GaussianPrior(1.0, fan_in=True), bdl.Gaussian(noise_std))


def test_runge_kutta_is_of_fourth_order():
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    exact = torch.tensor([math.cos(2.0), -math.sin(2.0)], dtype=torch.float64)
    errors = [
        (dynamics.rk4(lambda z: turn @ z, start, 0.5, 4, substeps)[-1] - exact).norm() for substeps in (4, 8)
    ]
    assert 14 < errors[0] / errors[1] < 18 and errors[0] < 1e-5
    assert dynamics.rk4(lambda z: turn @ z, start, 0.5, 4, 2).shape == (4, 2)


def test_roll_outs_agree_with_the_adaptive_solver():
    model, x = model_of(), TWO.start(5, 0)
    stack = model.sample_prior(3, 0, dtype=torch.float64)
    times = 0.03 * torch.arange(1, 4).double()
    adaptive = dynamics.adaptive_roll_out(model, stack, x, times, 1e-9)
    torch.testing.assert_close(model.functions(stack, x), adaptive.flatten(2), rtol=0, atol=1e-4)
    finer = bdl.Model(dynamics.RollOut(model.network.field, 0.03, 3, 16), model.prior, model.likelihood)
    torch.testing.assert_close(finer.functions(stack, x), adaptive.flatten(2), rtol=0, atol=1e-7)


def test_a_lost_motion_is_nan_and_takes_no_other_with_it():
    field = dynamics.FreeField(width=2, hidden=2)
    model = bdl.Model(dynamics.RollOut(field, 0.1, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    stack = model.sample_prior(1, 0, dtype=torch.float64)
    field.slope = lambda parts, z: z  # grows as e^t
    x = torch.tensor([[1.0, 0.0], [0.9 * LOST, 0.0]], dtype=torch.float64)
    motion = dynamics.adaptive_roll_out(model, stack, x, torch.tensor([0.05, 1.0]).double(), 1e-9)[0]
    torch.testing.assert_close(motion[0, :, 0], torch.tensor([0.05, 1.0]).double().exp())
    assert torch.isfinite(motion[1, 0]).all() and torch.isnan(motion[1, 1]).all()


def test_ensembles_samplers_and_predictions_take_them(tmp_path):
    model = model_of()
    motion = TWO.simulate(TWO.start(30, 0), 0.03 * torch.arange(20).double())
    x, y = dynamics.chunks(motion, 3, seed=0)
    posterior = bdl.ensemble(model, x, y, members=2, steps=100, lr=0.1)
    assert (posterior.loss[-1] < 0.2 * posterior.loss[0].abs()).all()
    predictive = bdl.predict(model, posterior, x)
    assert predictive.mean.shape == y.shape and predictive.epistemic_std.shape == y.shape
    assert (predictive.mean - y).abs().mean() < (x.repeat(1, 3) - y).abs().mean()
    posterior.save(tmp_path / "members.safetensors")
    loaded = bdl.Posterior.load(tmp_path / "members.safetensors", model)
    assert torch.equal(loaded.stack.theta, posterior.stack.theta)
    settings = {"chains": 2, "draws": 4, "warmup": 0, "leapfrog_steps": 3, "step_size": 1e-3}
    sampled = bdl.hmc(model, x[:5], y[:5], initial=posterior.stack, **settings)
    assert sampled.stack.theta.shape == (8, model.layout.dim)
    dimension = bdl.estimate_effective_dimension(model, posterior.stack, x, y, steps=5)
    assert ((dimension > 0) & (dimension < model.layout.dim)).all()


def test_a_set_of_states_for_each_row():
    model = model_of()
    stack = model.sample_prior(3, 0, dtype=torch.float64)
    sets = TWO.start(12, 0).view(3, 4, -1)
    together = model.forward_weights(stack.weights, sets)
    for s in range(3):
        torch.testing.assert_close(together[s], model.functions(stack[s], sets[s])[0], rtol=0, atol=1e-12)


def test_bad_arguments():
    model = model_of()
    stack = model.sample_prior(2, 0, dtype=torch.float64)
    x, times = TWO.start(2, 0), torch.tensor([0.1]).double()
    with pytest.raises(TypeError, match="field must be a VectorField"):
        dynamics.RollOut(torch.nn.Linear(2, 2), 0.1, 3)
    for bad in ({"dt": 0.0}, {"steps": 0}, {"substeps": 0}):
        arguments = {"dt": 0.1, "steps": 1} | bad
        with pytest.raises(ValueError, match=next(iter(bad))):
            dynamics.RollOut(model.network.field, **arguments)
    with pytest.raises(ValueError, match="x must hold states of 8 numbers"):
        model.functions(stack, torch.zeros(3, 6, dtype=torch.float64))
    other = bdl.Model(bdl.nets.mlp(8, 3, 8), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    with pytest.raises(TypeError, match="RollOut as its network"):
        dynamics.adaptive_roll_out(other, other.sample_prior(1, 0), x.float(), times)
    with pytest.raises(ValueError, match="tolerance"):
        dynamics.adaptive_roll_out(model, stack, x, times, 0.0)
    with pytest.raises(ValueError, match="ascending"):
        dynamics.adaptive_roll_out(model, stack, x, torch.tensor([0.2, 0.1]).double())
