"""Langevin dynamics and Hamiltonian Monte Carlo on minibatches: every step is accepted, so steps must be small."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .._support import validate
from .._support.progress import Interruptible, progress
from .._support.randomness import RowRandom
from ..models.log_posterior import Temperature
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Stack
from .optimise import LOOKS
from .posterior import Posterior
from .run import Run
from .schedules import Plan, Schedule
from .starts import largest_curvature

_WIDENING = (
    0.25  # a step size chosen here makes the variance 1 / (1 - 0.25) of the right one, where it is worst
)


def sgld_step(theta: Tensor, gradient: Tensor, step_size: Tensor, noise: Tensor) -> Tensor:
    """theta + eps/2 grad log p(theta) + sqrt(eps) noise, for noise ~ N(0, I) (Welling & Teh 2011, eq. 4).

    Args:
        theta, gradient, noise: (S, D); the gradient may be estimated from a minibatch.
        step_size: (S,) eps.
    """
    eps = step_size[:, None]
    return theta + 0.5 * eps * gradient + eps.sqrt() * noise


def sghmc_step(
    theta: Tensor, momentum: Tensor, gradient: Tensor, step_size: Tensor, friction: float, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of Hamiltonian dynamics with friction (Chen, Fox & Guestrin 2014, Algorithm 2 with C = friction / h).

        p  <-  (1 - friction) p + h grad log p(theta) + sqrt(2 friction) noise
        theta  <-  theta + h p

    It is SGD with momentum 1 - friction and learning rate h^2, plus noise; with friction 1 it is SGLD with
    eps = 2 h^2. The friction takes out the energy that the noise puts in.

    Args:
        theta, momentum, gradient, noise: (S, D); the gradient may be estimated from a minibatch.
        step_size: (S,) h.
        friction: share of the momentum that is lost in a step.

    Returns:
        theta and momentum, (S, D) each.
    """
    h = step_size[:, None]
    momentum = (1 - friction) * momentum + h * gradient + math.sqrt(2 * friction) * noise
    return theta + h * momentum, momentum


def sgld(
    model: Model,
    x: Data,
    y: Tensor | None = None,
    *,
    chains: int | range = 8,
    draws: int = 200,
    warmup: int = 1000,
    thinning: int = 10,
    step_size: float | Tensor | None = None,
    schedule: str | Schedule = "constant",
    cycles: int = 1,
    batch_size: int | None = None,
    temperature: Temperature = 1.0,
    likelihood_temperature: Temperature = 1.0,
    initial: Stack | None = None,
    initial_steps: int = 300,
    probe: Tensor | None = None,
    chunk_size: int | None = None,
    seed: int | torch.Generator = 0,
) -> Posterior:
    """Draw from the posterior by stochastic-gradient Langevin dynamics (Welling & Teh 2011), vectorised over chains.

        theta  <-  theta + eps/2 grad log p(theta | D) + sqrt(eps) N(0, I)

    with the gradient of the tempered density of `LogPosterior` in whitened weights, so that temperature T
    enters once and the noise knows nothing of it; on a minibatch the log likelihood counts N / batch_size
    times. No step is rejected, so draws are exact only as eps -> 0. In a direction of curvature c their
    variance is too large by the factor 1 / (1 - eps c / 4), and the noise of minibatches, which has the
    variance V of the gradient estimate, adds eps V / 4 in the same way. `configurational_temperature`
    of the result measures both together; R-hat cannot see them. Chains share the order of the minibatches.

    Args:
        model: network, prior, likelihood.
        x, y: data, (N, ...) and (N,) or (N, C); or a `Dataset` or `DataLoader` of both.
        draws: draws kept per chain, over all cycles.
        warmup: steps discarded at the start of each cycle.
        thinning: steps from one draw to the next; only draws are stored.
        step_size: eps > 0 at the start of a cycle, a number or one per chain. When None, from the curvature
            at the starts so that in the stiffest direction the variance is 4/3 of the right one, on minibatches at most
            (measured 1.33, and 1.02 to 1.15); it is nearer in all others, and a smaller step brings it nearer there.
        schedule: how eps falls over a cycle: "constant", "polynomial" ((1 + 100 r)^-0.55), "cosine" (to 0), or a
            function of the share r in [0, 1) of the cycle that has passed. Draws are not weighted by their step.
        cycles: restarts of the schedule; draws come only from the late part, after `warmup`, of each. With
            "cosine" this is the cyclical SGLD of Zhang et al. (2020), except that their warm-up has no noise.
        chains, batch_size, temperature, likelihood_temperature, initial, initial_steps, probe, chunk_size, seed: see
            `bdlcore.inference.run`.

    Returns:
        Posterior whose stack has chains * draws rows; without chains that ran off to infinity, which a warning names.
        Raises RuntimeError when all did.
    """
    plan = Plan(draws, warmup, thinning, cycles, schedule)
    settings = {
        "temperature": temperature,
        "likelihood_temperature": likelihood_temperature,
        "batch_size": batch_size,
        "chunk_size": chunk_size,
        "probe": probe,
    }
    run = Run("SGLD", "chain", model, x, y, chains, seed, **settings, kept=draws)
    return _sample(run, None, plan, step_size, initial, initial_steps)


def sghmc(
    model: Model,
    x: Data,
    y: Tensor | None = None,
    *,
    friction: float = 0.05,
    chains: int | range = 8,
    draws: int = 200,
    warmup: int = 1000,
    thinning: int = 10,
    step_size: float | Tensor | None = None,
    schedule: str | Schedule = "constant",
    cycles: int = 1,
    batch_size: int | None = None,
    temperature: Temperature = 1.0,
    likelihood_temperature: Temperature = 1.0,
    initial: Stack | None = None,
    initial_steps: int = 300,
    probe: Tensor | None = None,
    chunk_size: int | None = None,
    seed: int | torch.Generator = 0,
) -> Posterior:
    """Draw from the posterior by stochastic-gradient HMC with friction (Chen, Fox & Guestrin 2014), over chains.

        p  <-  (1 - friction) p + h grad log p(theta | D) + sqrt(2 friction) N(0, I)
        theta  <-  theta + h p

    with the same density, minibatches and exactness as h -> 0 as `sgld`; momentum lets a chain travel about
    h / friction in one direction, where SGLD would walk at random. In a direction of curvature c the variance
    is too large by 1 / (1 - h^2 c / (2 (2 - friction))), and the noise of minibatches of variance V adds
    h^2 V / (2 friction): less friction needs smaller steps or larger batches.

    Args:
        friction: share of the momentum lost per step, in (0, 1]; 1 is SGLD with eps = 2 h^2.
        step_size: h, in the units of HMC's leapfrog step; `schedule` multiplies h^2, the learning rate.
            When None, chosen as in `sgld`.

    The other arguments and what is returned are those of `sgld`.
    """
    if not 0 < friction <= 1:
        raise ValueError(
            f"friction must lie in (0, 1], got {friction}. 1 is Langevin dynamics, 0.01 to 0.1 usual."
        )
    plan = Plan(draws, warmup, thinning, cycles, schedule)
    settings = {
        "temperature": temperature,
        "likelihood_temperature": likelihood_temperature,
        "batch_size": batch_size,
        "chunk_size": chunk_size,
        "probe": probe,
    }
    run = Run("SGHMC", "chain", model, x, y, chains, seed, **settings, kept=draws)
    return _sample(run, friction, plan, step_size, initial, initial_steps)


def _sample(
    run: Run,
    friction: float | None,
    plan: Plan,
    step_size: float | Tensor | None,
    initial: Stack | None,
    initial_steps: int,
) -> Posterior:
    """SGHMC, or SGLD when friction is None."""
    if step_size is not None:
        validate.positive("step_size", step_size)
        run.per_row(step_size=step_size)
    theta = run.start(initial, initial_steps)
    if step_size is None:
        step_size = _cautious_step(largest_curvature(run, theta), friction, run.share)
    step_size = torch.as_tensor(step_size).to(theta).expand(len(run.rows))
    advice = f"use a smaller step_size than {step_size.min().item():.3g}, or more initial_steps."

    noise, batches, judges = _noise(run.random(1), theta.shape[1]), run.batches(2), run.batches(6)
    centre, momentum, pull = theta, torch.zeros_like(theta), torch.zeros_like(step_size)
    kept = theta.new_empty(len(theta), plan.draws, theta.shape[1])
    log_density = theta.new_empty(len(theta), plan.draws)
    done, evaluations, died = 0, 1, torch.full_like(step_size, -1, dtype=torch.long)
    with Interruptible(lambda: f"returning the {done} of {plan.draws} draws made so far." if done else ""):
        value, gradient = next(batches)(theta)
        for step in progress(plan.steps, f"{run.method}, {len(theta)} chains"):
            factor = plan.factor(step)
            if friction is None:
                theta = sgld_step(theta, gradient, step_size * factor, next(noise))
            else:
                size = step_size * math.sqrt(factor)
                theta, momentum = sghmc_step(theta, momentum, gradient, size, friction, next(noise))
            value, gradient = next(batches)(theta)
            evaluations += 1
            died = torch.where((died < 0) & ~torch.isfinite(value), step, died)  # without waiting for a GPU
            if step % LOOKS == 0 and (died >= 0).all():
                break
            if plan.keeps(step):
                slope = gradient
                if run.share < 1:  # a batch of its own, since theta remembers those of its epoch
                    value, slope = next(judges)(theta)
                    evaluations += 1
                kept[:, done], log_density[:, done] = theta, value
                pull -= ((theta - centre) * slope).sum(1)
                done += 1
    alive = run.surviving(died, "log density", advice)
    kept = kept[alive, :done]
    return run.posterior(
        Stack(kept.flatten(0, 1), run.model.layout),
        evaluations * run.share,
        step_size=step_size[alive],
        log_density=log_density[alive, :done],
        configurational_temperature=pull[alive] / (done * theta.shape[1]),
        **run.mixing(kept),
    )


def _noise(random: RowRandom, D: int) -> Iterator[Tensor]:
    """Without end, normal numbers (S, D); drawn for several steps at a time where D is small, for speed."""
    steps = max(1, 1000 // D)
    while True:
        yield from random.normal(steps * D).unflatten(1, (steps, D)).unbind(1)


def _cautious_step(curvature: Tensor, friction: float | None, share: float) -> Tensor:
    """Step sizes (S,) whose draws have 1 / (1 - _WIDENING) times the right variance, where it is worst.

    Near a mode the gradient from n of N data has a variance of about curvature * N/n, which with the formulas of
    `sgld` and `sghmc` gives the relative widening. Going through shuffled data in turn, noise cancels in
    part: by measurement about 0.4 of it is left.
    """
    noise = 0.0 if share == 1 else 0.4 / share
    if friction is None:
        return _WIDENING / (curvature * (1 + noise) / 4)
    return (_WIDENING / (curvature * (0.5 / (2 - friction) + 0.5 * noise / friction))).sqrt()
