"""Evaluations of a log density and its gradient per second, over chains: the inner loop of every sampler."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

import bdlcore as bdl

from . import problem
from .race import Contestant, race
from .report import table

TITLE = "Gradient evaluations per second, 1-50-50-1 tanh network, 100 points"
CHAINS = (1, 8, 64, 512)
LOOP = "loop over chains, autograd"


def contestants(theta: Tensor, quick: bool = False) -> dict[str, Contestant]:
    """Ways to the log joint and its gradient at theta (S, D); `quick` leaves the compilers out."""
    plain = problem.torch_log_joint()
    vmapped = torch.func.vmap(torch.func.grad_and_value(plain))
    ours = bdl.LogPosterior(problem.model(), *problem.data())
    torch.testing.assert_close(ours(theta)[1], vmapped(theta)[0], rtol=1e-3, atol=1e-2)
    return {
        LOOP: lambda: len([problem.value_and_grad(plain, row) for row in theta]),
        "torch.func.vmap": lambda: len(vmapped(theta)[0]),
        "torch.compile of vmap": "left out" if quick else _compiled(vmapped, theta),
        "JAX jit of vmap": "left out" if quick else _jax(theta),
        "bdlcore": lambda: len(ours(theta)[0]),
    }


def _compiled(vmapped: Callable, theta: Tensor) -> Contestant:
    if not shutil.which("g++") and not shutil.which("clang++"):
        return "no C++ compiler"
    fast = torch.compile(vmapped, dynamic=False)
    return lambda: len(fast(theta)[0])


def _jax(theta: Tensor) -> Contestant:
    if not find_spec("jax"):
        return "not installed"
    import jax

    fast = jax.jit(jax.vmap(jax.value_and_grad(problem.jax_log_joint())))
    rows = jax.numpy.asarray(theta.numpy())
    return lambda: len(fast(rows)[1].block_until_ready())


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Race all contestants for every number of chains."""
    rounds, seconds = (2, 0.01) if quick else (7, 0.3)
    cases = {}
    for chains in CHAINS[: 2 if quick else None]:
        field = contestants(problem.model().sample_prior(chains, seed=0).theta, quick)
        case = f"{chains} chain{'s' * (chains > 1)}"
        cases[case] = race(field, rounds=rounds, seconds=seconds, clock=clock)
    rows, text = table(cases, base=LOOP)
    text += f"\n\nIn brackets: how many times the loop's speed, median of {rounds} rounds taken in turns."
    return {"title": TITLE, "rows": rows, "text": text}
