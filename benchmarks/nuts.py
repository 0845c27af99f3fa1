"""Static HMC against NUTS: are longer paths that end where they turn back, and a mass for each weight, worth it here?

bdlcore's HMC adapts a step size per chain and takes paths of so many steps, whose size it varies at random. NumPyro's
NUTS chooses the length of every path, and in windows of its warm-up adapts a diagonal mass matrix as well. Both start
at the same places and are judged by function values at 20 inputs: bulk and tail ESS, after the warm-up, per gradient.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import torch

import bdlcore as bdl

from . import problem
from .report import short

TITLE = "Static HMC and NUTS, 1-50-50-1 tanh network, 100 points"
PATHS = (25, 50, 100)  # leapfrog steps
DEPTH = 8  # of NUTS's trees: paths of at most 255 steps; NumPyro's default is 10


def ours(leapfrog_steps: int, chains: int, warmup: int, draws: int) -> tuple[torch.Tensor, int]:
    """Draws (chains, draws, D), and the gradients that they took after the warm-up."""
    model = problem.model()
    start = bdl.Stack(problem.starts(chains), model.layout)
    settings = {"chains": chains, "warmup": warmup, "draws": draws, "leapfrog_steps": leapfrog_steps}
    posterior = bdl.hmc(model, *problem.data(), initial=start, seed=0, **settings)
    return posterior.draws, chains * draws * leapfrog_steps


def numpyro_nuts(chains: int, warmup: int, draws: int) -> tuple[torch.Tensor, int]:
    """The same by NumPyro, all chains at once."""
    import jax
    import numpy as np
    from numpyro.infer import MCMC, NUTS

    log_joint = problem.jax_log_joint()
    kernel = NUTS(potential_fn=lambda theta: -log_joint(theta), max_tree_depth=DEPTH)
    settings = {"num_warmup": warmup, "num_samples": draws, "num_chains": chains, "progress_bar": False}
    run = MCMC(kernel, chain_method="vectorized", **settings)
    starts = jax.numpy.asarray(problem.starts(chains).numpy())
    run.run(jax.random.PRNGKey(0), init_params=starts, extra_fields=("num_steps",))
    theta = torch.from_numpy(np.array(run.get_samples(group_by_chain=True)))
    return theta, int(run.get_extra_fields()["num_steps"].sum())


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Sample with each once, and say what its draws are worth."""
    sizes = (2, 10, 12) if quick else (8, 300, 300)
    samplers = {
        f"bdlcore, {steps} leapfrog steps": lambda steps=steps: ours(steps, *sizes)
        for steps in PATHS[: 1 if quick else None]
    }
    samplers["NumPyro's NUTS"] = lambda: numpyro_nuts(*sizes)
    lines = [
        "| | gradients a draw | bulk ESS per 1000 gradients | tail ESS per 1000 gradients | largest R-hat | seconds |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    rows, model, x = [], problem.model(), torch.linspace(-1.5, 1.5, 20)[:, None]
    for name, sample in samplers.items():
        if "NumPyro" in name and (quick or not find_spec("numpyro")):
            rows.append({"name": name, "missing": "left out" if quick else "not installed"})
            lines.append(f"| {name} | {rows[-1]['missing']} | – | – | – | – |")
            continue
        begun = time.perf_counter()
        theta, gradients = sample()
        seconds = time.perf_counter() - begun
        f = model.functions(bdl.Stack(theta.flatten(0, 1), model.layout), x).unflatten(0, theta.shape[:2])
        bulk, tail = (1000 * size(f).min().item() / gradients for size in (bdl.ess, bdl.tail_ess))
        found = {"gradients a draw": gradients / theta.shape[:2].numel(), "bulk": bulk, "tail": tail}
        rows.append({"name": name, **found, "rhat": bdl.rhat(f).max().item(), "seconds": seconds})
        cells = [short(rows[-1]["gradients a draw"]), f"{bulk:.2g}", f"{tail:.2g}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {rows[-1]['rhat']:.3f} | {seconds:.0f} |")
    chains, warmup, draws = sizes
    text = "\n".join(lines) + (
        f"\n\n{chains} chains, {warmup} steps of warm-up and {draws} draws each; the smallest ESS of 20 functions. "
        "Seconds are those on the clock, warm-up and compilation included. "
        f"NUTS's trees have a depth of at most {DEPTH}."
    )
    return {"title": TITLE, "rows": rows, "text": text}
