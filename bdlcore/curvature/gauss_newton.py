"""Curvature of the log posterior at a mode: the generalised Gauss-Newton matrix and its approximations.

In whitened weights the prior's precision is I, and that of Laplace's Gaussian is

    A = I + G,    G = sum_n J_n^T Lambda_n J_n,    Lambda_n = - d^2 log p(y_n | f_n) / d f_n^2

with J_n (C, D) the Jacobian of the outputs. G is what remains of the negative Hessian of the log likelihood when
the network is replaced by its linearisation. Unlike the Hessian it is never negative, so A has an inverse
everywhere. Every class here keeps some form of G in float64, and answers what Laplace's approximation asks:

    log_det(scale)    log |I + R G R|, R = diag(scale): G at another prior std or noise_std, differentiable
    covariance(J)     J A^-1 J^T
    sample(random)    draws of N(0, A^-1)
    state()           the tensors that it is made of; `from_state(jacobian, state)` is the inverse

A prior std that grows by r multiplies the whitened Jacobian by r, and a noise_std that grows by b divides
Lambda by b^2, so both enter as the scale r / b of R. It has one value, or one per parameter tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from .._support.devices import double, double_zeros
from .._support.randomness import RowRandom
from .jacobians import Jacobian

Root = Callable[[Tensor], Tensor]  # f (N, C) -> L (N, C, C) with L L^T = Lambda


def cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor; raises RuntimeError in words."""
    root, failed = torch.linalg.cholesky_ex(matrix)
    if failed or not torch.isfinite(root).all():
        raise RuntimeError(
            "The precision of the Laplace approximation is not positive definite in floating point: the curvature of "
            "the likelihood is infinite, NaN or too large beside the prior's, which is 1. Look for a mode that has not "
            "converged, inputs that are not standardised, or a noise_std that is far too small."
        )
    return root


class Full:
    """The whole of G, as a matrix over weights or, where that is smaller, over the data's outputs.

    With B (N C, D) the rows L_n^T J_n stacked, G = B^T B. |I + B^T B| = |I + B B^T|, and
    A^-1 = I - B^T (I + B B^T)^-1 B, so min(D, N C) sets the cost. Of the smaller matrix only the Cholesky factor of I
    plus it is kept, from which it comes back.
    """

    def __init__(self, jacobian: Jacobian, theta: Tensor, x: Tensor, root: Root, outputs: int):
        self.sizes, self.dim = jacobian.sizes, jacobian.dim
        rows = len(x) * outputs
        self.dual = rows < self.dim
        self.rows = double_zeros(rows, self.dim, device=x.device) if self.dual else None
        gram = None if self.dual else double_zeros(self.dim, self.dim, device=x.device)
        for part, f, J in jacobian.chunks(theta, x, outputs):
            B = double((root(f).mT @ J).flatten(0, 1))
            if self.dual:
                self.rows[part.start * outputs : part.start * outputs + len(B)] = B
            else:
                gram.addmm_(B.mT, B)
        gram = self.rows @ self.rows.mT if self.dual else gram
        gram.diagonal().add_(1)
        self.root = cholesky(gram)

    @staticmethod
    def check(jacobian: Jacobian, rows: int, modes: int, memory_gb: float) -> None:
        """Raise ValueError where `modes` of these on N C = `rows` outputs would need more memory than allowed."""
        dim = jacobian.dim
        side = min(dim, rows)
        # per mode the factor and the rows of the dual form; for one at a time the matrix and one more
        needed = 8e-9 * ((modes + 2) * side**2 + modes * (rows * dim if rows < dim else 0))
        if needed > memory_gb:
            raise ValueError(
                f"The full curvature of D={dim} weights on N*C={rows} outputs, for {modes} mode(s), needs {needed:.1f} "
                f"GB and memory_gb allows {memory_gb:g}. Use structure='kron', 'diagonal' or 'last_layer'."
            )

    def state(self) -> dict[str, Tensor]:
        return {"root": self.root} | ({"rows": self.rows} if self.dual else {})

    @classmethod
    def from_state(cls, jacobian: Jacobian, state: dict[str, Tensor]) -> Full:
        made = cls.__new__(cls)
        made.sizes, made.dim = jacobian.sizes, jacobian.dim
        made.root, made.rows, made.dual = state["root"], state.get("rows"), "rows" in state
        return made

    @property
    def gram(self) -> Tensor:
        """G or B B^T."""
        return self.rows @ self.rows.mT if self.dual else self.root @ self.root.mT - _identity(self.root)

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Those of G that can differ from 0, ascending."""
        return torch.linalg.eigvalsh(self.gram).clamp(min=0)

    def log_det(self, scale: Tensor | None = None) -> Tensor:
        if scale is None:
            return 2 * self.root.diagonal().log().sum()
        if scale.ndim == 0:
            return torch.log1p(scale.square() * self.eigenvalues).sum()
        scale = scale.repeat_interleave(torch.tensor(self.sizes, device=scale.device))
        gram = (
            (self.rows * scale.square()) @ self.rows.mT if self.dual else scale[:, None] * self.gram * scale
        )
        return 2 * cholesky(gram + _identity(gram)).diagonal().log().sum()

    def covariance(self, J: Tensor) -> Tensor:
        J = double(J)
        flat = J.flatten(0, 1)
        if self.dual:
            flat = self.rows @ flat.mT
        half = torch.linalg.solve_triangular(self.root, flat if self.dual else flat.mT, upper=False)
        half = half.mT.unflatten(0, J.shape[:2])
        inner = half @ half.mT
        return J @ J.mT - inner if self.dual else inner

    def sample(self, random: RowRandom) -> Tensor:
        z = double(random.normal(self.dim))
        if not self.dual:
            return torch.linalg.solve_triangular(self.root.mT, z.mT, upper=True).mT
        # a prior draw corrected by what it says of noisy pseudo-data (Matheron's rule)
        surprise = z @ self.rows.mT + double(random.normal(len(self.rows)))
        return z - torch.cholesky_solve(surprise.mT, self.root).mT @ self.rows


class Diagonal:
    """The diagonal of G only: weights are taken as independent."""

    @staticmethod
    def check(jacobian: Jacobian, rows: int, modes: int, memory_gb: float) -> None:
        """Works for every network."""

    def __init__(self, jacobian: Jacobian, theta: Tensor, x: Tensor, root: Root, outputs: int):
        self.sizes = jacobian.sizes
        self.diagonal = double_zeros(jacobian.dim, device=x.device)
        for _, f, J in jacobian.chunks(theta, x, outputs):
            B = root(f).mT @ J
            self.diagonal += double(B).square_().sum((0, 1))

    def state(self) -> dict[str, Tensor]:
        return {"diagonal": self.diagonal}

    @classmethod
    def from_state(cls, jacobian: Jacobian, state: dict[str, Tensor]) -> Diagonal:
        made = cls.__new__(cls)
        made.sizes, made.diagonal = jacobian.sizes, state["diagonal"]
        return made

    def log_det(self, scale: Tensor | None = None) -> Tensor:
        if scale is None:
            return torch.log1p(self.diagonal).sum()
        if scale.ndim:
            scale = scale.repeat_interleave(torch.tensor(self.sizes, device=scale.device))
        return torch.log1p(scale.square() * self.diagonal).sum()

    def covariance(self, J: Tensor) -> Tensor:
        J = double(J)
        return (J / (1 + self.diagonal)) @ J.mT

    def sample(self, random: RowRandom) -> Tensor:
        return double(random.normal(len(self.diagonal))) / (1 + self.diagonal).sqrt()


def _identity(matrix: Tensor) -> Tensor:
    return torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
