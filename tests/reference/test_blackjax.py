"""Posterior moments of functions by HMC against BlackJAX, for a small network and a small classifier."""

import math
import warnings

import numpy as np
import pytest
import torch

import bdlcore as bdl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import blackjax
    import jax
    import jax.numpy as jnp

pytestmark = pytest.mark.filterwarnings("ignore")
jax.config.update("jax_enable_x64", True)
PRIOR_STD, NOISE_STD, CHAINS = 1.0, 0.3, 16


def unpack(theta, sizes):
    """[(W, b), ...] from whitened weights (D,), in the order of bdlcore's layers."""
    layers, at = [], 0
    for n_in, n_out in zip(sizes, sizes[1:]):
        W = PRIOR_STD * theta[at : at + n_in * n_out].reshape(n_out, n_in)
        at += n_in * n_out
        layers.append((W, PRIOR_STD * theta[at : at + n_out]))
        at += n_out
    return layers


def network(theta, x, sizes):
    *hidden, (W, b) = unpack(theta, sizes)
    for V, c in hidden:
        x = jnp.tanh(x @ V.T + c)
    return x @ W.T + b


def their_draws(log_density, dim, draws, step_size, steps):
    """(CHAINS * draws, D) by BlackJAX's HMC from draws of the prior, after as many that are dropped."""
    kernel = blackjax.hmc(log_density, step_size, jnp.ones(dim), steps)
    keys = jax.random.split(jax.random.key(0), 2)
    states = jax.vmap(kernel.init)(0.3 * jax.random.normal(keys[0], (CHAINS, dim)))

    def step(states, key):
        states, info = jax.vmap(kernel.step)(jax.random.split(key, CHAINS), states)
        return states, (states.position, info.acceptance_rate)

    _, (positions, acceptance) = jax.lax.scan(step, states, jax.random.split(keys[1], 2 * draws))
    assert 0.5 < acceptance[draws:].mean() < 0.999
    return np.asarray(positions[draws:].swapaxes(0, 1).reshape(-1, dim))


@pytest.mark.parametrize("kind", ["regression", "classes"])
def test_moments_of_functions(kind):
    g = torch.Generator().manual_seed(0)
    if kind == "regression":
        sizes, x = (1, 4, 1), torch.linspace(-1, 1, 15, dtype=torch.float64)[:, None]
        y = torch.sin(3 * x[:, 0]) + NOISE_STD * torch.randn(15, generator=g)
        likelihood = bdl.Gaussian(NOISE_STD)
        log_p = lambda f: -0.5 * ((y.numpy() - f[:, 0]) ** 2).sum() / NOISE_STD**2  # noqa: E731
    else:
        sizes, x = (2, 3), torch.randn(20, 2, generator=g, dtype=torch.float64)
        y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
        likelihood = bdl.Categorical()
        log_p = lambda f: jax.nn.log_softmax(f)[jnp.arange(20), y.numpy()].sum()  # noqa: E731
    model = bdl.Model(bdl.nets.mlp(*sizes), bdl.GaussianPrior(PRIOR_STD), likelihood)

    def log_density(theta):
        return log_p(network(theta, x.numpy(), sizes)) - 0.5 * (theta**2).sum()

    ours = bdl.hmc(model, x, y, chains=CHAINS, draws=400, warmup=200, leapfrog_steps=20, seed=0)
    assert ours.rhat.max() < 1.02
    value = bdl.LogPosterior(model, x, y)(ours.stack.theta[:5])[0]
    same = torch.tensor(
        [float(log_density(theta.numpy())) for theta in ours.stack.theta[:5]], dtype=value.dtype
    )
    torch.testing.assert_close(value - value[0], same - same[0])

    step_size = ours.step_size.mean().item()
    theirs = bdl.Stack(
        torch.tensor(their_draws(log_density, model.layout.dim, 400, step_size, 30)), model.layout
    )
    f, g = (model.functions(stack, x).unflatten(0, (CHAINS, 400)) for stack in (ours.stack, theirs))
    assert bdl.rhat(g).max() < 1.03
    std = f.flatten(0, 1).std(0)
    for a, b, spread in (
        (f, g, std),
        ((f - f.mean((0, 1))).square(), (g - g.mean((0, 1))).square(), math.sqrt(2) * std.square()),
    ):
        error = (a.mean((0, 1)) - b.mean((0, 1))) / spread
        allowed = 4.5 * (1 / bdl.ess(a) + 1 / bdl.ess(b)).sqrt()
        assert (error.abs() < allowed * 1.3).all(), (error.abs() / allowed).max()
