"""Deep ensembles: several optimised settings of the weights, trained as one stack."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import generator
from ..models.log_posterior import Temperature
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Stack
from .optimise import optimise
from .posterior import Posterior
from .run import Run, when_it_broke


def ensemble(
    model: Model,
    x: Data,
    y: Tensor | None = None,
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
        x, y: data, (N, ...) and (N,) or (N, C); or a `Dataset` or `DataLoader` of both.
        steps, lr, maximise: see `bdlcore.inference.optimise`.
        members, batch_size, likelihood_temperature, initial, chunk_size, seed: see `bdlcore.inference.run`. (A cold
            temperature has the same maximum and is not offered.)

    Returns:
        Posterior with one row per member and the loss curves; without members whose loss became NaN, which a warning
        names. Raises RuntimeError when it did for all.
    """
    steps = validate.count("steps", steps)
    validate.positive("lr", lr)
    validate.choice("maximise", maximise, ("posterior", "likelihood"))
    run = Run(
        "deep ensemble",
        "member",
        model,
        x,
        y,
        members,
        seed,
        likelihood_temperature=likelihood_temperature,
        batch_size=batch_size,
        chunk_size=chunk_size,
    )
    theta = run.start(initial, 0)
    shuffle = generator(run.seed, 2)
    theta, loss = optimise(run.density, theta, steps, lr, run.batch_size, maximise, shuffle)
    alive = run.surviving(when_it_broke(loss), "loss", f"use a smaller lr than {lr}.")
    return run.posterior(Stack(theta[alive], model.layout), len(loss) * run.share, loss=loss[:, alive])
