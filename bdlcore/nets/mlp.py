"""Multilayer perceptrons that evaluate a whole stack of weights at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from .._support import validate
from .._support.pullback import Pullback, pullback_by_autograd
from .activations import ACTIVATIONS
from .protocol import StackedModule

# Activations whose derivative is a function of their own output h, so that a backward pass needs no more than
# the outputs: name -> (in-place activation, gradient times derivative).
_FAST: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (torch.tanh_, torch.ops.aten.tanh_backward),
    "relu": (torch.relu_, lambda g, h: torch.ops.aten.threshold_backward(g, h, 0)),
}


def _dense_layers(weights: Tensor, sizes: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    """Views of (S, D) weights as [(W (S, out, in), b (S, 1, out)), ...]."""
    shapes, lengths = _shapes(sizes)
    parts = iter(torch.split_with_sizes(weights, lengths, 1))
    return [(W.view(shape), b.unsqueeze(1)) for shape, W, b in zip(shapes, parts, parts, strict=False)]


@cache
def _shapes(sizes: tuple[int, ...]) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Of each layer's W in a stack, and the number of weights in W and b, layer by layer."""
    shapes = [(-1, out, n_in) for n_in, out in pairwise(sizes)]
    return shapes, [n for _, out, n_in in shapes for n in (out * n_in, out)]


def _affine(W: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """h W^T + b for a stack: (S, N, in) -> (S, N, out)."""
    if W.shape[2] == 1:  # one input: an outer product, cheaper than a batched matrix product
        return torch.addcmul(b, h, W.mT)
    return torch.baddbmm(b, h, W.mT)


class MLP(StackedModule):
    """Multilayer perceptron; layer l computes h_l = act(W_l h_{l-1} + b_l), the last one without activation.

    Args:
        sizes: units per layer, inputs first and outputs last: `mlp(1, 50, 50, 1)` has two hidden layers, `mlp(D, C)`
            is a linear model.
        activation: a key of `ACTIVATIONS`.

    Inputs with more than two axes (images) are flattened.
    """

    def __init__(self, *sizes: int, activation: str = "tanh"):
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"An MLP needs at least an input and an output size, got {sizes}.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"Unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}.")
        self.sizes = tuple(validate.count("sizes", size) for size in sizes)
        self.activation = activation
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True)
        )
        # named_parameters() gives weight then bias per layer, the order that _dense_layers expects

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x does not fit."""
        super().check_inputs(x)
        features = math.prod(x.shape[1:])
        if features != self.sizes[0]:
            raise ValueError(f"This network takes {self.sizes[0]} input(s), got x of shape {tuple(x.shape)}.")

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for layer in self.layers[:-1]:
            h = ACTIVATIONS[self.activation](layer(h))
        return self.layers[-1](h)

    def widest_activation(self, x: Tensor) -> int:
        """Units of the widest layer."""
        return max(self.sizes)

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, N, C) for weights (S, D)."""
        act, x = ACTIVATIONS[self.activation], x.flatten(1)
        h, layers = x.expand(len(weights), *x.shape), _dense_layers(weights, self.sizes)
        for W, b in layers[:-1]:
            h = act(_affine(W, b, h))
        return _affine(*layers[-1], h)

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """Outputs f (S, N, C), and the map from g (S, N, C) to the gradient of sum(g * f) in the weights, (S, D).

        This is backpropagation by hand: with a_l the input of layer l and g_l the gradient of its output,

            dW_l = g_l^T a_l,   db_l = sum_n g_l,   g_{l-1} = (g_l W_l) act'(a_l),

        one batched matrix product each for all S networks. Autograd does the same arithmetic, but its bookkeeping
        costs more than the arithmetic when S is small.
        """
        if self.activation not in _FAST:
            return pullback_by_autograd(self.forward_stack, weights, x)
        activate, times_derivative = _FAST[self.activation]
        weights, x = weights.detach(), x.flatten(1)
        layers = _dense_layers(weights, self.sizes)
        inputs = [x.expand(len(weights), *x.shape)]
        for W, b in layers[:-1]:
            inputs.append(activate(_affine(W, b, inputs[-1])))

        def pull(g: Tensor) -> Tensor:
            gradient = torch.empty_like(weights)
            gradients = _dense_layers(gradient, self.sizes)
            for l in reversed(range(len(layers))):
                W, (gW, gb), a = layers[l][0], gradients[l], inputs[l]
                torch.sum(g, dim=1, keepdim=True, out=gb)
                if (
                    W.shape[2] == 1
                ):  # g^T a is a column; its transpose, a row, is computed three times as fast
                    gW.copy_(torch.bmm(a.mT, g).mT)
                else:
                    torch.bmm(g.mT, a, out=gW)
                if l > 0:
                    g = times_derivative(g * W if W.shape[1] == 1 else torch.bmm(g, W), a)
            return gradient

        return _affine(*layers[-1], inputs[-1]), pull


mlp = MLP  # as `nets.mlp`, beside `nets.cnn` and `nets.hourglass`
