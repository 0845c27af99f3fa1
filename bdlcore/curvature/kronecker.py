"""Kronecker-factored curvature: see `bdlcore.curvature` for what every form of it answers."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .._support.devices import double
from .._support.progress import progress
from .._support.randomness import RowRandom
from .gauss_newton import Root
from .jacobians import Jacobian, output_gradients, parameters_of, run


class Kronecker:
    """Layers are taken as independent, and a layer's block of G as a Kronecker product (Martens & Grosse 2015).

        block ~= Q (x) P,   Q = sum_n,t g_nt g_nt^T,   P = mean_n,t a_nt a_nt^T

    with a the layer's whitened inputs, a 1 for the bias among them, and g the gradients of L_n^T f with respect to
    its outputs; t counts the pixels of a convolution (Grosse & Martens 2016). Exact for one datum without pixels,
    and where g is the same for every datum, as in linear regression.
    """

    @staticmethod
    def check(jacobian: Jacobian, rows: int, modes: int, memory_gb: float) -> None:
        """Raise ValueError for networks with other layers."""
        if jacobian.own:
            raise ValueError(
                "structure='kron' is for weights of layers, and this likelihood learns parameters of its own "
                f"({', '.join(jacobian.own)}). Use 'diagonal', 'last_layer' or 'full'."
            )
        if jacobian.blocks is None:
            raise ValueError(
                "structure='kron' needs a network whose weights all belong to nn.Linear or (ungrouped, zero-padded) "
                f"nn.Conv2d layers, each used once; here {jacobian.obstacle}. Use 'diagonal', 'last_layer' or 'full'."
            )

    def __init__(self, jacobian: Jacobian, theta: Tensor, x: Tensor, root: Root, outputs: int):
        self.jacobian, self.factors = jacobian, {}
        parameters = parameters_of(jacobian.model, theta)
        size = max(1, jacobian.model.data_per_pass(x) // outputs)
        parts = x.split(size)
        for i in progress(len(parts), "Kronecker factors"):
            part = parts[i]
            f, passed = run(jacobian.model.network, jacobian.blocks, parameters, part)
            for layer, g in output_gradients(f, jacobian.blocks, passed, root(f.detach())).items():
                a, g = self._whitened_inputs(layer, passed[layer].inputs), double(g.flatten(0, 2))
                share = len(part) / (len(x) * len(a))  # 1 / (N T)
                P, Q = self.factors.get(layer, (0, 0))
                self.factors[layer] = (P + a.mT @ a * share, Q + g.mT @ g)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{part}.{layer}": factor
            for layer, pair in self.factors.items()
            for part, factor in zip("PQ", pair)
        }

    @classmethod
    def from_state(cls, jacobian: Jacobian, state: dict[str, Tensor]) -> Kronecker:
        made = cls.__new__(cls)
        made.jacobian = jacobian
        made.factors = {layer: (state[f"P.{layer}"], state[f"Q.{layer}"]) for layer in jacobian.blocks}
        return made

    def _whitened_inputs(self, layer: str, a: Tensor) -> Tensor:
        """(N, T, I) inputs as (N T, I) or with a bias (N T, I + 1), float64, times the prior std of their weights."""
        block, stds = self.jacobian.blocks[layer], self.jacobian.stds
        a = double(a.flatten(0, 1)) * stds[block.weight]
        return a if block.bias is None else F.pad(a, (0, 1), value=stds[block.bias])

    @cached_property
    def eigen(self) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Per layer the eigenvectors of Q and of P, and the eigenvalues of their product (O, I)."""
        found = {}
        for layer, (P, Q) in self.factors.items():
            (p, U), (q, V) = torch.linalg.eigh(P), torch.linalg.eigh(Q)
            found[layer] = V, U, torch.outer(q.clamp(min=0), p.clamp(min=0))
        return found

    def log_det(self, scale: Tensor | None = None) -> Tensor:
        if scale is None or scale.ndim == 0:
            square = 1 if scale is None else scale.square()
            return sum(torch.log1p(square * product).sum() for _, _, product in self.eigen.values())
        total, scales = 0, dict(zip(self.jacobian.names, scale))
        for layer, (P, Q) in self.factors.items():
            block = self.jacobian.blocks[layer]
            s = scales[block.weight].expand(len(P))
            if block.bias is not None:
                s = torch.cat([s[:-1], scales[block.bias][None]])
            p, q = torch.linalg.eigvalsh(s[:, None] * P * s), torch.linalg.eigvalsh(Q)
            total = total + torch.log1p(torch.outer(q.clamp(min=0), p.clamp(min=0))).sum()
        return total

    def covariance(self, J: Tensor) -> Tensor:
        total = 0
        for layer, (V, U, product) in self.eigen.items():
            block = self._join(layer, double(J))
            half = (V.mT @ block @ U / (1 + product).sqrt()).flatten(2)
            total = total + half @ half.mT
        return total

    def sample(self, random: RowRandom) -> Tensor:
        z = double(random.normal(self.jacobian.dim))
        draws = z.clone()
        for layer, (V, U, product) in self.eigen.items():
            block, slices = self.jacobian.blocks[layer], self.jacobian.slices
            draw = V @ (self._join(layer, z) / (1 + product).sqrt()) @ U.mT
            if block.bias is not None:
                draws[:, slices[block.bias]] = draw[..., -1]
                draw = draw[..., :-1]
            draws[:, slices[block.weight]] = draw.flatten(1)
        return draws

    def _join(self, layer: str, rows: Tensor) -> Tensor:
        """The part (..., O, I + 1) of rows (..., D) that belongs to a layer, its bias as the last column."""
        block, slices = self.jacobian.blocks[layer], self.jacobian.slices
        outputs = block.module.weight.shape[0]
        weight = rows[..., slices[block.weight]].unflatten(-1, (outputs, -1))
        if block.bias is None:
            return weight
        return torch.cat([weight, rows[..., slices[block.bias], None]], -1)
