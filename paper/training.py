"""Ensembles and MultiSWAG from the same half-trained members, so that both cost equally many gradients."""

from __future__ import annotations

from torch import Tensor

import bdlcore as bdl

from .experiment import Settings


def halves(
    model: bdl.Model,
    x: Tensor,
    y: Tensor,
    settings: Settings,
    members: int,
    seed: int,
    initial: bdl.Stack | None = None,
):
    """An ensemble, and MultiSWAG around its members as they were half-way.

    From draws of the prior, or `initial`, all members are trained by Adam for half of the steps. From there the
    ensemble goes on as it was, and SGD with momentum takes as many steps, over which SWAG's snapshots are spread.

    Args:
        model, x, y: model and training data.
        settings: with steps, lr, batch, snapshots, rank and draws (of each member's Gaussian).
        members: of both.
        seed: of both.
        initial: where the members begin.

    Returns:
        the ensemble and MultiSWAG, two posteriors.
    """
    first = settings["steps"] // 2
    second = settings["steps"] - first
    common = {"batch_size": settings["batch"], "seed": seed}
    adam = {"lr": settings["lr"], **common}
    start = bdl.ensemble(model, x, y, members=members, steps=first, initial=initial, **adam)
    half_way = {"members": len(start.stack), "initial": start.stack}
    trained = bdl.ensemble(model, x, y, steps=second, **half_way, **adam)
    wandered = bdl.swag(
        model,
        x,
        y,
        draws=settings["draws"],
        snapshots=settings["snapshots"],
        every=max(1, second // settings["snapshots"]),
        rank=settings["rank"],
        **half_way,
        **common,
    )
    return trained, wandered


def scores(predictive: bdl.CategoricalPredictive, y: Tensor) -> dict[str, float]:
    """Mean negative log-likelihood in nats, error in per cent, and expected calibration error in per cent."""
    return {
        "nll": -predictive.log_prob(y).mean().item(),
        "error": 100 * (1 - predictive.accuracy(y)),
        "calibration": 100 * predictive.calibration_error(y),
    }
