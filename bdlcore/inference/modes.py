"""Modes of a posterior, found well enough that a Gaussian may be put on them.

The evidence of Laplace's approximation errs by the nats that the log posterior could still rise. Training leaves
hundreds of them on a small regression network, though its predictions hardly change any more.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .._support import validate
from .._support.devices import double
from .._support.progress import Interruptible, progress, warn
from ..models.log_posterior import LogPosterior, Temperature
from ..models.model import Model
from ..models.stack import Stack
from .optimise import AllBroke, optimise
from .run import Run


def find_modes(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    modes: int | range = 1,
    steps: int = 1000,
    lr: float = 1e-2,
    refine_steps: int = 1000,
    likelihood_temperature: Temperature = 1.0,
    chunk_size: int | None = None,
    seed: int | torch.Generator = 0,
) -> tuple[Stack, Tensor, int]:
    """Modes of the log posterior: members of an ensemble, refined one by one with L-BFGS on all data in float64.

    Args:
        model, x, y: model and data.
        modes: how many to find, or a range of them.
        steps, lr, likelihood_temperature, chunk_size, seed: see `ensemble`.
        refine_steps: L-BFGS steps at most, about one gradient each; 0 for none. Ends by itself at a mode.

    Returns:
        The modes, the loss (steps, S) of the training before the refinement, and the number of gradients computed.
        An interrupt of the training goes on; one of the refinement leaves the other modes as they are.
    """
    validate.positive("lr", lr)
    steps, refine_steps = validate.count("steps", steps), validate.count("refine_steps", refine_steps, 0)
    sizes = {"likelihood_temperature": likelihood_temperature, "chunk_size": chunk_size}
    run = Run("Laplace", "mode", model, x, y, modes, seed, **sizes)
    try:
        theta, loss = optimise(run.density, run.start(None, 0), steps, lr, keep_interrupted=False)
    except AllBroke as error:  # as where only some did
        raise RuntimeError(str(error)) from error
    if not torch.isfinite(loss).all():
        raise RuntimeError(f"The loss of some modes became NaN or infinite; use a smaller lr than {lr}.")
    T_lik = torch.as_tensor(likelihood_temperature).expand(len(theta)).tolist()
    done, gradients = 0, loss.numel()
    with Interruptible(lambda: f"modes from row {done} on are not refined."):
        for i in progress(len(theta) if refine_steps else 0, "refining modes"):
            at = double(theta[i])
            precise = double(x) if x.is_floating_point() else x.to(at.device)
            density = LogPosterior(model, precise, y.to(at.device), 1.0, T_lik[i])
            found, evaluations = _climb(density, at, refine_steps)
            theta[i] = found.to(theta)
            done, gradients = i + 1, gradients + evaluations
    return Stack(theta, model.layout), loss, gradients


def _climb(density: LogPosterior, theta: Tensor, steps: int) -> tuple[Tensor, int]:
    from scipy.optimize import minimize

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        (value,), (gradient,) = density(torch.from_numpy(at).to(theta)[None])
        return -value.item(), -gradient.cpu().numpy()

    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-5}
    found = minimize(loss, theta.cpu().numpy(), jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(found.x).to(theta), found.nfev


def warn_off_mode(excess: float, dim: int) -> None:
    """Warn where a Newton step would raise the log posterior of `dim` weights by many nats."""
    if not excess < max(1, 0.01 * dim):
        warn(
            f"The weights are not at a mode: a Newton step would raise the log posterior by {excess:.3g} nats. "
            "Laplace's approximation is off, and its marginal likelihood by about as much. Give laplace a number of "
            "modes to find, or more steps.",
        )
