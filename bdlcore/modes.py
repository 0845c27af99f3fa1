"""Modes of a posterior, found well enough that a Gaussian may be put on them.

The evidence of Laplace's approximation errs by the nats that the log posterior could still rise. Training leaves
hundreds of them on a small regression network, though its predictions hardly change any more.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from . import _validate
from ._progress import progress
from .densities import LogPosterior, Temperature
from .ensembles import ensemble
from .models import Model
from .stacks import Stack


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
) -> tuple[Stack, Tensor]:
    """Modes of the log posterior: members of an `ensemble`, refined one by one with L-BFGS on all data in float64.

    Args:
        model, x, y: model and data.
        modes: how many to find, or a range of them.
        steps, lr, likelihood_temperature, chunk_size, seed: see `ensemble`.
        refine_steps: L-BFGS steps at most, about one gradient each; 0 for none. Ends by itself at a mode.

    Returns:
        The modes, and the loss (steps, S) of the training before the refinement.
    """
    rows = _validate.rows("modes", modes)
    refine_steps = _validate.count("refine_steps", refine_steps, 0)
    tempering = {"likelihood_temperature": likelihood_temperature, "chunk_size": chunk_size}
    found = ensemble(model, x, y, members=rows, steps=steps, lr=lr, seed=seed, **tempering)
    theta = found.stack.theta.clone()
    T_lik = torch.as_tensor(likelihood_temperature).expand(len(theta)).tolist()
    for i in progress(len(theta) if refine_steps else 0, "refining modes"):
        density = LogPosterior(model, x.double(), y, 1.0, T_lik[i])
        try:
            theta[i] = _climb(density, theta[i].double(), refine_steps)
        except KeyboardInterrupt:
            warnings.warn(f"Interrupted: modes from row {i} on are not refined.", stacklevel=3)
            break
    return Stack(theta, model.layout), found.loss


def _climb(density: LogPosterior, theta: Tensor, steps: int) -> Tensor:
    from scipy.optimize import minimize

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        (value,), (gradient,) = density(torch.from_numpy(at).to(theta)[None])
        return -value.item(), -gradient.cpu().numpy()

    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-5}
    found = minimize(loss, theta.cpu().numpy(), jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(found.x).to(theta)


def warn_off_mode(excess: float, dim: int) -> None:
    """Warn where a Newton step would raise the log posterior of `dim` weights by many nats."""
    if not excess < max(1, 0.01 * dim):
        warnings.warn(
            f"The weights are not at a mode: a Newton step would raise the log posterior by {excess:.3g} nats. "
            "Laplace's approximation is off, and its marginal likelihood by about as much. Give laplace a number of "
            "modes to find, or more steps.",
            stacklevel=3,
        )
