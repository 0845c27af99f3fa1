"""What the course asks of a network: to evaluate a whole stack of weights.

`Network` says what that is. `StackedModule` has defaults, so that a network of one's own needs `forward` and
`forward_stack`; any other `nn.Module` works as it is, through `torch.func`.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .._support.pullback import Pullback, pullback_by_autograd


@runtime_checkable
class Network(Protocol):
    """f_w(x) for S settings w of the D weights at once, in the order of `named_parameters()`."""

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, N, C) for weights (S, D) and x (N, ...), differentiable."""
        ...

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """Outputs f (S, N, C), and the map from g (S, N, C) to the gradient of sum(g * f) in the weights, (S, D)."""
        ...

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x does not fit."""
        ...

    def widest_activation(self, x: Tensor) -> int:
        """Values of the largest tensor that one datum of x and one setting make on the way: what bounds memory."""
        ...


class StackedModule(nn.Module):
    """An `nn.Module` with `forward_stack`, and defaults for the rest of `Network`."""

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """See `Network`."""
        raise NotImplementedError

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """See `Network`; by autograd."""
        return pullback_by_autograd(self.forward_stack, weights, x)

    def check_inputs(self, x: Tensor) -> None:
        """See `Network`; anything goes."""

    def widest_activation(self, x: Tensor) -> int:
        """See `Network`; measured on the first datum."""
        return measured_width(self, x)


class AnyModule:
    """Any `nn.Module` as a `Network`: `torch.func.functional_call`, mapped over the stack by `torch.func.vmap`."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.widths: dict[tuple[int, ...], int] = {}

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """See `Network`."""
        parts = weights.split(self.sizes, dim=1)
        named = {
            name: part.reshape(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        buffers = dict(self.module.named_buffers())
        call = torch.func.functional_call
        return torch.func.vmap(lambda p: call(self.module, (p, buffers), (x,)), randomness="error")(named)

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """See `Network`."""
        return pullback_by_autograd(self.forward_stack, weights, x)

    def check_inputs(self, x: Tensor) -> None:
        """See `Network`; the module itself complains, when it is evaluated."""

    def widest_activation(self, x: Tensor) -> int:
        """See `Network`."""
        shape = tuple(x.shape[1:])
        if shape not in self.widths:
            self.widths[shape] = measured_width(self.module, x)
        return self.widths[shape]


def stacked(module: nn.Module) -> Network:
    """The module itself where it is a `Network`, else `AnyModule`."""
    return module if isinstance(module, Network) else AnyModule(module)


@torch.no_grad()
def measured_width(module: nn.Module, x: Tensor) -> int:
    """Values of the largest tensor that goes into or comes out of a layer, for the first datum of x."""
    widest = math.prod(x.shape[1:])

    def watch(layer: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal widest
        tensors = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        widest = max([widest, *(value.numel() for value in tensors)])

    handles = [layer.register_forward_hook(watch) for layer in module.modules()]
    try:
        parameters = {name: p.detach().to(x) for name, p in module.named_parameters()}
        torch.func.functional_call(module, parameters, (x[:1],))
    finally:
        for handle in handles:
            handle.remove()
    return widest
