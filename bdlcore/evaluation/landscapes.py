"""Loss surfaces seen through planes and along paths in the space of weights. Everything returned is a stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .._support.progress import warn
from ..inference.optimise import optimise
from ..models.log_posterior import LogPosterior
from ..models.model import Model
from ..models.stack import Layout, Stack


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane in the space of whitened weights: theta(a, b) = origin + a u + b v, with u and v orthonormal.

    Attributes:
        origin, u, v: (D,).
        layout: what the D coordinates are.
    """

    origin: Tensor
    u: Tensor
    v: Tensor
    layout: Layout

    def stack(self, coordinates: Tensor) -> Stack:
        """The settings at coordinates (M, 2), a stack of M rows."""
        if not isinstance(coordinates, Tensor) or coordinates.ndim != 2 or coordinates.shape[1] != 2:
            found = (
                tuple(coordinates.shape) if isinstance(coordinates, Tensor) else type(coordinates).__name__
            )
            raise ValueError(f"coordinates must have shape (M, 2) and be a torch.Tensor, got {found}.")
        validate.finite("coordinates", coordinates)
        return Stack(self.origin + coordinates.to(self.u) @ torch.stack([self.u, self.v]), self.layout)

    def coordinates(self, stack: Stack) -> Tensor:
        """Coordinates (S, 2) of the foot of every row: exact for rows in the plane."""
        return (stack.theta - self.origin) @ torch.stack([self.u, self.v], 1)


def plane_through(stack: Stack) -> Plane:
    """The plane through three settings: row 0 at (0, 0), row 1 on the first axis."""
    if len(stack) != 3:
        raise ValueError(
            f"A plane goes through 3 settings, got a stack of {len(stack)}. Choose rows: stack[[0, 1, 2]]."
        )
    first, second = stack.theta[1:] - stack.theta[0]
    u = first / first.norm()
    rest = second - (second @ u) * u
    if not rest.norm() > 1e-6 * second.norm():  # also when a norm is 0
        raise ValueError(
            "These three settings lie on one line, and many planes go through it. Take another third one."
        )
    return Plane(stack.theta[0], u, rest / rest.norm(), stack.layout)


def segment(stack: Stack, points: int) -> Stack:
    """Settings evenly spaced on the straight line from row 0 to row 1, both included."""
    _two(stack)
    t = torch.linspace(
        0, 1, validate.count("points", points, 2), dtype=stack.theta.dtype, device=stack.theta.device
    )
    return Stack(torch.lerp(stack.theta[:1], stack.theta[1:], t[:, None]), stack.layout)


@dataclass(frozen=True, eq=False)
class Path:
    """A quadratic Bezier curve: theta(t) = (1-t)^2 start + 2 t (1-t) bend + t^2 end, for t from 0 to 1.

    Attributes:
        start, bend, end: (D,).
        layout: what the D coordinates are.
    """

    start: Tensor
    bend: Tensor
    end: Tensor
    layout: Layout

    def stack(self, points: int) -> Stack:
        """Settings at evenly spaced t, both ends included."""
        validate.count("points", points, 2)
        t = torch.linspace(0, 1, points, dtype=self.start.dtype, device=self.start.device)
        return Stack(_bezier(self.start, self.bend, self.end, t), self.layout)


def low_loss_path(
    model: Model,
    stack: Stack,
    x: Tensor,
    y: Tensor,
    *,
    steps: int = 300,
    lr: float = 0.05,
    points: int = 15,
    maximise: str = "posterior",
) -> Path:
    """A bent path of low loss from row 0 to row 1 of a stack: mode connectivity.

    Finds the bend of a Bezier curve that maximises the mean over the curve of the log posterior (or
    likelihood), by Adam from the middle of the straight line. (Garipov et al. 2018, section 3.)

    Args:
        model: the model.
        stack: the two ends, which stay where they are.
        x, y: training data.
        steps, lr: of Adam, lr in whitened units.
        points: places on the curve, evenly spaced in t, whose mean is taken.
        maximise: "posterior" or "likelihood".
    """
    _two(stack)
    validate.choice("maximise", maximise, ("posterior", "likelihood"))
    validate.count("points", points)
    start, end = stack.theta
    t = (torch.arange(points, dtype=start.dtype, device=start.device) + 0.5) / points
    target = _MeanOverPath(LogPosterior(model, x, y), start, end, t)
    if torch.equal(start, end):
        warn("Both ends of the path are the same setting.")
    bend, _ = optimise(target, stack.theta.mean(0, keepdim=True), steps, lr, maximise=maximise)
    return Path(start, bend[0], end, stack.layout)


class _MeanOverPath:
    """The mean of a density over the curve as a density of its bend: what `optimise` climbs."""

    def __init__(self, density: LogPosterior, start: Tensor, end: Tensor, t: Tensor):
        self.density, self.start, self.end, self.t = density, start, end, t
        self.count = density.count

    def batches(self, batch_size: None, shuffle: None) -> Iterator[_MeanOverPath]:
        while True:
            yield self

    def __call__(self, bend: Tensor) -> tuple[Tensor, Tensor]:
        return self._mean(*self.density(self._settings(bend)))

    def likelihood(self, bend: Tensor) -> tuple[Tensor, Tensor]:
        return self._mean(*self.density.likelihood(self._settings(bend)))

    def _settings(self, bend: Tensor) -> Tensor:
        return _bezier(self.start, bend[0], self.end, self.t)

    def _mean(self, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        pull = 2 * self.t * (1 - self.t)  # d theta(t) / d bend
        return value.mean()[None], (pull[:, None] * gradient).mean(0)[None]


def _bezier(start: Tensor, bend: Tensor, end: Tensor, t: Tensor) -> Tensor:
    t = t[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end


def _two(stack: Stack) -> None:
    if len(stack) != 2:
        raise ValueError(f"A path has two ends, got a stack of {len(stack)}. Choose rows: stack[[0, 1]].")
