"""Langevin dynamics and Hamiltonian Monte Carlo on minibatches: every step is accepted, so steps must be small."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._support import validate
from .._support.devices import LOOKS
from .._support.progress import Interruptible, progress
from .._support.randomness import RowRandom
from ..models.log_posterior import Temperature
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Stack
from .posterior import Posterior
from .resuming import moved, must_agree, must_be_as_before, must_have_step_size, resumable
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
    resume: Posterior | None = None,
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
        resume: a posterior that this method returned, or that was loaded, to be continued by `draws` more per chain,
            with its chains, step sizes, seed and length of a cycle; without a start. Give the same data and all other
            settings: then it equals the run that was never interrupted, draw by draw. One constant cycle goes on for
            any number of draws, others to the end of a cycle.

    Returns:
        Posterior whose stack has chains * draws rows; without chains that ran off to infinity, which a warning names.
        Raises RuntimeError when all did.
    """
    begun = None if resume is None else resumable(resume, model, "SGLD")
    plan = _plan(begun, draws, warmup, thinning, cycles, schedule)
    settings = {
        "temperature": temperature,
        "likelihood_temperature": likelihood_temperature,
        "batch_size": batch_size,
        "chunk_size": chunk_size,
        "probe": probe,
    }
    if begun is not None:
        chains, seed = begun.chains, begun.settings["seed"]
    run = Run("SGLD", "chain", model, x, y, chains, seed, **settings, kept=plan.draws)
    return _sample(run, None, plan, step_size, initial, initial_steps, begun)


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
    resume: Posterior | None = None,
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
    begun = None if resume is None else resumable(resume, model, "SGHMC")
    plan = _plan(begun, draws, warmup, thinning, cycles, schedule)
    settings = {
        "temperature": temperature,
        "likelihood_temperature": likelihood_temperature,
        "batch_size": batch_size,
        "chunk_size": chunk_size,
        "probe": probe,
    }
    if begun is not None:
        chains, seed = begun.chains, begun.settings["seed"]
    run = Run("SGHMC", "chain", model, x, y, chains, seed, **settings, kept=plan.draws)
    return _sample(run, friction, plan, step_size, initial, initial_steps, begun)


def _plan(
    resume: Posterior | None, draws: int, warmup: int, thinning: int, cycles: int, schedule: str | Schedule
) -> Plan:
    if resume is None:
        return Plan(draws, warmup, thinning, cycles, schedule)
    begun = Plan(resume.settings["draws"], warmup, thinning, resume.settings["cycles"], schedule)
    must_be_as_before(resume.settings, begun.record())
    return begun.lengthened(draws, resume.draws.shape[1])


def _sample(
    run: Run,
    friction: float | None,
    plan: Plan,
    step_size: float | Tensor | None,
    initial: Stack | None,
    initial_steps: int,
    resume: Posterior | None,
) -> Posterior:
    """SGHMC, or SGLD when friction is None."""
    if step_size is not None:
        validate.positive("step_size", step_size)
        run.per_row(step_size=step_size)
    settings = {"friction": friction, "batch_size": run.batch_size}
    if resume is None:
        made, first, evaluations = 0, 0, 1
        theta = centre = run.start(initial, initial_steps)
        momentum, pull = torch.zeros_like(theta), theta.new_zeros(len(theta))
        if step_size is None:
            step_size = _cautious_step(largest_curvature(run, theta), friction, run.share)
        step_size = torch.as_tensor(step_size).to(theta).expand(len(run.rows))
        noise = _Noise(run.random(1), theta.shape[1])
    else:
        must_be_as_before(resume.settings, settings)
        run.rows = run.rows if resume.rows is None else resume.rows
        resume = moved(resume, run.density.like.device)
        made = resume.draws.shape[1]
        first, evaluations = plan.steps_until(made), 0
        theta, centre = run.start(Stack(resume.draws[:, -1], run.model.layout), 0), resume.start
        momentum, pull = resume.momentum, resume.configurational_temperature * (made * theta.shape[1])
        must_have_step_size(resume, step_size)
        step_size = resume.step_size
        noise = _Noise(run.random(1), theta.shape[1], resume.random_state, first)
        run.gradients, run.started = resume.gradient_evaluations / resume.chains, run.started - resume.seconds
    advice = f"use a smaller step_size than {step_size.min().item():.3g}, or more initial_steps."

    batches = run.batches(2, first)
    judges = run.batches(6, max(made - 1, 0)) if run.share < 1 else None
    kept = theta.new_empty(len(theta), plan.draws, theta.shape[1])
    log_density = theta.new_empty(len(theta), plan.draws)
    if resume is not None:
        kept[:, :made], log_density[:, :made] = resume.draws, resume.log_density
    done, died = made, torch.full_like(step_size, -1, dtype=torch.long)
    stands = noise.state, momentum  # after the last draw
    with Interruptible(lambda: f"returning the {done} of {plan.draws} draws made so far." if done else ""):
        value, gradient = next(batches)(theta)
        if resume is not None:
            must_agree(resume, next(judges)(theta)[0] if judges else value)
        for step in progress(plan.steps - first, f"{run.method}, {len(theta)} chains"):
            step += first
            factor = plan.factor(step)
            if friction is None:
                theta = sgld_step(theta, gradient, step_size * factor, next(noise))
            else:
                size = step_size * math.sqrt(factor)
                theta, momentum = sghmc_step(theta, momentum, gradient, size, friction, next(noise))
            target, kept_now, looked_at = next(batches), plan.keeps(step), step % LOOKS == 0
            evaluations += 1
            if not (kept_now or looked_at):
                gradient = target.gradient(theta)
                continue
            value, gradient = target(theta)
            died = torch.where((died < 0) & ~torch.isfinite(value), step, died)  # without waiting for a GPU
            if looked_at and (died >= 0).all():
                break
            if kept_now:
                slope = gradient
                if judges:  # a batch of its own, since theta remembers those of its epoch
                    value, slope = next(judges)(theta)
                    evaluations += 1
                kept[:, done], log_density[:, done] = theta, value
                counted = pull - ((theta - centre) * slope).sum(1), (noise.state, momentum), done + 1
                pull, stands, done = counted  # at once, or not at all where an interrupt comes
    alive = run.surviving(died, "log density", advice)
    kept = kept[alive, :done]
    return run.posterior(
        Stack(kept.flatten(0, 1), run.model.layout),
        evaluations * run.share,
        step_size=step_size[alive],
        log_density=log_density[alive, :done],
        configurational_temperature=pull[alive] / (done * theta.shape[1]),
        random_state=stands[0][alive.cpu()],
        momentum=None if friction is None else stands[1][alive],
        start=centre[alive],
        settings=settings | plan.record() | {"draws": plan.draws, "cycles": plan.cycles, "seed": run.seed},
        **run.mixing(kept),
    )


class _Noise:
    """Without end, normal numbers (S, D) for each step; drawn for several steps at a time where D is small, for speed.

    Args:
        random: one generator per chain.
        D: how many.
        state, step: where an earlier one stood, and before which step.
    """

    def __init__(self, random: RowRandom, D: int, state: Tensor | None = None, step: int = 0):
        self.random, self.shape = random, (max(1, 1000 // D), D)
        self.block: list[Tensor] = []
        if state is not None:
            random.restore(state)
            for _ in range(step % self.shape[0]):
                next(self)

    def __next__(self) -> Tensor:
        if not self.block:
            self.before = self.random.state if self.shape[0] > 1 else None
            numbers = self.random.normal(self.shape[0] * self.shape[1])
            self.block = list(numbers.unflatten(1, self.shape).unbind(1)[::-1])
        return self.block.pop()

    @property
    def state(self) -> Tensor:
        """Where the generators are, or were before the numbers that were drawn ahead."""
        return self.before if self.block else self.random.state


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
