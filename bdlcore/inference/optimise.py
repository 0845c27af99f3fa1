"""Optimising every row of a stack at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._support.adam import Adam
from .._support.devices import LOOKS
from .._support.progress import Interruptible, progress
from ..models.log_posterior import LogPosterior, ReadLogPosterior


class AllBroke(RuntimeError):
    """All rows of a run became NaN or infinite: there is nothing to return."""


def optimise(
    density: LogPosterior | ReadLogPosterior,
    theta: Tensor,
    steps: int,
    lr: float = 1e-2,
    batch_size: int | None = None,
    maximise: str = "posterior",
    shuffle: torch.Generator | None = None,
    keep_interrupted: bool = True,
) -> tuple[Tensor, Tensor]:
    """Maximise the log posterior (or likelihood) of every row by Adam, with the learning rate falling to 0 as a cosine.

    Adam works element by element, so rows do not influence each other; all rows see the same minibatches.

    Args:
        density: log posterior and gradient of a stack.
        theta: (S, D) start; not changed.
        steps: Adam steps.
        lr: first learning rate, in whitened units.
        batch_size: data per step; all when None.
        maximise: "posterior" (MAP) or "likelihood" (maximum likelihood, the prior only initialises).
        shuffle: generator of the order of the data; required with `batch_size`.
        keep_interrupted: whether a KeyboardInterrupt returns what there is, or goes on.

    Returns:
        theta (S, D) and the loss (steps, S), -log density per datum on that step's batch. After a
        KeyboardInterrupt, where it had come to. Rows whose loss became NaN show it there; when it is that of all rows,
        raises AllBroke, a RuntimeError.
    """
    N = density.count
    theta = theta.clone()
    adam = Adam(theta)
    losses: list[Tensor] = []
    batches = density.batches(batch_size, shuffle)
    kept = f"of {steps} steps are done: returning the members as they are."
    with Interruptible(lambda: f"{len(losses)} {kept}" if losses and keep_interrupted else ""):
        for step in progress(steps, f"training {len(theta)} members"):
            target = next(batches)
            value, gradient = target(theta) if maximise == "posterior" else target.likelihood(theta)
            losses.append(-value / N)
            adam.step(gradient.div_(-N), lr * 0.5 * (1 + math.cos(math.pi * step / steps)))
            if step % LOOKS == 0 and not torch.isfinite(losses[-1]).any():
                break
    loss = torch.stack(losses)
    well = torch.isfinite(loss)
    if not well.all(0).any():
        step = int((~well).any(1).nonzero()[0])
        raise AllBroke(f"The loss became NaN or infinite at step {step}; use a smaller lr than {lr}.")
    return theta, loss
