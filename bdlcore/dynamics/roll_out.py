"""Motion from a vector field: the classical Runge-Kutta method for training, an adaptive solver for judging."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._support import validate
from ..models.model import Model
from ..models.stack import Stack, check_stack
from ..nets.protocol import StackedModule
from .fields import VectorField
from .solver import LOST, solve


def rk4(slope: Callable[[Tensor], Tensor], z: Tensor, dt: float, steps: int, substeps: int = 1) -> Tensor:
    """States (steps, ...) at times dt, 2 dt, ... from z at time 0, by the classical Runge-Kutta method.

    One step of length h = dt / substeps, whose error is O(h^5):

        k1 = f(z),  k2 = f(z + h k1 / 2),  k3 = f(z + h k2 / 2),  k4 = f(z + h k3)
        z <- z + h (k1 + 2 k2 + 2 k3 + k4) / 6
    """
    h, states = dt / substeps, []
    for step in range(1, steps * substeps + 1):
        k1 = slope(z)
        k2 = slope(torch.add(z, k1, alpha=h / 2))
        k3 = slope(torch.add(z, k2, alpha=h / 2))
        k4 = slope(torch.add(z, k3, alpha=h))
        z = torch.add(z, torch.add(k1 + k4, k2 + k3, alpha=2), alpha=h / 6)
        if step % substeps == 0:
            states.append(z)
    return torch.stack(states)


class RollOut(StackedModule):
    """The motion that a vector field predicts, as a network: a Cartesian state -> `steps` later ones.

    Its outputs are (N, steps * 2nd), time by time, so that a `Gaussian` likelihood compares them with an observed
    piece of a trajectory.

    Args:
        field: dz/dt.
        dt: seconds from one state to the next.
        steps: number of states.
        substeps: Runge-Kutta steps from one state to the next.
    """

    def __init__(self, field: VectorField, dt: float, steps: int, substeps: int = 1):
        super().__init__()
        if not isinstance(field, VectorField):
            raise TypeError(f"field must be a VectorField, such as FreeField, got {type(field).__name__}.")
        validate.scale("dt", dt)
        self.field, self.dt = field, dt
        self.steps, self.substeps = validate.count("steps", steps), validate.count("substeps", substeps)

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x does not hold states of the field's width."""
        super().check_inputs(x)
        if x.shape[-1] != self.field.width or x.ndim not in (2, 3):
            raise ValueError(
                f"x must hold states of {self.field.width} numbers, positions and then velocities; got shape "
                f"{tuple(x.shape)}."
            )

    def widest_activation(self, x: Tensor) -> int:
        """Units of the widest layer, or numbers in a roll-out."""
        return max(self.field.hidden, self.steps * self.field.width)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.cat([p.flatten() for p in self.field.parameters()])
        return self.forward_stack(weights[None], x)[0]

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Roll-outs (S, N, steps * 2nd) for weights (S, D), from states (N, 2nd), or a set for each row."""
        parts = self.field.unpack(weights)
        z = self.field.enter(parts, x.expand(len(weights), *x.shape[-2:]))
        states = rk4(lambda z: self.field.slope(parts, z), z, self.dt, self.steps, self.substeps)
        T, S, N, k = states.shape
        out = self.field.leave(parts, states.movedim(0, 1).reshape(S, T * N, k))
        return out.view(S, T, N, -1).movedim(1, 2).reshape(S, N, -1)


@torch.no_grad()
def adaptive_roll_out(
    model: Model, stack: Stack, states: Tensor, times: Tensor, tolerance: float = 1e-6
) -> Tensor:
    """Motion (S, N, T, 2nd) that every field of a stack predicts from states (N, 2nd), by DOP853 at a tolerance.

    A motion whose coordinates exceed 1,000 (or are not finite) is lost: from there on it is NaN.

    Args:
        model: whose network is a `RollOut`; its dt and steps play no part.
        stack: S settings.
        states: starts.
        times: (T,) ascending, in seconds.
        tolerance: relative and absolute, of one step.
    """
    if not isinstance(model.network, RollOut):
        raise TypeError(f"model must have a RollOut as its network, got {type(model.network).__name__}.")
    check_stack(stack, model.layout, states)
    model.check_inputs(states)
    validate.positive("tolerance", tolerance)
    field = model.network.field
    parts = field.unpack(stack.weights)
    z = field.enter(parts, states.expand(len(stack), *states.shape))
    motion = solve(lambda z: field.slope(parts, z), z, times, tolerance)
    S, N, T, k = motion.shape
    lost = ~(motion.abs().amax(-1, keepdim=True) < LOST)
    out = field.leave(parts, motion.reshape(S, N * T, k)).view(S, N, T, -1)
    return torch.where(lost, torch.nan, out)
