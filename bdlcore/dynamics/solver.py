"""SciPy's adaptive solver on torch's vector fields."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .._support import validate

LOST = 1e3  # a coordinate (m, m/s or rad) beyond which a motion is lost, and stands still


def solve(
    slope: Callable[[Tensor], Tensor],
    states: Tensor,
    times: Tensor,
    tolerance: float,
    most: int = 200_000,
) -> Tensor:
    """dz/dt = slope(z) from states (..., D) at time 0, at ascending times (T,): (..., T, D), by DOP853.

    All states advance by common steps, whose error, as a root mean square over all of them, is held to `tolerance`.
    Raises RuntimeError when the solver gives up or takes more than `most` evaluations.
    """
    from scipy.integrate import solve_ivp  # here, because importing bdlcore should stay quick

    validate.numbers("times", times)
    if times.ndim != 1 or times[0] < 0 or (times.diff() <= 0).any():
        raise ValueError(f"times must be one row of ascending times, none before 0; got {times}.")
    evaluations = 0

    def derivative(_: float, flat: np.ndarray) -> np.ndarray:
        nonlocal evaluations
        evaluations += 1
        if evaluations > most:
            raise RuntimeError(f"The solver took more than {most} evaluations; loosen tolerance.")
        z = torch.from_numpy(flat).to(states).view(states.shape)
        with torch.no_grad():
            change = slope(z)
        kept = torch.isfinite(change).all(-1, keepdim=True) & (z.abs().amax(-1, keepdim=True) < LOST)
        return torch.where(kept, change, 0.0).double().cpu().numpy().reshape(-1)

    found = solve_ivp(
        derivative,
        (0.0, float(times[-1])),
        states.detach().double().cpu().numpy().reshape(-1),
        method="DOP853",
        t_eval=times.double().cpu().numpy(),
        rtol=tolerance,
        atol=tolerance,
    )
    if not found.success:
        raise RuntimeError(f"The solver gave up: {found.message}")
    return torch.from_numpy(found.y).to(states).view(*states.shape, len(times)).movedim(-1, -2)
