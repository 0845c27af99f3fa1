"""Generalised coordinates: one number for each degree of freedom, and the way to Cartesian states and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .._support import validate


class Coordinates(Protocol):
    """q (..., f) with their rates, for states (x, v) (..., 2 n d). All q are angles."""

    freedoms: int
    width: int

    def encode(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Angles q and rates dq/dt, (..., f) each, of Cartesian states (..., width)."""
        ...

    def decode(self, q: Tensor, rates: Tensor) -> Tensor:
        """Cartesian states (..., width)."""
        ...

    def sample(self, samples: int, rate_std: float, generator: torch.Generator) -> Tensor:
        """Random Cartesian states (samples, width) in float64, with rates of the standard deviation `rate_std`."""
        ...


@dataclass(frozen=True, eq=False)
class ChainAngles:
    """Angles from the downward vertical of n rods in a plane, each hanging from the one before it or from a pivot.

        x_i = sum_j T_ij l_j (sin q_j, -cos q_j)

    Attributes:
        lengths: (n,) l.
        chained: T_ij = 1 for j <= i (a chain, the default), or rods on pivots of their own, T = I.
    """

    lengths: Tensor
    chained: bool = True

    def __post_init__(self):
        validate.numbers("lengths", self.lengths)
        validate.positive("lengths", self.lengths)

    @property
    def freedoms(self) -> int:
        return len(self.lengths)

    @property
    def width(self) -> int:
        return 4 * self.freedoms

    def encode(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Angles in (-pi, pi] and rates, (..., n) each; components along the rods are ignored."""
        return angles_of(states, self.chained)

    def decode(self, q: Tensor, rates: Tensor) -> Tensor:
        """Cartesian states (..., 4 n)."""
        return states_of(q, rates, self.lengths.to(q), self.chained)

    def sample(self, samples: int, rate_std: float, generator: torch.Generator) -> Tensor:
        """Angles N(0, 1) rad around hanging down, rates N(0, rate_std^2)."""
        q, rates = torch.randn(2, samples, self.freedoms, generator=generator, dtype=torch.float64)
        return self.decode(q, rate_std * rates)


def angles_of(states: Tensor, chained: bool = True) -> tuple[Tensor, Tensor]:
    """Angles and rates, (..., n) each, of rods with these ends and their velocities, (..., 4 n)."""
    x, v = (part.unflatten(-1, (-1, 2)) for part in states.chunk(2, -1))
    if chained:
        x, v = _differences(x), _differences(v)
    rates = (v[..., 1] * x[..., 0] - v[..., 0] * x[..., 1]) / x.square().sum(-1)
    return torch.atan2(x[..., 0], -x[..., 1]), rates


def states_of(q: Tensor, rates: Tensor, lengths: Tensor, chained: bool = True) -> Tensor:
    """Cartesian states (..., 4 n) of rods whose lengths (..., n) are those of all states, or of each its own."""
    sin, cos = q.sin(), q.cos()
    x = torch.stack([lengths * sin, -lengths * cos], -1)
    v = torch.stack([lengths * cos * rates, lengths * sin * rates], -1)
    if chained:
        x, v = x.cumsum(-2), v.cumsum(-2)
    return torch.cat([x.flatten(-2), v.flatten(-2)], -1)


def _differences(x: Tensor) -> Tensor:
    """Each body's place less that of the body before it, (..., n, d)."""
    return torch.cat([x[..., :1, :], x[..., 1:, :] - x[..., :-1, :]], -2)


@dataclass(frozen=True)
class EulerAngles:
    """Euler's angles (z-x-z) of a rigid body with one fixed point.

    The columns of R = Z(q_1) X(q_2) Z(q_3) are its axes. A state is (e_1, e_2, e_3) and their velocities, 18 numbers.
    The angles are singular where q_2 is 0 or pi: there two of the turns are about the same axis, and rates become
    infinite. Every choice of three angles has such places.
    """

    freedoms: int = 3
    width: int = 18

    def encode(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Angles and rates, (..., 3) each."""
        axes, velocities = (part.unflatten(-1, (3, 3)) for part in states.chunk(2, -1))  # rows are axes
        third = axes[..., 2, :]
        q = torch.stack(
            [
                torch.atan2(third[..., 0], -third[..., 1]),
                torch.atan2(third[..., :2].norm(dim=-1), third[..., 2]),
                torch.atan2(axes[..., 0, 2], axes[..., 1, 2]),
            ],
            -1,
        )
        omega = 0.5 * torch.linalg.cross(axes, velocities).sum(-2)  # de/dt = omega x e
        return q, torch.linalg.solve_ex(_turning_axes(q), omega).result

    def decode(self, q: Tensor, rates: Tensor) -> Tensor:
        """Cartesian states (..., 18)."""
        (s1, s2, s3), (c1, c2, c3) = q.sin().unbind(-1), q.cos().unbind(-1)
        axes = torch.stack(
            [
                torch.stack([c1 * c3 - s1 * c2 * s3, s1 * c3 + c1 * c2 * s3, s2 * s3], -1),
                torch.stack([-c1 * s3 - s1 * c2 * c3, -s1 * s3 + c1 * c2 * c3, s2 * c3], -1),
                torch.stack([s1 * s2, -c1 * s2, c2], -1),
            ],
            -2,
        )
        omega = (_turning_axes(q) @ rates[..., None])[..., 0]
        velocities = torch.linalg.cross(omega[..., None, :].expand_as(axes), axes)
        return torch.cat([axes.flatten(-2), velocities.flatten(-2)], -1)

    def sample(self, samples: int, rate_std: float, generator: torch.Generator) -> Tensor:
        """Orientations uniform over all rotations, angular velocities N(0, rate_std^2 I)."""
        matrices = torch.randn(samples, 3, 3, generator=generator, dtype=torch.float64)
        omega = rate_std * torch.randn(samples, 1, 3, generator=generator, dtype=torch.float64)
        axes, triangle = torch.linalg.qr(matrices)
        axes = axes * triangle.diagonal(dim1=-2, dim2=-1).sign()[:, None]
        axes[..., 2] *= torch.linalg.det(axes)[:, None]  # right-handed
        axes = axes.mT
        velocities = torch.linalg.cross(omega.expand_as(axes), axes)
        return torch.cat([axes.flatten(1), velocities.flatten(1)], 1)


def _turning_axes(q: Tensor) -> Tensor:
    """The matrix B(q) (..., 3, 3) of omega = B dq/dt: its columns are the axes that the angles turn about."""
    (s1, s2, _), (c1, c2, _) = q.sin().unbind(-1), q.cos().unbind(-1)
    zero = torch.zeros_like(s1)
    return torch.stack(
        [
            torch.stack([zero, c1, s1 * s2], -1),
            torch.stack([zero, s1, -c1 * s2], -1),
            torch.stack([zero + 1, zero, c2], -1),
        ],
        -2,
    )
