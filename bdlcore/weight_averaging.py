"""SWA, SWAG and MultiSWAG: the Gaussian that the iterates of SGD trace out around each of several optima."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _validate
from ._chains import largest_curvature, require_finite, starting_points
from ._progress import progress
from .densities import LogPosterior, Temperature
from .models import Model
from .posteriors import Posterior
from .randomness import RowRandom, as_seed, generator
from .stacks import Layout, Stack


@dataclass(frozen=True, eq=False)
class SwagState:
    """One Gaussian per member, N(mean, 1/2 diag(variance) + 1/2 D D^T / (K - 1)), over whitened weights.

    Attributes:
        mean: (M, P) average of the snapshots; the SWA solution.
        variance: (M, P) their variance, weight by weight.
        deviations: (M, K, P) rows of D^T: the last K snapshots minus the running mean when each was taken. K
            is the number that was collected, never more than the rank asked for.
        layout: what the P columns are.
    """

    mean: Tensor
    variance: Tensor
    deviations: Tensor
    layout: Layout

    def __post_init__(self):
        _enough(self.deviations.shape[1], "this state holds")

    @property
    def average(self) -> Stack:
        """Stochastic weight averaging (Izmailov et al. 2018): the mean of each member, M settings."""
        return Stack(self.mean, self.layout)

    @property
    def std(self) -> Tensor:
        """(M, P) standard deviation of each weight under `sample`."""
        low_rank = self.deviations.square().sum(1) / (self.deviations.shape[1] - 1)
        return (0.5 * (self.variance + low_rank)).sqrt()

    def sample(self, draws: int, seed: int | torch.Generator, *, scale: float = 1.0) -> Stack:
        """M * draws settings, those of the first member first.

            theta = mean + scale ( sqrt(variance) z1 / sqrt(2)  +  D z2 / sqrt(2 (K - 1)) ),   z1, z2 ~ N(0, I)

        (Maddox et al. 2019, eq. 1). Noise is multiplied by the standard deviation, not the variance; `scale`
        is a factor of the standard deviation too.
        """
        return _sample(self, draws, seed, range(len(self.mean)), scale)


class SwagMoments:
    """Running mean and variance of snapshots (M, P), and the last `rank` deviations from the mean.

    Welford's updates: a difference of second moment and squared mean would lose a spread of a thousandth of
    the weights to rounding.
    """

    def __init__(self, rank: int):
        self.rank, self.collected = _validate.count("rank", rank, 2), 0
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
        _enough(self.collected, "SGD has given")
        deviations = torch.stack(self.deviations, 1)
        return SwagState(self.mean, self.squares / self.collected, deviations, layout)


def swag(
    model: Model,
    x: Tensor,
    y: Tensor,
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
        x, y: data, (N, ...) and (N,) or (N, C).
        members: number of members, or a range of them, as for chains in `hmc`. All see the same minibatches.
        draws: draws from each member's Gaussian in the stack that is returned.
        snapshots: snapshots collected per member.
        every: SGD steps from one snapshot to the next; one pass over the data when None.
        rank: most deviations kept for the low-rank part; at least 2.
        lr: learning rate of SGD for the loss per datum in whitened units, a number or one per member. When None,
            a tenth of the largest for which SGD is stable, from the curvature at the start.
        momentum: of SGD, in [0, 1).
        batch_size: data per step; an eighth of the data, but at most 128, when None.
        likelihood_temperature: see `LogPosterior`; a number or one per member.
        initial: stack of one optimised row per member to start from; else prior draws are optimised by Adam.
        initial_steps, initial_lr: steps and learning rate of that.
        chunk_size: members per pass, bounds memory.
        seed: member i starts from row i of `model.sample_prior(..., seed)`.

    Returns:
        Posterior with members * draws rows, the loss of every step and the `SwagState` as `approximation`.
        Raises ValueError for fewer than 2 snapshots, RuntimeError when the loss of a member becomes NaN.
    """
    start, seed, rows = time.perf_counter(), as_seed(seed), _validate.rows("members", members)
    draws = _validate.count("draws", draws)
    _enough(_validate.count("snapshots", snapshots, 0), "you asked for")
    if lr is not None:
        _validate.positive("lr", lr)
        _validate.per_row("lr", lr, len(rows))
    _validate.positive("initial_lr", initial_lr)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}.")
    density = LogPosterior(model, x, y, 1.0, likelihood_temperature, chunk_size)
    _validate.per_row("likelihood_temperature", likelihood_temperature, len(rows))
    N = len(x)
    batch_size = min(-(-N // 8), 128) if batch_size is None else _validate.count("batch_size", batch_size)
    if batch_size >= N:
        warnings.warn(
            f"batch_size={batch_size} is all the data: SGD without noise settles, and SWAG shows no spread. "
            "Use smaller batches.",
            stacklevel=2,
        )
    share = min(batch_size / N, 1.0)
    every = math.ceil(N / batch_size) if every is None else _validate.count("every", every)
    moments = SwagMoments(rank)
    theta, loss = starting_points(
        density,
        rows,
        seed,
        name="member",
        initial=initial,
        steps=initial_steps,
        lr=initial_lr,
        batch_size=batch_size,
        shuffle=generator(seed, 5),
    )
    cost = 0.0
    if lr is None:
        # without noise, SGD with momentum is stable up to 2 (1 + momentum) / curvature of the loss
        curvature, cost = largest_curvature(density, theta, seed, rows)
        lr = 0.2 * (1 + momentum) * N / curvature
    lr = torch.as_tensor(lr).to(theta).expand(len(rows))
    advice = f"use a smaller lr than {lr.min().item():.3g}."
    origin, theta, velocity, losses = theta, theta.clone(), torch.zeros_like(theta), []
    batches = density.batches(batch_size, generator(seed, 2))
    try:
        for step in progress(snapshots * every, f"SWAG, {len(rows)} members"):
            value, gradient = next(batches)(theta)
            require_finite(value, "The loss of member(s)", step, advice)
            losses.append(-value / N)
            velocity.mul_(momentum).add_(gradient, alpha=-1 / N)
            theta.addcmul_(velocity, lr[:, None], value=-1)
            if (step + 1) % every == 0:
                moments.collect(theta)
    except KeyboardInterrupt:
        if moments.collected < 2:
            raise
        warnings.warn(f"Interrupted: SWAG has {moments.collected} of {snapshots} snapshots.", stacklevel=2)
    state, losses = moments.state(model.layout), torch.stack(losses)
    require_finite(state.variance.sum(1), "The weights of member(s)", len(losses), advice)
    _warn_of_climbing(density, origin, theta, advice)
    return Posterior(
        stack=_sample(state, draws, seed, rows),
        method="SWAG" if len(rows) == 1 else "MultiSWAG",
        seconds=time.perf_counter() - start,
        gradient_evaluations=round(((len(loss) + len(losses)) * share + cost + 2) * len(rows)),
        chains=len(rows),
        step_size=lr,
        loss=torch.cat([loss, losses]),
        approximation=state,
    )


def _sample(
    state: SwagState, draws: int, seed: int | torch.Generator, rows: range, scale: float = 1.0
) -> Stack:
    M, K, P = state.deviations.shape
    draws = _validate.count("draws", draws)
    _validate.positive("scale", scale, "It multiplies the standard deviation; for no spread use `average`.")
    random = RowRandom(seed, rows, stream=3, dtype=state.mean.dtype, device=state.mean.device)
    z1, z2 = random.normal(draws * P).view(M, draws, P), random.normal(draws * K).view(M, draws, K)
    noise = z1 * (state.variance / 2).sqrt()[:, None]
    noise.baddbmm_(z2, state.deviations, alpha=1 / math.sqrt(2 * (K - 1)))
    return Stack((state.mean[:, None] + scale * noise).flatten(0, 1), state.layout)


def _enough(snapshots: int, who: str) -> None:
    if snapshots < 2:
        raise ValueError(
            f"SWAG needs at least 2 snapshots to have a covariance, {who} {snapshots}. Raise `snapshots`; about 20 or "
            "more are usual."
        )


def _warn_of_climbing(density: LogPosterior, start: Tensor, end: Tensor, advice: str) -> None:
    """-log p(theta | D) of draws from a Gaussian posterior lies D/2 +- sqrt(D/2) above its minimum."""
    climbed, half = density(start)[0] - density(end)[0], start.shape[1] / 2
    far = (climbed > half + 5 * math.sqrt(half)).nonzero().flatten().tolist()
    if far:
        warnings.warn(
            f"SGD of member(s) {far} climbed {climbed.max().item():.3g} nats away from where it started, farther than "
            f"draws from a posterior of {2 * half:g} weights lie from its optimum (about {half:g}); {advice}",
            stacklevel=3,
        )
