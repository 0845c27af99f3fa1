"""Multilayer perceptrons that evaluate a whole stack of weights at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from .._support import processor, validate
from .._support.pullback import Pullback, PullbackAt, pullback_by_autograd
from .activations import ACTIVATIONS
from .protocol import StackedModule

# Activations whose derivative is a function of their own output h, so that a backward pass needs no more than
# the outputs: name -> (in-place activation, in-place gradient times derivative).
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_FAST: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (torch.tanh_, lambda g, h: _tanh_backward(g, h, grad_input=g)),
    "relu": (torch.relu_, lambda g, h: _threshold_backward(g, h, 0, grad_input=g)),
}
_MINUS_ONE = torch.tensor(-1.0)


def _tanh_by_sigmoid_(x: Tensor) -> Tensor:
    """tanh x = 2 sigmoid(2 x) - 1, in place, to two units in the last place of 1, also where tanh x is small."""
    return torch.add(_MINUS_ONE, x.mul_(2).sigmoid_(), alpha=2, out=x)


# A batched product is one call of the matrix library where its output is contiguous, and a loop over rows where it is a
# part of the gradient: for so many rows, and matrices no larger, making and copying it is faster (up to 3 times)
_MANY_ROWS, _SMALL_MATRIX = 8, 400


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


def _affine(W: Tensor, b: Tensor, h: Tensor, out: Tensor | None = None) -> Tensor:
    """h W^T + b for a stack: (S, N, in) -> (S, N, out)."""
    if W.shape[2] == 1:  # one input: an outer product, cheaper than a batched matrix product
        return torch.addcmul(b, h, W.mT, out=out)
    return torch.baddbmm(b, h, W.mT, out=out)


class _Passes:
    """Forward and backward passes of an MLP at weights (S, D), whose values may change between calls.

    This is backpropagation by hand: with a_l the input of layer l and g_l the gradient of its output,

        dW_l = g_l^T a_l,   db_l = sum_n g_l,   g_{l-1} = (g_l W_l) act'(a_l),

    one batched matrix product each for all S networks. Autograd does the same arithmetic, but its bookkeeping costs
    more than the arithmetic when S is small. So does making views of the weights and memory for what comes out,
    which here is done once: what a call returns holds until the next call.
    """

    def __init__(self, sizes: tuple[int, ...], activation: str, weights: Tensor):
        self.activate, self.times_derivative = _FAST[activation]
        if activation == "tanh" and weights.device.type == "cpu" and processor.vector_functions_are_slow():
            self.activate = _tanh_by_sigmoid_  # a gradient of 64 chains takes six tenths of the time
        self.sizes, self.gradient = sizes, torch.empty_like(weights)
        self.layers, self.gradients = _dense_layers(weights, sizes), _dense_layers(self.gradient, sizes)
        self.apart = [self._apart(gW) for gW, _ in self.gradients]
        self.x = self.f = None

    def _apart(self, gW: Tensor) -> Tensor | None:
        """Memory for the gradient of a layer's W, where that is faster than its place in the gradient."""
        S, units, inputs = gW.shape
        pays = S >= _MANY_ROWS and units > 1 and units * inputs <= _SMALL_MATRIX and gW.device.type == "cpu"
        return torch.empty_like(gW, memory_format=torch.contiguous_format) if pays else None

    def _take(self, x: Tensor) -> None:
        """Make memory for outputs at inputs x (N, ...) and for gradients of them, unless it is there."""
        S, N = self.gradient.shape[0], x.shape[0]
        if self.f is None or self.f.shape[1] != N:
            *self.hidden, self.f = (self.gradient.new_empty(S, N, size) for size in self.sizes[1:])
            self.slopes = [torch.empty_like(h) for h in self.hidden]
        self.x, x = x, x.flatten(1)
        self.inputs = [x.expand(S, *x.shape), *self.hidden]

    def __call__(self, x: Tensor) -> tuple[Tensor, Pullback]:
        """Outputs (S, N, C) at x (N, ...), and the map from g (S, N, C) to the gradient of sum(g * f), (S, D)."""
        if x is not self.x:
            self._take(x)
        for (W, b), a, h in zip(self.layers, self.inputs, self.hidden, strict=False):
            self.activate(_affine(W, b, a, out=h))
        return _affine(*self.layers[-1], self.inputs[-1], out=self.f), self.pull

    def pull(self, g: Tensor) -> Tensor:
        """The gradient (S, D) of sum(g * f) for g (S, N, C)."""
        for l in range(len(self.layers) - 1, -1, -1):
            W, (gW, gb), a, apart = self.layers[l][0], self.gradients[l], self.inputs[l], self.apart[l]
            torch.sum(g, 1, True, out=gb)
            _, units, inputs = W.shape
            if inputs == 1:  # g^T a is a column; its transpose, a row, is computed three times as fast
                gW.copy_(torch.bmm(a.mT, g).mT)
            elif apart is None:
                torch.bmm(g.mT, a, out=gW)
            else:
                gW.copy_(torch.bmm(g.mT, a, out=apart))
            if l > 0:
                product = torch.mul if units == 1 else torch.bmm
                g = self.times_derivative(product(g, W, out=self.slopes[l - 1]), a)
        return self.gradient


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
        """Outputs f (S, N, C), and the map from g (S, N, C) to the gradient of sum(g * f) in the weights, (S, D)."""
        f, pull = self.pullback_at(weights.detach())(x)
        return f, lambda g: pull(g).clone()

    def pullback_at(self, weights: Tensor) -> PullbackAt:
        """See `protocol.pullback_at`."""
        if self.activation in _FAST:
            return _Passes(self.sizes, self.activation, weights)
        return partial(pullback_by_autograd, self.forward_stack, weights)


mlp = MLP  # as `nets.mlp`, beside `nets.cnn` and `nets.hourglass`
