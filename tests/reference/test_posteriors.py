"""One step of SGLD and of SGHMC against posteriors, with the same noise, at several temperatures."""

import math
import warnings

import pytest
import torch

import bdlcore as bdl
from bdlcore.inference.sgmcmc import sghmc_step, sgld_step

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import posteriors

pytestmark = pytest.mark.filterwarnings("ignore")
LR, FRICTION = 1e-3, 0.1


@pytest.fixture
def problem(model, regression):
    """Weights, an untempered log posterior as posteriors wants it, and a gradient of the tempered one."""
    x, y = regression
    theta = model.sample_prior(1, seed=0, dtype=x.dtype).theta[0]

    def log_posterior(theta, batch):
        return model.log_joint(theta[None], *batch)[0], torch.tensor([])

    def gradient(T):
        return bdl.LogPosterior(model, x, y, temperature=T)(theta[None])[1]

    return theta, log_posterior, (x, y), gradient


def same_noise(theta, seed=3):
    torch.manual_seed(seed)
    noise = torch.randn_like(theta)[None]
    torch.manual_seed(seed)
    return noise


@pytest.mark.parametrize("T", [0.5, 1.0, 2.0])
def test_sgld(problem, T):
    """It steps by lr times the gradient, and puts the temperature into the noise: eps = 2 lr T here."""
    theta, log_posterior, batch, gradient = problem
    theirs = posteriors.sgmcmc.sgld.build(log_posterior, lr=LR, temperature=T)
    state = theirs.init(theta)
    noise = same_noise(theta)
    state, _ = theirs.update(state, batch)
    eps = torch.tensor([2 * LR * T], dtype=theta.dtype)
    torch.testing.assert_close(sgld_step(theta[None], gradient(T), eps, noise)[0], state.params)


@pytest.mark.parametrize("T", [0.5, 1.0, 2.0])
def test_sghmc(problem, T):
    """It moves by the old momentum where bdlcore moves by the new one, and its momenta are sqrt(T) times as large."""
    theta, log_posterior, batch, gradient = problem
    momentum = torch.linspace(-1, 1, len(theta), dtype=theta.dtype)
    theirs = posteriors.sgmcmc.sghmc.build(
        log_posterior, lr=LR, alpha=FRICTION / LR, temperature=T, momenta=momentum
    )
    state = theirs.init(theta)
    noise = same_noise(theta)
    state, _ = theirs.update(state, batch)
    torch.testing.assert_close(state.params, theta + LR * momentum)
    h = torch.tensor([LR * math.sqrt(T)], dtype=theta.dtype)
    moved, ours = sghmc_step(theta[None], momentum[None] / math.sqrt(T), gradient(T), h, FRICTION, noise)
    torch.testing.assert_close(math.sqrt(T) * ours[0], state.momenta)
    torch.testing.assert_close(moved[0], theta + LR * state.momenta)
