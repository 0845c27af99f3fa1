"""What samplers and fitted approximations share: where rows start, and whether chains have mixed."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _validate
from .densities import LogPosterior
from .diagnostics import ess, rhat
from .ensembles import optimise
from .models import Model
from .posteriors import probe_inputs
from .randomness import RowRandom, generator
from .stacks import Stack, check_stack

_PROBE_DISTANCE = 1e-2  # prior standard deviations between the gradients that measure curvature
_POWER_ITERATIONS = 15
_CURVATURE_DATA = 2000


def starting_points(
    density: LogPosterior,
    rows: range,
    seed: int | torch.Generator,
    *,
    name: str,
    initial: Stack | None,
    steps: int,
    lr: float = 0.03,
    batch_size: int | None = None,
    shuffle: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """theta (S, D) to start from: the rows of `initial`, or prior draws optimised for `steps` Adam steps.

    Also the loss (steps, S) of that optimisation, of no steps when there was none. `name` is what the caller
    calls its rows, for messages; the rest is as in `optimise`.
    """
    steps = _validate.count("initial_steps", steps, 0)
    x, model = density.x, density.model
    if initial is not None:
        check_stack(initial, model.layout, x)
        if len(initial) != len(rows):
            raise ValueError(
                f"initial has {len(initial)} rows for {len(rows)} {name}s; give one row per {name}."
            )
        return initial.theta, x.new_empty(0, len(rows))
    theta = model.sample_prior(rows, seed, dtype=x.dtype, device=x.device).theta
    if steps == 0:
        return theta, x.new_empty(0, len(rows))
    return optimise(density, theta, steps, lr, batch_size, shuffle=shuffle)


def convergence(model: Model, draws: Tensor, probe: Tensor) -> dict[str, Tensor]:
    """R-hat and ESS (N, C) of the function values at `probe` for draws (chains, draws, D); nothing for < 4 draws."""
    chains, made = draws.shape[:2]
    if made < 4:
        return {}
    f = model.functions(Stack(draws.flatten(0, 1), model.layout), probe).unflatten(0, (chains, made))
    return {"rhat": rhat(f), "ess": ess(f)}


def probe_or_spread(model: Model, x: Tensor, probe: Tensor | None) -> Tensor:
    """The inputs at which convergence is judged: `probe`, checked early, or some of x."""
    if probe is None:
        return probe_inputs(x)
    model.check_inputs(probe)
    return probe


def largest_curvature(density: LogPosterior, theta: Tensor, seed: int, rows: range) -> tuple[Tensor, float]:
    """Largest |eigenvalue| of the Hessian at each row (S,), on at most 2,000 data.

    By power iteration on differences of gradients. Also its cost per row, in gradients on all the data.
    """
    random = RowRandom(seed, rows, stream=4, dtype=theta.dtype, device=theta.device)
    density, N = next(density.batches(_CURVATURE_DATA, generator(seed, 7))), len(density.x)
    direction = random.normal(theta.shape[1])
    for _ in range(_POWER_ITERATIONS):
        direction = direction / direction.norm(dim=1, keepdim=True)
        offset = _PROBE_DISTANCE * direction
        direction = (density(theta + offset)[1] - density(theta - offset)[1]) / (2 * _PROBE_DISTANCE)
    return direction.norm(dim=1), 2 * _POWER_ITERATIONS * len(density.x) / N


def require_finite(value: Tensor, what: str, step: int, advice: str) -> None:
    """Stop a run when the values (S,) of some rows are NaN or infinite; `what` is what the rows are called."""
    bad = (~torch.isfinite(value)).nonzero().flatten().tolist()
    if bad:
        raise RuntimeError(f"{what} {bad} became NaN or infinite at step {step}; {advice}")
