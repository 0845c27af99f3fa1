"""Mechanics with constraints: systems whose motion is known, and networks that learn it from pieces of trajectories.

A state of n bodies in d dimensions is one row z = (x, v) of 2 n d numbers: all positions, then all velocities.

    system = dynamics.pendulum(links=2)                   energies, constraints, the true motion
    field = dynamics.ConstrainedHamiltonian(system.constraints)   a network for dz/dt
    network = dynamics.RollOut(field, dt=0.03, steps=4)   start (N, 2nd) -> states at 4 later times (N, 4 * 2nd)

`RollOut` is a network like any other: `bdl.Model`, `bdl.ensemble`, `bdl.hmc` and `bdl.predict` take it. `train_each`
trains a stack whose rows have data sets of their own.
"""

from .constraints import Constraints
from .coordinates import ChainAngles, EulerAngles
from .errors import geometric_mean, relative_error
from .fields import (
    AngleHamiltonian,
    AngleLagrangian,
    CartesianHamiltonian,
    ConstrainedHamiltonian,
    ConstrainedLagrangian,
    FreeField,
    PendulumConstants,
    VectorField,
)
from .roll_out import RollOut, adaptive_roll_out, rk4
from .systems import System, chunks, coupled_pendulums, pendulum, rigid_body
from .training import train_each

__all__ = [
    "AngleHamiltonian",
    "AngleLagrangian",
    "CartesianHamiltonian",
    "ChainAngles",
    "ConstrainedHamiltonian",
    "ConstrainedLagrangian",
    "Constraints",
    "EulerAngles",
    "FreeField",
    "PendulumConstants",
    "RollOut",
    "System",
    "VectorField",
    "adaptive_roll_out",
    "chunks",
    "coupled_pendulums",
    "geometric_mean",
    "pendulum",
    "relative_error",
    "rigid_body",
    "rk4",
    "train_each",
]
