"""SWA, SWAG and MultiSWAG: the Gaussian that the iterates of SGD trace out around each of several optima."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._support import validate
from .._support.devices import LOOKS
from .._support.progress import Interruptible, progress, warn
from ..models.log_posterior import Temperature
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Layout, Stack
from .approximations import SwagState, enough
from .posterior import Posterior
from .run import Run, when_it_broke
from .starts import largest_curvature


class SwagMoments:
    """Running mean and variance of snapshots (M, P), and the last `rank` deviations from the mean.

    Welford's updates: a difference of second moment and squared mean would lose a spread of a thousandth of
    the weights to rounding.
    """

    def __init__(self, rank: int):
        self.rank, self.collected = validate.count("rank", rank, 2), 0
        self.mean: Tensor | None = None
        self.deviations: list[Tensor] = []

    def collect(self, theta: Tensor) -> None:
        """Take in one snapshot of every member."""
        if self.mean is None:
            self.mean, self.squares = torch.zeros_like(theta), torch.zeros_like(theta)
        self.collected += 1
        before = theta - self.mean
        self.mean = self.mean + before / self.collected
        after = theta - self.mean
        self.squares.addcmul_(before, after)
        self.deviations = [*self.deviations, after][-self.rank :]

    def state(self, layout: Layout) -> SwagState:
        """The Gaussian so far. Raises ValueError after fewer than two snapshots."""
        enough(self.collected, "SGD has given")
        deviations = torch.stack(self.deviations, 1)
        return SwagState(self.mean, self.squares / self.collected, deviations, layout)


def swag(
    model: Model,
    x: Data,
    y: Tensor | None = None,
    *,
    members: int | range = 1,
    draws: int = 50,
    snapshots: int = 40,
    every: int | None = None,
    rank: int = 20,
    lr: float | Tensor | None = None,
    momentum: float = 0.9,
    batch_size: int | None = None,
    likelihood_temperature: Temperature = 1.0,
    initial: Stack | None = None,
    initial_steps: int = 1000,
    initial_lr: float = 1e-2,
    chunk_size: int | None = None,
    seed: int | torch.Generator = 0,
) -> Posterior:
    """Fit SWAG (Maddox et al. 2019), or MultiSWAG (Wilson & Izmailov 2020) when there are several members.

    From optimised prior draws, SGD with a constant learning rate wanders about the optimum and a snapshot is
    taken every few steps: v <- momentum v + grad loss, theta <- theta - lr v, with the loss
    -log p(theta, D) / N estimated from minibatches. Their mean is SWA; a Gaussian with their mean and
    low-rank plus diagonal covariance is SWAG; SWAG around each row of a stack is MultiSWAG. Only moments and
    the last `rank` deviations are stored.

    The spread of SGD is not that of the posterior. With independent minibatches its stationary covariance is
    proportional to lr / batch_size and takes its shape from the noise of the gradient (Mandt, Hoffman & Blei
    2017); going through shuffled data in turn, as here and as usual, noise cancels over each pass and less
    is left, about as lr^2. So it is as wide as the posterior for one lr only, and in all directions only by
    luck; full batches have none. A cold `temperature` would not change it, and is not offered.

    Args:
        model: network, prior, likelihood.
        x, y: data, (N, ...) and (N,) or (N, C); or a `Dataset` or `DataLoader` of both.
        draws: draws from each member's Gaussian in the stack that is returned.
        snapshots: snapshots collected per member.
        every: SGD steps from one snapshot to the next; one pass over the data when None.
        rank: most deviations kept for the low-rank part; at least 2.
        lr: learning rate of SGD for the loss per datum in whitened units, a number or one per member. When None,
            a tenth of the largest for which SGD is stable, from the curvature at the start.
        momentum: of SGD, in [0, 1).
        batch_size: data per step; when None a DataLoader's own, else an eighth of the data, but at most 128.
        initial_lr: learning rate of Adam while a start is sought.
        members, likelihood_temperature, initial, initial_steps, chunk_size, seed: see `bdlcore.inference.run`.

    Returns:
        Posterior with members * draws rows, the loss of every step and the `SwagState` as `approximation`.
        Raises ValueError for fewer than 2 snapshots, RuntimeError when the loss of a member becomes NaN.
    """
    draws = validate.count("draws", draws)
    enough(validate.count("snapshots", snapshots, 0), "you asked for")
    if lr is not None:
        validate.positive("lr", lr)
    validate.positive("initial_lr", initial_lr)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}.")
    moments = SwagMoments(rank)
    run = Run(
        "SWAG",
        "member",
        model,
        x,
        y,
        members,
        seed,
        likelihood_temperature=likelihood_temperature,
        batch_size=batch_size,
        chunk_size=chunk_size,
        kept=rank + draws,
        usual_batch=lambda N: min(-(-N // 8), 128),
    )
    if lr is not None:
        run.per_row(lr=lr)
    if run.share == 1:
        warn(
            f"batch_size={run.batch_size} is all the data: SGD without noise settles, and SWAG shows no spread. "
            "Use smaller batches."
        )
    N = run.count
    every = math.ceil(1 / run.share) if every is None else validate.count("every", every)
    theta = run.start(initial, initial_steps, initial_lr)
    if lr is None:
        # without noise, SGD with momentum is stable up to 2 (1 + momentum) / curvature of the loss
        lr = 0.2 * (1 + momentum) * N / largest_curvature(run, theta)
    lr = torch.as_tensor(lr).to(theta).expand(len(theta))
    advice = f"use a smaller lr than {lr.min().item():.3g}."
    origin, theta, velocity, losses = theta, theta.clone(), torch.zeros_like(theta), []
    batches = run.batches(2)

    def kept() -> str:
        return f"SWAG has {moments.collected} of {snapshots} snapshots." if moments.collected > 1 else ""

    with Interruptible(kept):
        for step in progress(snapshots * every, f"SWAG, {len(theta)} members"):
            value, gradient = next(batches)(theta)
            losses.append(-value / N)
            velocity.mul_(momentum).add_(gradient, alpha=-1 / N)
            theta.addcmul_(velocity, lr[:, None], value=-1)
            if (step + 1) % every == 0:
                moments.collect(theta)
            if step % LOOKS == 0 and not torch.isfinite(value).any():
                break
    losses = torch.stack(losses)
    died = when_it_broke(losses)
    _warn_of_climbing(run, origin, theta, advice)
    alive = run.surviving(died, "loss", advice)
    state = moments.state(model.layout)
    state = SwagState(state.mean[alive], state.variance[alive], state.deviations[alive], model.layout)
    run.method = "SWAG" if len(alive) == 1 else "MultiSWAG"
    return run.posterior(
        state.sample(draws, run.seed, members=run.rows),
        len(losses) * run.share + 2,
        step_size=lr[alive],
        loss=torch.cat([run.loss, losses])[:, alive],
        approximation=state,
    )


def _warn_of_climbing(run: Run, start: Tensor, end: Tensor, advice: str) -> None:
    """-log p(theta | D) of draws from a Gaussian posterior lies D/2 +- sqrt(D/2) above its minimum."""
    climbed, half = run.density(start)[0] - run.density(end)[0], start.shape[1] / 2
    far = (torch.isfinite(climbed) & (climbed > half + 5 * math.sqrt(half))).nonzero().flatten().tolist()
    if far:
        far = [run.rows[i] for i in far]
        warn(
            f"SGD of member(s) {far} climbed {climbed.max().item():.3g} nats away from where it started, farther than "
            f"draws from a posterior of {2 * half:g} weights lie from its optimum (about {half:g}); {advice}",
        )
