"""Networks for dz/dt, for a whole stack of weights at once.

| field                    | state     | learned              | built in                             |
|--------------------------|-----------|----------------------|--------------------------------------|
| `FreeField`              | q, dq/dt  | dz/dt                | nothing (a neural ODE)               |
| `AngleHamiltonian`       | q, p      | M(q), V(q)           | Hamilton's equations                 |
| `AngleLagrangian`        | q, dq/dt  | M(q), V(q)           | the Euler-Lagrange equation          |
| `ConstrainedHamiltonian` | x, p      | n masses, V(x)       | Hamilton's equations and constraints |
| `ConstrainedLagrangian`  | x, v      | n masses, V(x)       | Newton's equation and constraints    |
| `CartesianHamiltonian`   | x, v      | n masses, V(x)       | Hamilton's equations                 |
| `PendulumConstants`      | x, v      | n masses, n lengths  | everything else about a pendulum     |

Each takes Cartesian states (x, v) and gives them back, so that all can be trained on the same data with the same
loss. Gradients of V and M in the coordinates are taken by hand rather than by autograd, so that training needs one
reverse pass and evaluating none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._support import validate
from .constraints import Constraints, solve
from .coordinates import Coordinates, angles_of, states_of
from .systems import GRAVITY, rods

# the diagonal of L(q) is softplus(output + SHIFT) + LEAST: about 1 for outputs of 0, and never 0
LEAST, SHIFT = 0.1, 0.38


class VectorField(nn.Module):
    """dz/dt for S settings of the weights at once, in a state z of the field's own choice.

    `parts` below are the weights as the field's other methods want them, from `unpack(weights)`; states are
    (S, N, ...).

    Attributes:
        width: 2 n d, of a Cartesian state.
        hidden: units of the widest layer.
    """

    width: int
    hidden: int

    def unpack(self, weights: Tensor) -> Any:
        """Weights (S, D), in the order of `named_parameters()`, by layer."""
        raise NotImplementedError

    def enter(self, parts: Any, states: Tensor) -> Tensor:
        """z of Cartesian states (S, N, width)."""
        raise NotImplementedError

    def slope(self, parts: Any, z: Tensor) -> Tensor:
        """dz/dt, the shape of z."""
        raise NotImplementedError

    def leave(self, parts: Any, z: Tensor) -> Tensor:
        """Cartesian states (S, N, width) of z."""
        raise NotImplementedError


class Perceptron(nn.Module):
    """A tanh network of a stack that can be differentiated in its inputs by hand, both ways.

    Layers are (W (S, out, in), b (S, 1, out)). `run` returns the outputs, and the activations that `pull` and `push`
    need.
    """

    def __init__(self, *sizes: int):
        super().__init__()
        self.sizes = tuple(validate.count("hidden", size) for size in sizes)
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True)
        )

    @property
    def dim(self) -> int:
        """Its number of weights."""
        return sum(p.numel() for p in self.parameters())

    def unpack(self, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights (S, dim) as layers."""
        layers = []
        for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            W, bias, weights = weights.split([a * b, b, weights.shape[1] - a * b - b], 1)
            layers.append((W.view(-1, b, a), bias.unsqueeze(1)))
        return layers

    @staticmethod
    def run(layers: list, h: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs (S, N, out) for inputs (S, N, in), and the hidden activations."""
        activations = []
        for W, b in layers[:-1]:
            h = torch.tanh(torch.baddbmm(b, h, W.mT))
            activations.append(h)
        W, b = layers[-1]
        return torch.baddbmm(b, h, W.mT), activations

    @staticmethod
    def pull(layers: list, activations: list[Tensor], g: Tensor) -> Tensor:
        """g^T (d outputs / d inputs), (S, N, in), for g (S, N, out)."""
        for (W, _), a in zip(layers[:0:-1], activations[::-1], strict=True):
            g = torch.bmm(g, W) * (1 - a * a)
        return torch.bmm(g, layers[0][0])

    @staticmethod
    def push(layers: list, activations: list[Tensor], t: Tensor) -> Tensor:
        """(d outputs / d inputs) t, (S, N, out), for t (S, N, in)."""
        for (W, _), a in zip(layers[:-1], activations, strict=True):
            t = torch.bmm(t, W.mT) * (1 - a * a)
        return torch.bmm(t, layers[-1][0].mT)

    @staticmethod
    def slope(layers: list, h: Tensor) -> Tensor:
        """Gradient (S, N, in) of a network with one output at inputs h."""
        activations = []
        for W, b in layers[:-1]:
            h = torch.tanh(torch.baddbmm(b, h, W.mT))
            activations.append(h)
        g = layers[-1][0] * (1 - activations[-1] * activations[-1])
        for (W, _), a in zip(layers[-2:0:-1], activations[-2::-1], strict=True):
            g = torch.bmm(g, W) * (1 - a * a)
        return torch.bmm(g, layers[0][0])


class FreeField(VectorField):
    """A neural ODE: one network gives dz/dt of the whole state z.

    Args:
        coordinates: angles to work in; the network sees their cosines and sines. None for Cartesian positions and
            velocities.
        width: 2 n d, needed when coordinates are None.
        hidden: units of both hidden layers.
    """

    def __init__(self, coordinates: Coordinates | None = None, width: int | None = None, hidden: int = 64):
        super().__init__()
        if coordinates is None and width is None:
            raise ValueError("FreeField needs coordinates, or the width of a Cartesian state.")
        self.coordinates, self.hidden = coordinates, hidden
        self.width = validate.count("width", width) if coordinates is None else coordinates.width
        state = self.width if coordinates is None else 2 * coordinates.freedoms
        features = state if coordinates is None else 3 * coordinates.freedoms
        self.net = Perceptron(features, hidden, hidden, state)

    def unpack(self, weights: Tensor) -> list:
        return self.net.unpack(weights)

    def enter(self, parts: list, states: Tensor) -> Tensor:
        return states if self.coordinates is None else torch.cat(self.coordinates.encode(states), -1)

    def slope(self, parts: list, z: Tensor) -> Tensor:
        if self.coordinates is None:
            return self.net.run(parts, z)[0]
        q, rates = z.chunk(2, -1)
        return self.net.run(parts, torch.cat([q.cos(), q.sin(), rates], -1))[0]

    def leave(self, parts: list, z: Tensor) -> Tensor:
        return z if self.coordinates is None else self.coordinates.decode(*z.chunk(2, -1))


class _AngleMechanics(VectorField):
    """Networks for the mass matrix and the potential of angles, and their derivatives.

        M(q) = L(q) L(q)^T with L lower triangular and its diagonal positive;  V(q)

    Both networks see cos q and sin q.

    Args:
        coordinates: the angles.
        hidden: units of both hidden layers of both networks.
    """

    def __init__(self, coordinates: Coordinates, hidden: int = 64):
        super().__init__()
        self.coordinates, self.hidden, self.width = coordinates, hidden, coordinates.width
        f = coordinates.freedoms
        rows, columns = torch.tril_indices(f, f)
        self.mass = Perceptron(2 * f, hidden, hidden, len(rows))
        self.energy = Perceptron(2 * f, hidden, hidden, 1)
        # entries of the triangle @ placing = L, row by row
        self.register_buffer(
            "placing", nn.functional.one_hot(f * rows + columns, f * f).float(), persistent=False
        )
        self.register_buffer("diagonal", rows == columns, persistent=False)

    def unpack(self, weights: Tensor) -> tuple[list, list]:
        mass, energy = weights.split([self.mass.dim, self.energy.dim], 1)
        return self.mass.unpack(mass), self.energy.unpack(energy)

    def _triangle(self, entries: Tensor) -> Tensor:
        """(..., f(f+1)/2) as lower triangular matrices (..., f, f)."""
        f = self.coordinates.freedoms
        return (entries @ self.placing.to(entries)).unflatten(-1, (f, f))

    def _factor(self, mass: list, q: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """L(q), the slope of its entries in the network's outputs, and the network's activations."""
        values, activations = self.mass.run(mass, torch.cat([q.cos(), q.sin()], -1))
        diagonal = self.diagonal.to(q.device)
        entries = torch.where(diagonal, nn.functional.softplus(values + SHIFT) + LEAST, values)
        return self._triangle(entries), torch.where(diagonal, (values + SHIFT).sigmoid(), 1.0), activations

    def _pull(self, mass: list, activations: list[Tensor], slopes: Tensor, q: Tensor, g: Tensor) -> Tensor:
        """sum_ij g_ij (dL_ij / dq), (S, N, f), for g (S, N, f, f)."""
        entries = g.flatten(-2) @ self.placing.to(g).mT
        return _in_angles(q, self.mass.pull(mass, activations, entries * slopes))

    def _force(self, energy: list, q: Tensor) -> Tensor:
        """-dV/dq."""
        return -_in_angles(q, self.energy.slope(energy, torch.cat([q.cos(), q.sin()], -1)))


def _in_angles(q: Tensor, g: Tensor) -> Tensor:
    """The gradient in q of what has the gradient g in (cos q, sin q)."""
    g_cos, g_sin = g.chunk(2, -1)
    return g_sin * q.cos() - g_cos * q.sin()


class AngleHamiltonian(_AngleMechanics):
    """A Hamiltonian network in angles (Greydanus et al. 2019, with the mass matrix of Zhong et al. 2020).

        H(q, p) = 1/2 p^T M(q)^-1 p + V(q),    dq/dt = dH/dp,    dp/dt = -dH/dq

    Momenta are the network's own, p = M(q) dq/dt. See `_AngleMechanics` for the arguments.
    """

    def enter(self, parts: tuple[list, list], states: Tensor) -> Tensor:
        q, rates = self.coordinates.encode(states)
        L, _, _ = self._factor(parts[0], q)
        return torch.cat([q.expand(L.shape[:-1]), _times(L, _times(L.mT, rates))], -1)

    def slope(self, parts: tuple[list, list], z: Tensor) -> Tensor:
        q, p = z.chunk(2, -1)
        L, slopes, activations = self._factor(parts[0], q)
        rates = solve(L @ L.mT, p)
        # d/dq of 1/2 p^T (L L^T)^-1 p = - sum_ij rates_i (L^T rates)_j dL_ij/dq
        g = rates[..., :, None] * _times(L.mT, rates)[..., None, :]
        change = self._pull(parts[0], activations, slopes, q, g) + self._force(parts[1], q)
        return torch.cat([rates, change], -1)

    def leave(self, parts: tuple[list, list], z: Tensor) -> Tensor:
        q, p = z.chunk(2, -1)
        L, _, _ = self._factor(parts[0], q)
        return self.coordinates.decode(q, solve(L @ L.mT, p))


class AngleLagrangian(_AngleMechanics):
    """A Lagrangian network in angles, as DeLaN (Lutter, Ritter and Peters 2019).

        M(q) d^2q/dt^2 = -dV/dq + 1/2 d(r^T M(q) r)/dq - (dM/dt) r,    r = dq/dt

    See `_AngleMechanics` for the arguments.
    """

    def enter(self, parts: tuple[list, list], states: Tensor) -> Tensor:
        return torch.cat(self.coordinates.encode(states), -1)

    def slope(self, parts: tuple[list, list], z: Tensor) -> Tensor:
        q, rates = z.chunk(2, -1)
        L, slopes, activations = self._factor(parts[0], q)
        w = _times(L.mT, rates)
        pulled = self._pull(parts[0], activations, slopes, q, rates[..., :, None] * w[..., None, :])
        moving = torch.cat([-q.sin() * rates, q.cos() * rates], -1)
        L_dot = self._triangle(self.mass.push(parts[0], activations, moving) * slopes)
        turning = _times(L_dot, w) + _times(L, _times(L_dot.mT, rates))
        return torch.cat([rates, solve(L @ L.mT, self._force(parts[1], q) + pulled - turning)], -1)

    def leave(self, parts: tuple[list, list], z: Tensor) -> Tensor:
        return self.coordinates.decode(*z.chunk(2, -1))


def _times(A: Tensor, v: Tensor) -> Tensor:
    """A v for matrices (..., f, f) and vectors (..., f)."""
    return (A @ v[..., None])[..., 0]


class _CartesianMechanics(VectorField):
    """Constant masses and a potential network V(x) of Cartesian positions.

    Args:
        constraints: phi; the model's starts are put onto them, and it keeps to them.
        hidden: units of both hidden layers of V.

    Parameters:
        log_masses: (n,), the logarithms.
    """

    def __init__(self, constraints: Constraints, hidden: int = 64):
        super().__init__()
        self.constraints, self.hidden = constraints, hidden
        positions = constraints.bodies * constraints.dimensions
        self.width = 2 * positions
        self.log_masses = nn.Parameter(torch.zeros(constraints.bodies))
        self.energy = Perceptron(positions, hidden, hidden, 1)

    def unpack(self, weights: Tensor) -> tuple[Tensor, list]:
        """1 / masses (S, 1, n d), and the layers of V."""
        log_masses, energy = weights.split([self.constraints.bodies, self.energy.dim], 1)
        inverse = (-log_masses).exp().repeat_interleave(self.constraints.dimensions, 1)
        return inverse[:, None], self.energy.unpack(energy)

    def enter(self, parts: tuple[Tensor, list], states: Tensor) -> Tensor:
        return self.constraints.project(states)


class ConstrainedLagrangian(_CartesianMechanics):
    """CLNN (Finzi, Wang and Wilson 2020): Newton's equation with the multipliers of the constraints.

        M a = -dV/dx - G^T lambda

    See `_CartesianMechanics` for the arguments.
    """

    def slope(self, parts: tuple[Tensor, list], z: Tensor) -> Tensor:
        (inverse, energy), (x, v) = parts, z.chunk(2, -1)
        force = -self.energy.slope(energy, x)
        return torch.cat([v, self.constraints.accelerations(x, v, force, inverse)], -1)

    def leave(self, parts: tuple[Tensor, list], z: Tensor) -> Tensor:
        return z


class ConstrainedHamiltonian(_CartesianMechanics):
    """CHNN (Finzi, Wang and Wilson 2020): Hamilton's equations, projected onto the constraints and their rates.

        Phi = (phi, psi),  psi = G M^-1 p,    dz/dt = (I - J DPhi (DPhi^T J DPhi)^-1 DPhi^T) J grad H

    Written out, with S = G M^-1 G^T and psi_x = d psi / dx:

        dx/dt = v = M^-1 (p - G^T beta),                          S beta = psi       (0 on the constraints)
        dp/dt = -dV/dx + psi_x^T beta + G^T alpha,                S alpha = -psi_x v - G M^-1 (-dV/dx + psi_x^T beta)

    See `_CartesianMechanics` for the arguments.
    """

    def enter(self, parts: tuple[Tensor, list], states: Tensor) -> Tensor:
        x, v = super().enter(parts, states).chunk(2, -1)
        p = v / parts[0]
        return torch.cat([x.expand(p.shape), p], -1)

    def slope(self, parts: tuple[Tensor, list], z: Tensor) -> Tensor:
        (inverse, energy), (x, p) = parts, z.chunk(2, -1)
        G, psi_x = self.constraints.jacobian(x), self.constraints.jacobian(p * inverse)
        weighted = G * inverse[..., None, :]
        S_inverse = torch.linalg.inv_ex(weighted @ G.mT).inverse
        beta = _times(S_inverse, _times(weighted, p))
        v = p * inverse - _times(weighted.mT, beta)
        push = _times(psi_x.mT, beta) - self.energy.slope(energy, x)
        alpha = -_times(S_inverse, _times(psi_x, v) + _times(weighted, push))
        return torch.cat([v, push + _times(G.mT, alpha)], -1)

    def leave(self, parts: tuple[Tensor, list], z: Tensor) -> Tensor:
        x, p = z.chunk(2, -1)
        return torch.cat([x, p * parts[0]], -1)


class CartesianHamiltonian(_CartesianMechanics):
    """The control: the same masses and potential in the same coordinates, and no constraints.

        dx/dt = M^-1 p,    dp/dt = -dV/dx

    See `_CartesianMechanics` for the arguments.
    """

    def enter(self, parts: tuple[Tensor, list], states: Tensor) -> Tensor:
        return states

    def slope(self, parts: tuple[Tensor, list], z: Tensor) -> Tensor:
        (inverse, energy), (x, v) = parts, z.chunk(2, -1)
        return torch.cat([v, -self.energy.slope(energy, x) * inverse], -1)

    def leave(self, parts: tuple[Tensor, list], z: Tensor) -> Tensor:
        return z


class PendulumConstants(VectorField):
    """A pendulum of which only the masses and lengths are unknown: a model with 2 n parameters and no network.

    Its starts keep the directions of the rods that they are given, and take the model's lengths. Parameters are
    logarithms, so that N(0, s^2) on them says "1 kg and 1 m, up to a factor of about e^s".

    Args:
        links: n.

    Parameters:
        log_masses, log_lengths: (n,) each.
    """

    def __init__(self, links: int):
        super().__init__()
        self.links = validate.count("links", links)
        self.width, self.hidden = 4 * links, 4 * links
        self.log_masses = nn.Parameter(torch.zeros(links))
        self.log_lengths = nn.Parameter(torch.zeros(links))
        self.constraints = rods(torch.ones(links))

    def unpack(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """1 / masses (S, 1, 2 n), and lengths (S, 1, n)."""
        log_masses, log_lengths = weights.split(self.links, 1)
        return (-log_masses).exp().repeat_interleave(2, 1)[:, None], log_lengths.exp()[:, None]

    def enter(self, parts: tuple[Tensor, Tensor], states: Tensor) -> Tensor:
        return states_of(*angles_of(states), parts[1])

    def slope(self, parts: tuple[Tensor, Tensor], z: Tensor) -> Tensor:
        (inverse, _), (x, v) = parts, z.chunk(2, -1)
        down = x.new_tensor([0.0, -GRAVITY]).repeat(self.links)
        return torch.cat([v, self.constraints.accelerations(x, v, down / inverse, inverse)], -1)

    def leave(self, parts: tuple[Tensor, Tensor], z: Tensor) -> Tensor:
        return z
