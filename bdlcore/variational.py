"""Mean-field variational inference: the independent Gaussian that is closest to the posterior."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _validate
from ._chains import require_finite, starting_points
from ._progress import progress
from .densities import LogPosterior, Temperature
from .ensembles import _Adam
from .models import Model
from .posteriors import Posterior
from .randomness import RowRandom, as_seed, generator
from .stacks import Layout, Stack


@dataclass(frozen=True, eq=False)
class MeanField:
    """R independent Gaussians q_r = N(mean_r, diag(std_r^2)) over whitened weights; together an equal mixture.

    Attributes:
        mean, std: (R, D).
        layout: what the D columns are.
    """

    mean: Tensor
    std: Tensor
    layout: Layout

    def sample(self, draws: int, seed: int | torch.Generator) -> Stack:
        """R * draws settings, those of the first Gaussian first."""
        return _sample(self, draws, seed, range(len(self.mean)))


def mean_field_vi(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    runs: int | range = 1,
    draws: int = 200,
    steps: int = 2000,
    samples: int = 8,
    lr: float = 0.05,
    batch_size: int | None = None,
    temperature: Temperature = 1.0,
    likelihood_temperature: Temperature = 1.0,
    initial: Stack | None = None,
    initial_steps: int = 300,
    initial_std: float = 0.1,
    chunk_size: int | None = None,
    seed: int | torch.Generator = 0,
) -> Posterior:
    """Fit q = N(mu, diag(sigma^2)) in whitened weights by maximising the evidence lower bound.

        ELBO(mu, sigma) = E_q[log p_T(theta)] + entropy(q),     log p_T as in `LogPosterior`,

    with theta = mu + sigma * eps, eps ~ N(0, I) (Kingma & Welling 2014; Blundell et al. 2015), so that
    one gradient g of the log density per sample gives those of mu and log sigma,

        d/dmu = g,      d/dlog sigma = g * eps * sigma + 1.

    This minimises KL(q || p_T), whatever the temperature: at T = T_lik = 1 the ELBO is at most the log evidence.
    For other temperatures it is at most the log of the normaliser of the tempered density, with the entropy
    at weight 1; `likelihood_temperature` T_lik is what is also written as a weight T_lik on KL(q || prior).

    What is lost: for a Gaussian posterior with precision matrix A the optimum has the right mean and the
    variances 1 / A_dd, never more than the right (A^-1)_dd. Between modes it finds one.

    Args:
        model: network, prior, likelihood.
        x, y: data, (N, ...) and (N,) or (N, C).
        runs: independent fits, optimised as one stack, or a range of them as for chains in `hmc`. Together
            they are a mixture with equal weights.
        draws: draws from each fit in the stack that is returned.
        steps: Adam steps.
        samples: Monte Carlo samples of theta per step and run.
        lr: first learning rate of Adam, falling to 0 as a cosine.
        batch_size: data per step; all when None.
        temperature, likelihood_temperature: see `LogPosterior`; numbers or one per run.
        initial: stack of one row per run to start mu from; else prior draws are optimised first.
        initial_steps: optimisation steps from the prior draws; 0 starts at them.
        initial_std: first sigma of every weight, in prior standard deviations.
        chunk_size: rows (runs times samples) per pass, bounds memory.
        seed: run i uses its own generator, seeded by (seed, i).

    Returns:
        Posterior with runs * draws rows, the ELBO of every step and the `MeanField` as `approximation`. Raises
        RuntimeError when the ELBO of a run becomes NaN.
    """
    start, seed, rows = time.perf_counter(), as_seed(seed), _validate.rows("runs", runs)
    R, D = len(rows), model.layout.dim
    steps, samples = _validate.count("steps", steps), _validate.count("samples", samples)
    draws = _validate.count("draws", draws)
    _validate.positive("lr", lr)
    _validate.positive("initial_std", initial_std)
    density = LogPosterior(model, x, y, temperature, likelihood_temperature, chunk_size)
    share = 1.0 if batch_size is None else min(_validate.count("batch_size", batch_size) / len(x), 1.0)
    temperatures = {}
    for name in ("temperature", "likelihood_temperature"):
        value = getattr(density, name)
        _validate.per_row(name, value, R)
        temperatures[name] = (
            value.expand(R).repeat_interleave(samples) if isinstance(value, Tensor) else value
        )
    mu, loss = starting_points(
        density,
        rows,
        seed,
        name="run",
        initial=initial,
        steps=initial_steps,
        batch_size=batch_size,
        shuffle=generator(seed, 5),
    )
    density = LogPosterior(model, x, y, **temperatures, chunk_size=chunk_size)
    batches = density.batches(batch_size, generator(seed, 2))
    parameters = torch.stack([mu, torch.full_like(mu, math.log(initial_std))])
    mu, log_std = parameters
    adam, gradient = _Adam(parameters), torch.empty_like(parameters)
    random = RowRandom(seed, rows, stream=1, dtype=x.dtype, device=x.device)
    entropy_of_unit = 0.5 * D * (1 + math.log(2 * math.pi))
    advice = f"use a smaller lr than {lr}, a smaller initial_std or more initial_steps."
    elbo: list[Tensor] = []
    try:
        for step in progress(steps, f"mean-field VI, {R} runs"):
            eps = random.normal(samples * D).view(R, samples, D)
            std = log_std.exp()
            theta = torch.addcmul(mu[:, None], std[:, None], eps)
            value, g = next(batches)(theta.flatten(0, 1))
            elbo.append(value.view(R, samples).mean(1) + log_std.sum(1) + entropy_of_unit)
            require_finite(elbo[-1], "The ELBO of run(s)", step, advice)
            g = g.view_as(theta)
            torch.mean(g, 1, out=gradient[0])
            torch.mean(g.mul_(eps), 1, out=gradient[1])
            gradient[1].mul_(std).add_(1)
            adam.step(gradient.neg_(), lr * 0.5 * (1 + math.cos(math.pi * step / steps)))
    except KeyboardInterrupt:
        if not elbo:
            raise
        warnings.warn(f"Interrupted after {len(elbo)} of {steps} steps: returning q as it is.", stacklevel=2)
    q = MeanField(mu.clone(), log_std.exp(), model.layout)
    return Posterior(
        stack=_sample(q, draws, seed, rows),
        method="mean-field VI",
        seconds=time.perf_counter() - start,
        gradient_evaluations=math.ceil((len(loss) + len(elbo) * samples) * R * share),
        chains=R,
        elbo=torch.stack(elbo),
        approximation=q,
    )


def _sample(q: MeanField, draws: int, seed: int | torch.Generator, rows: range) -> Stack:
    R, D = q.mean.shape
    random = RowRandom(seed, rows, stream=3, dtype=q.mean.dtype, device=q.mean.device)
    eps = random.normal(_validate.count("draws", draws) * D).view(R, draws, D)
    return Stack((q.mean[:, None] + q.std[:, None] * eps).flatten(0, 1), q.layout)
