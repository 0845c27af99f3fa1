"""Networks that evaluate a whole stack of weights at once.

Each is an ordinary `nn.Module` for a single setting of its weights, and adds

    forward_stack(weights, x):  weights (S, D), x (N, ...)  ->  (S, N, C)

with the D weights in the order of `named_parameters()`. A module without `forward_stack` works too: `Model`
then maps `torch.func.functional_call` over the stack. No network here uses BatchNorm: with it the prediction
for one datum depends on the others in the batch, and there is no likelihood p(y | x, w) to speak of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from . import _validate

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "erf": torch.erf,
    "silu": F.silu,
    "gelu": F.gelu,
    "sin": torch.sin,
}


# Activations whose derivative is a function of their own output h, so that the stacked backward pass needs no
# more than the outputs: name -> (in-place activation, gradient times derivative).
_FAST: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (torch.tanh_, torch.ops.aten.tanh_backward),
    "relu": (torch.relu_, lambda g, h: torch.ops.aten.threshold_backward(g, h, 0)),
}


class _StackedMLP(torch.autograd.Function):
    """Forward and hand-written backward pass of S multilayer perceptrons.

    The same mathematics by autograd costs about twice as much, mostly in small operations that here are one
    batched matrix product per layer and direction. Gradients go to the weights only.
    """

    @staticmethod
    def forward(ctx, weights: Tensor, x: Tensor, sizes: tuple[int, ...], activation: str) -> Tensor:
        activate = _FAST[activation][0]
        h, hidden = x.expand(len(weights), *x.shape), []
        layers = _dense_layers(weights, sizes)
        for i, (W, b) in enumerate(layers):
            hidden.append(h)
            h = _affine(W, b, h)
            if i < len(layers) - 1:
                h = activate(h)
        ctx.save_for_backward(weights, *hidden)
        ctx.sizes, ctx.activation = sizes, activation
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx, g: Tensor):
        weights, *hidden = ctx.saved_tensors
        times_derivative = _FAST[ctx.activation][1]
        gradient = torch.empty_like(weights)
        layers, gradients = _dense_layers(weights, ctx.sizes), _dense_layers(gradient, ctx.sizes)
        for i in reversed(range(len(layers))):
            W, (gW, gb), h = layers[i][0], gradients[i], hidden[i]
            if W.shape[2] == 1:
                gW.copy_((h.mT @ g).mT)
            else:
                torch.bmm(g.mT, h, out=gW)
            torch.sum(g, dim=1, keepdim=True, out=gb)
            if i > 0:
                g = times_derivative(g * W if W.shape[1] == 1 else g @ W, h)
        return gradient, None, None, None


def _dense_layers(weights: Tensor, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Views of (S, D) weights as [(W (S, out, in), b (S, 1, out)), ...]."""
    layers, at = [], 0
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        W = weights[:, at : at + n_in * n_out].view(-1, n_out, n_in)
        at += n_in * n_out
        layers.append((W, weights[:, at : at + n_out].view(-1, 1, n_out)))
        at += n_out
    return layers


def _affine(W: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """h W^T + b for a stack: (S, N, in) -> (S, N, out)."""
    if W.shape[2] == 1:  # one input: an outer product, cheaper than a batched matrix product
        return torch.addcmul(b, h, W.mT)
    if W.shape[1] == 1:  # one output: likewise a weighted sum
        return (h * W).sum(-1, keepdim=True).add_(b)
    return torch.baddbmm(b, h, W.mT)


class MLP(nn.Module):
    """Multilayer perceptron; layer l computes h_l = act(W_l h_{l-1} + b_l), the last one without activation.

    Args:
        sizes: units per layer, inputs first and outputs last, e.g. (1, 50, 50, 1); (D, C) is a linear model.
        activation: a key of `ACTIVATIONS`.

    Inputs with more than two axes (images) are flattened.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh"):
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"An MLP needs at least an input and an output size, got {tuple(sizes)}.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"Unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}.")
        self.sizes = tuple(_validate.count("sizes", size) for size in sizes)
        self.activation = activation
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True)
        )
        # named_parameters() gives weight then bias per layer, the order that _dense_layers expects

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x does not fit."""
        features = math.prod(x.shape[1:])
        if features != self.sizes[0]:
            raise ValueError(f"This network takes {self.sizes[0]} input(s), got x of shape {tuple(x.shape)}.")

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for layer in self.layers[:-1]:
            h = ACTIVATIONS[self.activation](layer(h))
        return self.layers[-1](h)

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, N, C) for weights (S, D); see the module's docstring. Differentiable in the weights."""
        x = x.flatten(1)
        if self.activation in _FAST and not x.requires_grad:
            return _StackedMLP.apply(weights, x, self.sizes, self.activation)
        h = x.expand(len(weights), *x.shape)
        layers = _dense_layers(weights, self.sizes)
        for W, b in layers[:-1]:
            h = ACTIVATIONS[self.activation](_affine(W, b, h))
        return _affine(*layers[-1], h)


class CNN(nn.Module):
    """A small convolutional classifier: [conv 3x3, activation, 2x2 average pool] per channel count, then dense.

    Average pooling keeps the function smooth in its weights when the activation is. No BatchNorm (see the
    module).

    Args:
        image: (channels, height, width) of the inputs.
        channels: number of filters of each convolution.
        hidden: units of the dense layer before the outputs; 0 for none.
        outputs: number of outputs (classes).
        activation: a key of `ACTIVATIONS`.
    """

    def __init__(
        self,
        image: tuple[int, int, int] = (1, 8, 8),
        channels: Sequence[int] = (8, 16),
        hidden: int = 32,
        outputs: int = 10,
        activation: str = "relu",
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"Unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}.")
        if min(image[1:]) < 2 ** len(channels):
            raise ValueError(
                f"{len(channels)} poolings need images of at least {2 ** len(channels)} pixels, got {image}."
            )
        self.image, self.activation, self.outputs = tuple(image), activation, outputs
        counts = (image[0], *channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(counts[:-1], counts[1:], strict=True)
        )
        features = counts[-1] * (image[1] >> len(channels)) * (image[2] >> len(channels))
        dense = [features, hidden, outputs] if hidden else [features, outputs]
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dense[:-1], dense[1:], strict=True))

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x does not fit."""
        if tuple(x.shape[1:]) != self.image:
            raise ValueError(
                f"This network takes images of shape (N, {self.image}), got x of shape {tuple(x.shape)}."
            )

    def forward(self, x: Tensor) -> Tensor:
        act = ACTIVATIONS[self.activation]
        for convolution in self.convolutions:
            x = F.avg_pool2d(act(convolution(x)), 2)
        h = x.flatten(1)
        for layer in self.dense[:-1]:
            h = act(layer(h))
        return self.dense[-1](h)

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, N, C) for weights (S, D).

        On a CPU this is a loop over S, which no batched form beats; on a GPU grouped convolutions.
        """
        if weights.device.type == "cpu":
            return torch.stack([self._forward_one(w, x) for w in weights.unbind()])
        return self._forward_grouped(weights, x)

    def _parameters_of(self, weights: Tensor) -> list[Tensor]:
        """Views of (S, D) weights, one (S, *shape) per parameter."""
        shapes = [p.shape for p in self.parameters()]
        parts = weights.split([s.numel() for s in shapes], dim=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]

    def _forward_one(self, w: Tensor, x: Tensor) -> Tensor:
        act, parameters = ACTIVATIONS[self.activation], [p[0] for p in self._parameters_of(w[None])]
        for _ in self.convolutions:
            kernel, bias, *parameters = parameters
            x = F.avg_pool2d(act(F.conv2d(x, kernel, bias, padding=1)), 2)
        h = x.flatten(1)
        while parameters:
            W, b, *parameters = parameters
            h = F.linear(h, W, b)
            h = act(h) if parameters else h
        return h

    def _forward_grouped(self, weights: Tensor, x: Tensor) -> Tensor:
        act, parameters, S = ACTIVATIONS[self.activation], self._parameters_of(weights), len(weights)
        h = x.repeat(1, S, 1, 1)  # channels of member s are the s-th group
        for _ in self.convolutions:
            kernel, bias, *parameters = parameters
            h = F.avg_pool2d(act(F.conv2d(h, kernel.flatten(0, 1), bias.flatten(), padding=1, groups=S)), 2)
        h = h.unflatten(1, (S, -1)).transpose(0, 1).flatten(2)
        while parameters:
            W, b, *parameters = parameters
            h = torch.baddbmm(b[:, None], h, W.mT)
            h = act(h) if parameters else h
        return h


def mlp(*sizes: int, activation: str = "tanh") -> MLP:
    """`mlp(1, 50, 50, 1)` is a multilayer perceptron with two hidden layers of 50 units; `mlp(D, C)` is linear."""
    return MLP(sizes, activation)


def cnn(
    image: tuple[int, int, int] = (1, 8, 8),
    channels: Sequence[int] = (8, 16),
    hidden: int = 32,
    outputs: int = 10,
    activation: str = "relu",
) -> CNN:
    """A small convolutional network without BatchNorm; see `CNN`."""
    return CNN(image, channels, hidden, outputs, activation)
