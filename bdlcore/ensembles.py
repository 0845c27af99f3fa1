"""Deep ensembles: several optimised settings of the weights, trained as one stack."""

from __future__ import annotations

import math
import time
import warnings

import torch
from torch import Tensor

from . import _validate
from ._progress import progress
from .densities import LogPosterior, Temperature
from .models import Model
from .posteriors import Posterior
from .randomness import generator
from .stacks import Stack, check_stack


def optimise(
    density: LogPosterior,
    theta: Tensor,
    steps: int,
    lr: float = 1e-2,
    batch_size: int | None = None,
    maximise: str = "posterior",
    shuffle: torch.Generator | None = None,
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

    Returns:
        theta (S, D) and the loss (steps, S), -log density per datum on that step's batch. After a
        KeyboardInterrupt, where it had come to. Raises RuntimeError when the loss of a row becomes NaN.
    """
    N = len(density.x)
    theta = theta.clone()
    adam = _Adam(theta)
    losses: list[Tensor] = []
    batches = density.batches(batch_size, shuffle)
    try:
        for step in progress(steps, f"training {len(theta)} members"):
            target = next(batches)
            value, gradient = target(theta) if maximise == "posterior" else target.likelihood(theta)
            if not torch.isfinite(value).all():
                bad = (~torch.isfinite(value)).nonzero().flatten().tolist()
                raise RuntimeError(
                    f"The loss of row(s) {bad} became NaN or infinite at step {step}; use a smaller lr than {lr}."
                )
            losses.append(-value / N)
            adam.step(gradient.div_(-N), lr * 0.5 * (1 + math.cos(math.pi * step / steps)))
    except KeyboardInterrupt:
        if not losses:
            raise
        warnings.warn(
            f"Interrupted after {len(losses)} of {steps} steps: returning the members as they are.",
            stacklevel=3,
        )
    return theta, torch.stack(losses)


class _Adam:
    """Adam (Kingma & Ba 2015) on one tensor, in place.

    It calls the kernel of torch.optim.Adam(fused=True), one pass over memory instead of seven, without torch.optim,
    whose first use imports the compiler and so costs a notebook several seconds.
    """

    def __init__(self, theta: Tensor):
        self.theta, self.steps = theta, torch.zeros((), device=theta.device)
        self.mean, self.square = torch.zeros_like(theta), torch.zeros_like(theta)

    @torch.no_grad()
    def step(
        self, gradient: Tensor, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        """Descend along the gradient."""
        self.steps += 1
        state = [self.theta], [gradient], [self.mean], [self.square], [], [self.steps]
        settings = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": 0.0}
        torch._fused_adam_(*state, **settings, amsgrad=False, maximize=False)


def ensemble(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    members: int | range = 8,
    steps: int = 1000,
    lr: float = 1e-2,
    batch_size: int | None = None,
    maximise: str = "posterior",
    likelihood_temperature: Temperature = 1.0,
    initial: Stack | None = None,
    chunk_size: int | None = None,
    seed: int | torch.Generator = 0,
) -> Posterior:
    """Train a deep ensemble (Lakshminarayanan et al. 2017): each member from its own draw of the prior.

    Every member maximises log p(D|w)/T_lik + log p(w); members differ by their start only, and the order of
    minibatches is shared. One member is the MAP estimate that ordinary training with weight decay finds.

    Args:
        model: network, prior, likelihood.
        x, y: data.
        members: number of members, or a range of them, as for chains in `hmc`.
        steps, lr, batch_size, maximise: see `optimise`.
        likelihood_temperature: see `LogPosterior`. (A cold temperature has the same maximum and is not
            offered.)
        initial: stack of one row per member to start from instead of prior draws.
        chunk_size: members per pass, bounds memory.
        seed: member i starts from row i of `model.sample_prior(..., seed)`.

    Returns:
        Posterior with one row per member and the loss curves.
    """
    start = time.perf_counter()
    rows = _validate.rows("members", members)
    steps = _validate.count("steps", steps)
    _validate.positive("lr", lr)
    if maximise not in ("posterior", "likelihood"):
        raise ValueError(f'maximise must be "posterior" or "likelihood", got {maximise!r}.')
    density = LogPosterior(model, x, y, 1.0, likelihood_temperature, chunk_size)
    _validate.per_row("likelihood_temperature", likelihood_temperature, len(rows))
    if batch_size is not None:
        batch_size = min(_validate.count("batch_size", batch_size), len(x))
    if initial is None:
        theta = model.sample_prior(rows, seed, dtype=x.dtype, device=x.device).theta
    else:
        check_stack(initial, model.layout, x)
        if len(initial) != len(rows):
            raise ValueError(
                f"initial has {len(initial)} rows for {len(rows)} members; give one row per member."
            )
        theta = initial.theta
    theta, loss = optimise(density, theta, steps, lr, batch_size, maximise, generator(seed, 2))
    share = 1 if batch_size is None else batch_size / len(x)
    return Posterior(
        stack=Stack(theta, model.layout),
        method="deep ensemble",
        seconds=time.perf_counter() - start,
        gradient_evaluations=math.ceil(len(loss) * len(theta) * share),
        chains=len(theta),
        loss=loss,
    )
