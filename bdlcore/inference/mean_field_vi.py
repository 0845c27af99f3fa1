"""Mean-field variational inference: the independent Gaussian that is closest to the posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._support import validate
from .._support.adam import Adam
from .._support.devices import LOOKS
from .._support.progress import Interruptible, progress
from ..models.log_posterior import Temperature
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Stack
from .approximations import MeanField
from .posterior import Posterior
from .run import Run, when_it_broke


def mean_field_vi(
    model: Model,
    x: Data,
    y: Tensor | None = None,
    *,
    members: int | range = 1,
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
        x, y: data, (N, ...) and (N,) or (N, C); or a `Dataset` or `DataLoader` of both.
        members: independent fits, optimised as one stack; together they are a mixture with equal weights.
        draws: draws from each fit in the stack that is returned.
        steps: Adam steps.
        samples: Monte Carlo samples of theta per step and member.
        lr: first learning rate of Adam, falling to 0 as a cosine.
        initial: as below; one row per member to start mu from.
        initial_std: first sigma of every weight, in prior standard deviations.
        chunk_size: rows (members times samples) per pass, bounds memory.
        batch_size, temperature, likelihood_temperature, initial_steps, seed: see `bdlcore.inference.run`.

    Returns:
        Posterior with members * draws rows, the ELBO of every step and the `MeanField` as `approximation`; without
        members whose ELBO became NaN, which a warning names. Raises RuntimeError when it did for all.
    """
    steps, samples = validate.count("steps", steps), validate.count("samples", samples)
    draws = validate.count("draws", draws)
    validate.positive("lr", lr)
    validate.positive("initial_std", initial_std)
    tempering = {"temperature": temperature, "likelihood_temperature": likelihood_temperature}
    sizes = {"batch_size": batch_size, "chunk_size": chunk_size}
    run = Run("mean-field VI", "member", model, x, y, members, seed, **tempering, **sizes, kept=draws)
    M, D = len(run.rows), model.layout.dim
    mu = run.start(initial, initial_steps)
    repeated = {
        name: value.expand(M).repeat_interleave(samples) if isinstance(value, Tensor) else value
        for name, value in tempering.items()
    }
    run.density = run.density.at(**repeated)
    batches, random = run.batches(2), run.random(1)
    parameters = torch.stack([mu, torch.full_like(mu, math.log(initial_std))])
    mu, log_std = parameters
    adam, gradient = Adam(parameters), torch.empty_like(parameters)
    entropy_of_unit = 0.5 * D * (1 + math.log(2 * math.pi))
    advice = f"use a smaller lr than {lr}, a smaller initial_std or more initial_steps."
    elbo: list[Tensor] = []
    with Interruptible(
        lambda: f"{len(elbo)} of {steps} steps are done: returning q as it is." if elbo else ""
    ):
        for step in progress(steps, f"mean-field VI, {M} members"):
            eps = random.normal(samples * D).view(M, samples, D)
            std = log_std.exp()
            theta = torch.addcmul(mu[:, None], std[:, None], eps)
            value, g = next(batches)(theta.flatten(0, 1))
            elbo.append(value.view(M, samples).mean(1) + log_std.sum(1) + entropy_of_unit)
            g = g.view_as(theta)
            torch.mean(g, 1, out=gradient[0])
            torch.mean(g.mul_(eps), 1, out=gradient[1])
            gradient[1].mul_(std).add_(1)
            adam.step(gradient.neg_(), lr * 0.5 * (1 + math.cos(math.pi * step / steps)))
            if step % LOOKS == 0 and not torch.isfinite(elbo[-1]).any():
                break
    curve = torch.stack(elbo)
    alive = run.surviving(when_it_broke(curve), "ELBO", advice)
    q = MeanField(mu[alive], log_std[alive].exp(), model.layout)
    return run.posterior(
        q.sample(draws, run.seed, members=run.rows),
        len(elbo) * samples * run.share,
        elbo=curve[:, alive],
        approximation=q,
    )
