"""Holonomic constraints phi(x) = 0 that are quadratic in Cartesian coordinates, and what follows from them.

Rods and rigid bodies need no others. With the positions of n bodies in d dimensions as a matrix X (n, d),

    phi_k(x) = 1/2 tr(X^T A_k X) - c_k,    k = 1 ... K.

The rod from body j to body i of length l has A = (e_i - e_j)(e_i - e_j)^T and c = l^2 / 2. The Jacobian
G_k = d phi_k / dx = A_k X is linear in x, and the second derivative does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from .._support import validate


@dataclass(frozen=True, eq=False)
class Constraints:
    """K quadratic constraints on n bodies in d dimensions.

    Attributes:
        forms: (K, n, n) symmetric matrices A_k.
        levels: (K,) values c_k.
        dimensions: d.
    """

    forms: Tensor
    levels: Tensor
    dimensions: int

    def __post_init__(self):
        validate.numbers("forms", self.forms)
        validate.numbers("levels", self.levels)
        validate.count("dimensions", self.dimensions)
        K = len(self.levels)
        if self.forms.ndim != 3 or self.forms.shape != (K, self.bodies, self.bodies):
            raise ValueError(
                f"forms must have shape ({K}, n, n), one symmetric matrix per level; got {tuple(self.forms.shape)}."
            )
        if not torch.equal(self.forms, self.forms.mT):
            raise ValueError("forms must be symmetric: use (forms + forms.mT) / 2, which is the same form.")

    @property
    def bodies(self) -> int:
        """n."""
        return self.forms.shape[-1]

    def __len__(self) -> int:
        return len(self.levels)

    def with_levels(self, levels: Tensor) -> Constraints:
        """The same constraints at other levels, such as rods of another length."""
        return replace(self, levels=levels)

    def residual(self, x: Tensor) -> Tensor:
        """phi(x), (..., K), for positions x (..., n d)."""
        return 0.5 * (self.jacobian(x) @ x[..., None])[..., 0] - self.levels.to(x)

    def jacobian(self, x: Tensor) -> Tensor:
        """G(x) = d phi / dx, (..., K, n d)."""
        return (x @ self._operator(x)).unflatten(-1, (len(self), -1))

    def curvature(self, v: Tensor) -> Tensor:
        """(dG/dt) v = v^T (d^2 phi / dx^2) v, (..., K), for velocities v (..., n d)."""
        return (self.jacobian(v) @ v[..., None])[..., 0]

    def violation(self, states: Tensor) -> Tensor:
        """The largest |phi_k| and |d phi_k / dt| over k of states (..., 2 n d), (...)."""
        x, v = states.chunk(2, -1)
        both = torch.cat([self.residual(x), (self.jacobian(x) @ v[..., None])[..., 0]], -1)
        return both.abs().amax(-1)

    def accelerations(self, x: Tensor, v: Tensor, force: Tensor, inverse_masses: Tensor) -> Tensor:
        """Accelerations under forces and the constraints, (..., n d).

        The multipliers lambda are such that d^2 phi / dt^2 = 0:

            M a = F - G^T lambda,    G M^-1 G^T lambda = G M^-1 F + (dG/dt) v.

        Args:
            x, v: positions and velocities (..., n d).
            force: F (..., n d).
            inverse_masses: the diagonal of M^-1, broadcast against x.
        """
        G = self.jacobian(x)
        weighted = G * inverse_masses[..., None, :]
        free = force * inverse_masses
        wanted = (G @ free[..., None])[..., 0] + self.curvature(v)
        multipliers = solve(weighted @ G.mT, wanted)
        return free - (weighted.mT @ multipliers[..., None])[..., 0]

    def tangent(self, x: Tensor, v: Tensor, inverse_masses: Tensor) -> Tensor:
        """Velocities with G v = 0, nearest to v in kinetic energy: v - M^-1 G^T (G M^-1 G^T)^-1 G v."""
        G = self.jacobian(x)
        weighted = G * inverse_masses[..., None, :]
        multipliers = solve(weighted @ G.mT, (G @ v[..., None])[..., 0])
        return v - (weighted.mT @ multipliers[..., None])[..., 0]

    def project(self, states: Tensor, inverse_masses: Tensor | None = None, iterations: int = 20) -> Tensor:
        """States near `states` that satisfy phi = 0 and G v = 0: Newton steps in x, then `tangent`.

            x <- x - M^-1 G^T (G M^-1 G^T)^-1 phi(x)

        Args:
            states: (..., 2 n d), not too far off: Newton's method doubles the digits near the solution only.
            inverse_masses: (n d,) the metric in which "near" is measured; ones when None.
            iterations: at most so many steps; it stops when none changes x any more.

        Raises RuntimeError when phi is not 0 to rounding after them.
        """
        validate.numbers("states", states)
        validate.count("iterations", iterations)
        self.check_width("states", states)
        x, v = states.chunk(2, -1)
        w = torch.ones_like(x[0] if x.ndim > 1 else x) if inverse_masses is None else inverse_masses
        tolerance = 50 * torch.finfo(x.dtype).eps * (1 + self.levels.abs().max().item())
        for _ in range(iterations):
            phi, G = self.residual(x), self.jacobian(x)
            if not phi.abs().max() > tolerance:
                break
            weighted = G * w[..., None, :]
            x = x - (weighted.mT @ solve(weighted @ G.mT, phi)[..., None])[..., 0]
        if not self.residual(x).abs().max() <= 10 * tolerance:
            raise RuntimeError(
                f"After {iterations} Newton steps the constraints are still violated by "
                f"{self.residual(x).abs().max():.1e}: the states are too far from any that satisfies them."
            )
        return torch.cat([x, self.tangent(x, v, w)], -1)

    def check_width(self, name: str, states: Tensor) -> None:
        """Require states (..., 2 n d)."""
        wanted = 2 * self.bodies * self.dimensions
        if states.shape[-1] != wanted:
            raise ValueError(
                f"{name} must have shape (..., {wanted}): positions, then velocities, of {self.bodies} bodies in "
                f"{self.dimensions} dimensions; got {tuple(states.shape)}."
            )

    def _operator(self, like: Tensor) -> Tensor:
        """The matrix (n d, K n d) that x is multiplied by to give all rows of G: one product for a whole batch."""
        return _operator(self, like.dtype, like.device)


def solve(A: Tensor, b: Tensor) -> Tensor:
    """A^-1 b for b (..., K); where A is singular, infinite numbers rather than an error that ends a whole batch."""
    return torch.linalg.solve_ex(A, b[..., None]).result[..., 0]


@lru_cache(maxsize=64)
def _operator(constraints: Constraints, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        forms = constraints.forms.to(dtype=dtype, device=device)
        identity = torch.eye(constraints.dimensions, dtype=dtype, device=device)
        return torch.cat([torch.kron(A, identity) for A in forms], 1)
