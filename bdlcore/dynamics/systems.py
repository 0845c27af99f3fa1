"""Systems whose motion is known: energies, constraints, states to start from, and trajectories.

All of them have a constant, diagonal mass matrix and a simple potential in Cartesian coordinates, and quadratic
constraints: what a rigid body has in angles, a mass matrix that changes with the angles, it has not in these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .._support import validate
from .._support.randomness import generator
from .constraints import Constraints
from .coordinates import ChainAngles, Coordinates, EulerAngles
from .solver import solve

GRAVITY = 9.81  # m / s^2


@dataclass(frozen=True, eq=False)
class System:
    """n bodies in d dimensions under a potential and constraints.

    Attributes:
        masses: (n,) in kg; for a rigid body its second moments, see `rigid_body`.
        constraints: phi.
        potential: positions (..., n d) -> V (...), in joules.
        force: positions -> -dV/dx (..., n d), in newtons.
        coordinates: angles that the constraints leave free.
        rate_std: spread of the rates dq/dt in rad/s that `start` draws.
        name: what the system is called.
    """

    masses: Tensor
    constraints: Constraints
    potential: Callable[[Tensor], Tensor]
    force: Callable[[Tensor], Tensor]
    coordinates: Coordinates
    rate_std: float
    name: str

    @property
    def width(self) -> int:
        """2 n d, the numbers of one state."""
        return 2 * len(self.masses) * self.constraints.dimensions

    @property
    def inverse_masses(self) -> Tensor:
        """(n d,), the diagonal of M^-1."""
        return (1 / self.masses).repeat_interleave(self.constraints.dimensions)

    def energy(self, states: Tensor) -> Tensor:
        """1/2 v^T M v + V(x), (...), of states (..., 2 n d)."""
        validate.numbers("states", states)
        self.constraints.check_width("states", states)
        x, v = states.chunk(2, -1)
        return 0.5 * (v.square() / self.inverse_masses.to(v)).sum(-1) + self.potential(x)

    def slope(self, states: Tensor) -> Tensor:
        """dz/dt = (v, a) of the true motion, (..., 2 n d)."""
        x, v = states.chunk(2, -1)
        a = self.constraints.accelerations(x, v, self.force(x), self.inverse_masses.to(x))
        return torch.cat([v, a], -1)

    def start(self, samples: int, seed: int | torch.Generator) -> Tensor:
        """Random states (samples, 2 n d) in float64 that satisfy the constraints.

        Angles are N(0, 1) rad around hanging down, and rates N(0, rate_std^2); of a rigid body, the orientation is
        uniform and the angular velocity N(0, rate_std^2 I).
        """
        validate.count("samples", samples)
        return self.coordinates.sample(samples, self.rate_std, generator(seed))

    def simulate(self, states: Tensor, times: Tensor, tolerance: float = 1e-10) -> Tensor:
        """The true motion from states (N, 2 n d) at time 0, (N, T, 2 n d), by SciPy's DOP853 in float64.

        Args:
            states: starts that satisfy the constraints.
            times: (T,) ascending, in seconds, the first > 0 or 0.
            tolerance: relative and absolute, of one step.

        Raises RuntimeError when the solver gives up.
        """
        validate.numbers("states", states)
        self.constraints.check_width("states", states)
        validate.positive("tolerance", tolerance)
        return solve(self.slope, states.double(), times, tolerance)


def _default_constants(n: int, values: Tensor | None, name: str, seed: int) -> Tensor:
    """Given constants, or uniform ones from [0.6, 1.4] that are always the same."""
    if values is None:
        return torch.from_numpy(np.random.default_rng(seed).uniform(0.6, 1.4, n))
    values = torch.as_tensor(values, dtype=torch.float64)
    if values.shape != (n,):
        raise ValueError(f"{name} must hold {n} numbers, got shape {tuple(values.shape)}.")
    validate.positive(name, values)
    return values


def rods(lengths: Tensor, chained: bool = True) -> Constraints:
    """|x_i - x_{i-1}|^2 = l_i^2 in a plane, x_0 the origin.

    With `chained=False` every rod hangs from a pivot of its own, from which x_i is then measured.
    """
    n = len(lengths)
    ends = torch.eye(n, dtype=torch.float64)
    if chained:
        ends = ends - torch.diag(torch.ones(n - 1, dtype=torch.float64), -1)
    return Constraints(ends[:, :, None] * ends[:, None, :], 0.5 * lengths.double().square(), 2)


def pendulum(links: int, masses: Tensor | None = None, lengths: Tensor | None = None) -> System:
    """A chain of point masses on massless rods that swings in a plane under gravity, hung from the origin.

    Args:
        links: n.
        masses, lengths: (n,) in kg and m; when None, uniform in [0.6, 1.4], drawn once and for all.
    """
    links = validate.count("links", links)
    masses = _default_constants(links, masses, "masses", 0)
    lengths = _default_constants(links, lengths, "lengths", 1)

    def potential(x: Tensor) -> Tensor:
        return GRAVITY * (x[..., 1::2] * masses.to(x)).sum(-1)

    def force(x: Tensor) -> Tensor:
        return (masses.to(x)[:, None] * x.new_tensor([0.0, -GRAVITY])).flatten().expand(x.shape)

    return System(
        masses, rods(lengths), potential, force, ChainAngles(lengths), 1.0, f"{links}-link pendulum"
    )


def coupled_pendulums(count: int, stiffness: float = 10.0) -> System:
    """Pendulums of 1 kg and 1 m beside each other, 1 m apart, in a plane; springs join neighbouring masses.

    Positions are measured from each one's own pivot. A spring is at rest at 1 m and pulls by `stiffness` N/m.
    """
    count = validate.count("count", count, 2)
    validate.scale("stiffness", stiffness)
    ones = torch.ones(count, dtype=torch.float64)

    def springs(x: Tensor) -> tuple[Tensor, Tensor]:
        bodies = x.unflatten(-1, (-1, 2))
        along = bodies[..., 1:, :] - bodies[..., :-1, :] + x.new_tensor([1.0, 0.0])
        return along, along.norm(dim=-1)

    def potential(x: Tensor) -> Tensor:
        return GRAVITY * x[..., 1::2].sum(-1) + 0.5 * stiffness * (springs(x)[1] - 1).square().sum(-1)

    def force(x: Tensor) -> Tensor:
        along, length = springs(x)
        pull = stiffness * (1 - 1 / length)[..., None] * along
        pulls = pad(pull, (0, 0, 0, 1)) - pad(pull, (0, 0, 1, 0))
        return (pulls + x.new_tensor([0.0, -GRAVITY])).flatten(-2)

    return System(
        ones, rods(ones, False), potential, force, ChainAngles(ones, False), 1.0, f"{count} coupled pendulums"
    )


def rigid_body(moments: Tensor | None = None, weight: float = 0.0) -> System:
    """A body in three dimensions with one fixed point: a free rotor, or with `weight` a gyroscope.

    Its state is three unit vectors e_1, e_2, e_3 along the body's axes. A point of the body is sum_i xi_i e_i, so that
    the kinetic energy is 1/2 sum_i J_i |de_i/dt|^2 with the second moments J_i = integral rho xi_i^2: three "bodies" of
    constant "masses" J_i, held at right angles by six constraints. Moments of inertia are I_1 = J_2 + J_3 and so on.

    Args:
        moments: (3,) J in kg m^2; (0.5, 0.3, 0.2) when None.
        weight: mass times g times the distance of the centre of mass along e_3, in joules; 0 for a free rotor.
    """
    moments = torch.tensor([0.5, 0.3, 0.2]).double() if moments is None else moments
    moments = _default_constants(3, moments, "moments", 0)
    validate.scale("weight", weight, zero=True)
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    forms = torch.zeros(6, 3, 3, dtype=torch.float64)
    for form, (i, j) in zip(forms, pairs, strict=True):
        form[i, j] = form[j, i] = 1.0
    levels = torch.tensor([0.5, 0.5, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64)

    def potential(x: Tensor) -> Tensor:
        return weight * x[..., 8]

    def force(x: Tensor) -> Tensor:
        return (-weight * (torch.arange(9) == 8)).to(x).expand(x.shape)

    name = "gyroscope" if weight else "free rotor"
    return System(moments, Constraints(forms, levels, 3), potential, force, EulerAngles(), 2.0, name)


def chunks(trajectories: Tensor, steps: int, seed: int | torch.Generator) -> tuple[Tensor, Tensor]:
    """One random piece of each trajectory: its first state, and the `steps` that follow it.

    Args:
        trajectories: (N, T, D) states at equal intervals.
        steps: how many states to predict, < T.
        seed: of the random places.

    Returns:
        starts (N, D) and states (N, steps * D): inputs and targets of a `RollOut` with as many steps.
    """
    validate.numbers("trajectories", trajectories)
    steps = validate.count("steps", steps)
    if trajectories.ndim != 3 or trajectories.shape[1] <= steps:
        raise ValueError(
            f"trajectories must have shape (N, T, D) with T > steps = {steps}, got {tuple(trajectories.shape)}."
        )
    N, T, _ = trajectories.shape
    first = torch.randint(T - steps, (N, 1), generator=generator(seed))
    where = first + torch.arange(steps + 1)
    pieces = trajectories[torch.arange(N)[:, None], where]
    return pieces[:, 0], pieces[:, 1:].flatten(1)
