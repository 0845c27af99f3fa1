"""Langevin dynamics and Hamiltonian Monte Carlo on minibatches: every step is accepted, so steps must be small."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _validate
from ._chains import convergence, largest_curvature, probe_or_spread, require_finite, starting_points
from ._progress import progress
from .densities import LogPosterior, Temperature
from .models import Model
from .posteriors import Posterior
from .randomness import RowRandom, as_seed, generator
from .stacks import Stack

Schedule = Callable[[float], float]
# The share of a cycle that has passed, in [0, 1) -> the factor of the first step size.
SCHEDULES: dict[str, Schedule] = {
    "constant": lambda r: 1.0,
    "polynomial": lambda r: (1 + 100 * r) ** -0.55,  # Welling & Teh: a (b + t)^-gamma, gamma = 0.55
    "cosine": lambda r: 0.5 * (1 + math.cos(math.pi * r)),
}
_WIDENING = 0.25  # what a step size chosen here adds to the variance in the stiffest direction


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
    x: Tensor,
    y: Tensor,
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
        x, y: data, (N, ...) and (N,) or (N, C).
        chains: number of chains, or a range of them: range(8, 16) computes chains 8 to 15 of the same run.
        draws: draws kept per chain, over all cycles.
        warmup: steps discarded at the start of each cycle.
        thinning: steps from one draw to the next; only draws are stored.
        step_size: eps > 0 at the start of a cycle, a number or one per chain. When None, from the curvature
            at the starts so that the two factors above come to about 1.1 in the stiffest direction.
        schedule: how eps falls over a cycle: "constant", "polynomial" ((1 + 100 r)^-0.55), "cosine" (to 0), or a
            function of the share r in [0, 1) of the cycle that has passed. Draws are not weighted by their step.
        cycles: restarts of the schedule; draws come only from the late part, after `warmup`, of each. With
            "cosine" this is the cyclical SGLD of Zhang et al. (2020), except that their warm-up has no noise.
        batch_size: data per step; all when None.
        temperature, likelihood_temperature: see `LogPosterior`; numbers or one per chain.
        initial: stack of one row per chain to start from; else prior draws are optimised first.
        initial_steps: optimisation steps from the prior draws; 0 starts at them.
        probe: inputs at which R-hat and ESS of the functions are computed; spread over x when None.
        chunk_size: chains per pass, bounds memory.
        seed: chain i uses its own generator, seeded by (seed, i).

    Returns:
        Posterior whose stack has chains * draws rows. Raises RuntimeError when a chain runs off to infinity.
    """
    density = LogPosterior(model, x, y, temperature, likelihood_temperature, chunk_size)
    plan = _Plan(draws, warmup, thinning, cycles, schedule)
    return _sample(
        "SGLD", None, density, plan, chains, step_size, batch_size, initial, initial_steps, probe, seed
    )


def sghmc(
    model: Model,
    x: Tensor,
    y: Tensor,
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
    density = LogPosterior(model, x, y, temperature, likelihood_temperature, chunk_size)
    plan = _Plan(draws, warmup, thinning, cycles, schedule)
    return _sample(
        "SGHMC", friction, density, plan, chains, step_size, batch_size, initial, initial_steps, probe, seed
    )


@dataclass(frozen=True)
class _Plan:
    """Which steps of a run are kept, and how their size falls; the arguments of `sgld` of the same names."""

    draws: int
    warmup: int
    thinning: int
    cycles: int
    schedule: str | Schedule

    def __post_init__(self):
        for name, minimum in (("draws", 1), ("warmup", 0), ("thinning", 1), ("cycles", 1)):
            _validate.count(name, getattr(self, name), minimum)
        if self.draws % self.cycles:
            raise ValueError(
                f"draws must be a multiple of cycles, got {self.draws} draws in {self.cycles} cycles."
            )
        if not callable(self.schedule) and self.schedule not in SCHEDULES:
            raise ValueError(
                f"schedule must be one of {', '.join(SCHEDULES)} or a function, got {self.schedule!r}."
            )

    @property
    def steps_per_cycle(self) -> int:
        return self.warmup + self.draws // self.cycles * self.thinning

    @property
    def steps(self) -> int:
        return self.cycles * self.steps_per_cycle

    def factor(self, step: int) -> float:
        """What the first step size is multiplied by at this step."""
        schedule = self.schedule if callable(self.schedule) else SCHEDULES[self.schedule]
        share = step % self.steps_per_cycle / self.steps_per_cycle
        factor = schedule(share)
        if not 0 < factor < math.inf:
            raise ValueError(f"schedule({share:.3g}) gave {factor}; it must return positive factors.")
        return factor

    def keeps(self, step: int) -> bool:
        """Is the state after this step a draw?"""
        past_warmup = step % self.steps_per_cycle - self.warmup + 1
        return past_warmup > 0 and past_warmup % self.thinning == 0


def _sample(
    method: str,
    friction: float | None,
    density: LogPosterior,
    plan: _Plan,
    chains: int | range,
    step_size: float | Tensor | None,
    batch_size: int | None,
    initial: Stack | None,
    initial_steps: int,
    probe: Tensor | None,
    seed: int | torch.Generator,
) -> Posterior:
    """SGHMC, or SGLD when friction is None."""
    start, seed, rows = time.perf_counter(), as_seed(seed), _validate.rows("chains", chains)
    model, x = density.model, density.x
    for name, value in [
        ("step_size", step_size),
        ("temperature", density.temperature),
        ("likelihood_temperature", density.likelihood_temperature),
    ]:
        _validate.per_row(name, value, len(rows))
    if step_size is not None:
        _validate.positive("step_size", step_size)
    share = 1.0 if batch_size is None else min(_validate.count("batch_size", batch_size) / len(x), 1.0)
    probe = probe_or_spread(model, x, probe)

    theta, loss = starting_points(
        density,
        rows,
        seed,
        name="chain",
        initial=initial,
        steps=initial_steps,
        batch_size=batch_size,
        shuffle=generator(seed, 5),
    )
    gradients = len(loss) * share  # per chain, in gradients on all the data
    if step_size is None:
        curvature, cost = largest_curvature(density, theta, seed, rows)
        step_size, gradients = _cautious_step(curvature, friction, share), gradients + cost
    step_size = torch.as_tensor(step_size).to(theta).expand(len(rows))
    advice = f"use a smaller step_size than {step_size.min().item():.3g}, or more initial_steps."

    noise = _noise(RowRandom(seed, rows, stream=1, dtype=x.dtype, device=x.device), theta.shape[1])
    batches = density.batches(batch_size, generator(seed, 2))
    judges = density.batches(batch_size, generator(seed, 6))
    centre, momentum, pull = theta, torch.zeros_like(theta), torch.zeros_like(step_size)
    kept = theta.new_empty(len(rows), plan.draws, theta.shape[1])
    log_density = theta.new_empty(len(rows), plan.draws)
    done = 0
    try:
        value, gradient = next(batches)(theta)
        gradients += share
        for step in progress(plan.steps, f"{method}, {len(rows)} chains"):
            factor = plan.factor(step)
            if friction is None:
                theta = sgld_step(theta, gradient, step_size * factor, next(noise))
            else:
                size = step_size * math.sqrt(factor)
                theta, momentum = sghmc_step(theta, momentum, gradient, size, friction, next(noise))
            value, gradient = next(batches)(theta)
            gradients += share
            require_finite(value, f"The log density of {method} chain(s)", step, advice)
            if plan.keeps(step):
                slope = gradient
                if share < 1:  # a batch of its own, since theta remembers those of its epoch
                    value, slope = next(judges)(theta)
                    gradients += share
                kept[:, done], log_density[:, done] = theta, value
                pull -= ((theta - centre) * slope).sum(1)
                done += 1
    except KeyboardInterrupt:
        if done == 0:
            raise
        warnings.warn(f"Interrupted: returning the {done} of {plan.draws} draws made so far.", stacklevel=3)
        kept, log_density = kept[:, :done], log_density[:, :done]
    measures = convergence(model, kept, probe)
    return Posterior(
        stack=Stack(kept.flatten(0, 1), model.layout),
        method=method,
        seconds=time.perf_counter() - start,
        gradient_evaluations=round(gradients * len(rows)),
        chains=len(rows),
        step_size=step_size,
        log_density=log_density,
        configurational_temperature=pull / (done * theta.shape[1]),
        **measures,
    )


def _noise(random: RowRandom, D: int) -> Iterator[Tensor]:
    """Without end, normal numbers (S, D); drawn for several steps at a time where D is small, for speed."""
    steps = max(1, 1000 // D)
    while True:
        yield from random.normal(steps * D).unflatten(1, (steps, D)).unbind(1)


def _cautious_step(curvature: Tensor, friction: float | None, share: float) -> Tensor:
    """Step sizes (S,) whose draws have a variance of about 1 + _WIDENING times the right one, where it is worst.

    Near a mode the gradient from n of N data has a variance of about curvature * N/n, which with the formulas of
    `sgld` and `sghmc` gives the relative widening. Going through shuffled data in turn, noise cancels in
    part: by measurement about 0.4 of it is left.
    """
    noise = 0.0 if share == 1 else 0.4 / share
    if friction is None:
        return _WIDENING / (curvature * (1 + noise) / 4)
    return (_WIDENING / (curvature * (0.5 / (2 - friction) + 0.5 * noise / friction))).sqrt()
