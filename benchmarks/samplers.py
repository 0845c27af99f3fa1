"""Whole HMC samplers on one posterior: gradient evaluations and effective samples of functions per second.

All make the same transitions, 100 leapfrog steps of size 0.007 from the same starts (bdlcore jitters the step by
20 %), so what differs is how fast. Effective samples count function values, not weights: the smallest bulk ESS
over 20 inputs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

import bdlcore as bdl
from bdlcore._support.randomness import RowRandom

from . import problem
from .race import Contestant, best, race
from .report import short, table

TITLE = "HMC samplers: gradient evaluations per second, 1-50-50-1 tanh network, 100 points"
CHAINS = (1, 8, 64, 512)
STEP_SIZE, LEAPFROG_STEPS = 0.007, 100
LOOP = "hand-written HMC, loop over chains"

# A sampler takes starts (chains, D) and a number of draws, and returns what makes the draws (chains, draws, D).
Sampler = Callable[[Tensor, int], Callable[[], Tensor]]


def by_hand(starts: Tensor, draws: int) -> Callable[[], Tensor]:
    """Chain after chain in a dozen lines of PyTorch with ordinary autograd."""
    density, g = problem.torch_log_joint(), torch.Generator().manual_seed(0)

    def chain(theta: Tensor) -> Tensor:
        kept = []
        value, gradient = problem.value_and_grad(density, theta)
        for _ in range(draws):
            momentum = torch.randn(theta.shape, generator=g)
            p, new, new_gradient = momentum.clone(), theta, gradient
            for _ in range(LEAPFROG_STEPS):
                p = p + 0.5 * STEP_SIZE * new_gradient
                new = new + STEP_SIZE * p
                new_value, new_gradient = problem.value_and_grad(density, new)
                p = p + 0.5 * STEP_SIZE * new_gradient
            gain = new_value - value + 0.5 * (momentum.square().sum() - p.square().sum())
            if torch.rand((), generator=g) < gain.exp():
                theta, value, gradient = new, new_value, new_gradient
            kept.append(theta)
        return torch.stack(kept)

    return lambda: torch.stack([chain(theta) for theta in starts])


def ours(starts: Tensor, draws: int) -> Callable[[], Tensor]:
    """bdlcore's sampler on bdlcore's gradients."""
    return _sample_hmc(bdl.LogPosterior(problem.model(), *problem.data()), starts, draws)


def on_vmap(starts: Tensor, draws: int) -> Callable[[], Tensor]:
    """bdlcore's sampler on gradients by torch.func.vmap."""
    vmapped = torch.func.vmap(torch.func.grad_and_value(problem.torch_log_joint()))
    return _sample_hmc(lambda theta: vmapped(theta)[::-1], starts, draws)


def _sample_hmc(density: Callable, starts: Tensor, draws: int) -> Callable[[], Tensor]:
    settings = {"warmup": 0, "leapfrog_steps": LEAPFROG_STEPS, "step_size": STEP_SIZE}
    rows = range(len(starts))
    return lambda: bdl.sample_hmc(density, starts, draws, random=RowRandom(0, rows), **settings).draws


def blackjax(starts: Tensor, draws: int) -> Callable[[], Tensor]:
    """BlackJAX: its HMC kernel in vmap, scan and jit, as its documentation shows."""
    import jax
    from blackjax import hmc

    kernel = hmc(problem.jax_log_joint(), STEP_SIZE, jax.numpy.ones(starts.shape[1]), LEAPFROG_STEPS)

    def chain(key, position):
        def step(state, key):
            state, _ = kernel.step(key, state)
            return state, state.position

        return jax.lax.scan(step, kernel.init(position), jax.random.split(key, draws))[1]

    return _jitted(jax.vmap(chain), starts)


def numpyro(starts: Tensor, draws: int) -> Callable[[], Tensor]:
    """NumPyro: its HMC kernel in scan and jit, since `MCMC.run` compiles anew at every call.

    Without trajectory_length=None it would silently use the step size 2 pi / num_steps.
    """
    import jax
    from numpyro.infer import HMC

    log_joint = problem.jax_log_joint()
    kernel = HMC(
        potential_fn=lambda theta: -log_joint(theta),
        step_size=STEP_SIZE,
        num_steps=LEAPFROG_STEPS,
        trajectory_length=None,
        adapt_step_size=False,
        adapt_mass_matrix=False,
    )

    def chain(keys, positions):
        def step(state, _):
            state = kernel.sample(state, (), {})
            return state, state.z

        state = kernel.init(keys, 0, init_params=positions, model_args=(), model_kwargs={})
        return jax.numpy.moveaxis(jax.lax.scan(step, state, length=draws)[1], 0, 1)

    return _jitted(chain, starts)


def _jitted(chains: Callable, starts: Tensor) -> Callable[[], Tensor]:
    import jax
    import numpy as np

    fast, positions = jax.jit(chains), jax.numpy.asarray(starts.numpy())
    keys = jax.random.split(jax.random.PRNGKey(0), len(starts))
    return lambda: torch.from_numpy(np.array(fast(keys, positions)))


def pyro(starts: Tensor, draws: int) -> Callable[[], Tensor]:
    """Pyro, chain after chain, with a potential function: twice as fast as with a Pyro model."""
    from pyro.infer import HMC, MCMC

    log_joint = problem.torch_log_joint()

    def chain(theta: Tensor) -> Tensor:
        kernel = HMC(
            potential_fn=lambda z: -log_joint(z["theta"]),
            step_size=STEP_SIZE,
            num_steps=LEAPFROG_STEPS,
            adapt_step_size=False,
            adapt_mass_matrix=False,
        )
        mcmc = MCMC(
            kernel, draws, warmup_steps=0, initial_params={"theta": theta.clone()}, disable_progbar=True
        )
        mcmc.run()
        return mcmc.get_samples()["theta"]

    return lambda: torch.stack([chain(theta) for theta in starts])


def hamiltorch(starts: Tensor, draws: int) -> Callable[[], Tensor]:
    """hamiltorch, chain after chain, with a flat log density: nearly three times as fast as `sample_model`."""
    from hamiltorch import sample

    log_joint = problem.torch_log_joint()
    settings = {"num_samples": draws, "step_size": STEP_SIZE, "num_steps_per_sample": LEAPFROG_STEPS}

    def chain(theta: Tensor) -> Tensor:
        return torch.stack(sample(log_joint, theta.clone(), burn=-1, verbose=False, **settings)[-draws:])

    return lambda: torch.stack([chain(theta) for theta in starts])


# name -> sampler, the package it needs, whether it runs chain after chain
SAMPLERS: dict[str, tuple[Sampler, str, bool]] = {
    LOOP: (by_hand, "torch", True),
    "hamiltorch": (hamiltorch, "hamiltorch", True),
    "Pyro": (pyro, "pyro", True),
    "BlackJAX, compiled": (blackjax, "blackjax", False),
    "NumPyro, compiled": (numpyro, "numpyro", False),
    "bdlcore on vmap gradients": (on_vmap, "torch", False),
    "bdlcore": (ours, "torch", False),
}


def contestant(name: str, starts: Tensor, draws: int) -> Contestant:
    """Makes draws and returns the number of gradients that took. Chain after chain, four stand for all."""
    sampler, package, one_by_one = SAMPLERS[name]
    if not find_spec(package):
        return "not installed"
    make = sampler(starts[:4] if one_by_one else starts, draws)
    return lambda: make().shape[:2].numel() * LEAPFROG_STEPS


def effective_samples(name: str, chains: int, warmup: int, draws: int) -> tuple[float, float]:
    """Smallest ESS of a function value per 1000 gradients after the warm-up, and largest R-hat."""
    sampler, _, one_by_one = SAMPLERS[name]
    theta = sampler(problem.starts(chains // 8 if one_by_one else chains), warmup + draws)()[:, warmup:]
    model, x = problem.model(), torch.linspace(-1.5, 1.5, 20)[:, None]
    f = model.functions(bdl.Stack(theta.flatten(0, 1), model.layout), x).unflatten(0, theta.shape[:2])
    gradients = theta.shape[:2].numel() * LEAPFROG_STEPS
    return bdl.ess(f).min().item() / gradients * 1000, bdl.rhat(f).max().item()


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Race the samplers for every number of chains, then measure the effective samples of each once."""
    cases = {}
    for chains in CHAINS[:1] if quick else CHAINS:
        starts, draws = problem.starts(chains), 1 if quick else max(1, 16 // chains)
        field = {name: contestant(name, starts, draws) for name in SAMPLERS}
        rounds, seconds = (1, 0.01) if quick else (3 if chains == 512 else 5, 0.5)
        case = f"{chains} chain{'s' * (chains > 1)}"
        cases[case] = race(field, rounds=rounds, seconds=seconds, clock=clock)
    rows, text = table(cases, base=LOOP)
    case, speeds = list(cases.items())[0 if quick else 2]
    size = (8, 0, 4) if quick else (64, 20, 80)
    text += f"\n\n| {case} | ESS per 1000 gradients | largest R-hat | ESS per second | bdlcore is faster by |"
    text += "\n|---|---:|---:|---:|---:|"
    yields = {}
    for name, found in speeds.items():
        if isinstance(found, str):
            text += f"\n| {name} | {found} | – | – | – |"
            continue
        per_1000, worst = yields[name] = effective_samples(name, *size)
        # every row makes the same transitions, so their differences in ESS per gradient are Monte Carlo error
        faster = statistics.median(o / s for o, s in zip(speeds["bdlcore"], found, strict=True))
        text += f"\n| {name} | {per_1000:.2g} | {worst:.3f} | {short(per_1000 / 1000 * best(found))} | ×{faster:.2g} |"
    text += (
        "\n\nIn brackets: how many times the loop's speed, median over rounds taken in turns. Samplers that run chain "
        "after chain are timed on at most 4 of the chains. All make the same transitions: differences in ESS per "
        "gradient are Monte Carlo error, and the last column compares gradients per second."
    )
    return {"title": TITLE, "rows": rows, "effective samples": yields, "text": text}
