"""Jacobians of a network's outputs with respect to its whitened weights, one for each datum.

    J_n = d f(x_n) / d theta,   (C, D)

A dense or convolutional layer s_t = W a_t + b (t counts positions: one for a dense layer, pixels for a
convolution) has the gradient d f_c / dW = sum_t g_ct a_t^T with g_ct = d f_c / d s_t. So one forward pass that
keeps every a, and one backward pass per output that keeps every g, give all N Jacobians at once. Networks with
other weights than these go through `torch.func`, which takes any module but needs seconds for its first use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._support import memory
from .._support.progress import progress
from ..models.model import Model
from ..models.stack import LIKELIHOODS
from ..nets.protocol import call, constants


class UnsupportedLayers(ValueError):
    """The network has weights outside plain dense and convolutional layers, or uses such a layer unusually."""


class Block(NamedTuple):
    """One layer: its module, and the names of its parameters."""

    module: nn.Module
    weight: str
    bias: str | None


class Passed(NamedTuple):
    """What passed through one layer.

    Attributes:
        inputs: (N, T, I), every a_t.
        probe: zeros added to the layer's output: gradients with respect to them are those of the output.
    """

    inputs: Tensor
    probe: Tensor


def find_blocks(network: nn.Module, names: Sequence[str]) -> dict[str, Block]:
    """The plain dense and convolutional layers that hold the parameters of these names."""
    blocks = {}
    for layer, module in network.named_modules():
        prefix = f"{layer}." if layer else ""
        own = [prefix + name for name, _ in module.named_parameters(recurse=False)]
        if set(own).isdisjoint(names):
            continue
        plain_convolution = (
            type(module) is nn.Conv2d
            and module.groups == 1
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )
        if type(module) is not nn.Linear and not plain_convolution:
            raise UnsupportedLayers(f"{own[0]} belongs to {module}")
        if prefix + "weight" not in names:
            raise UnsupportedLayers(f"of layer {layer!r} only the bias is free")
        blocks[layer] = Block(
            module, prefix + "weight", prefix + "bias" if prefix + "bias" in names else None
        )
    return blocks


def run(
    network: nn.Module, blocks: dict[str, Block], parameters: dict[str, Tensor], x: Tensor
) -> tuple[Tensor, dict[str, Passed]]:
    """The outputs (N, C) for these parameters, and what passed through each layer on the way."""
    passed: dict[str, Passed] = {}

    def watch(layer: str, module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if layer in passed:
            raise UnsupportedLayers(f"layer {layer!r} is used more than once")
        if len(output) != len(x) or output.ndim < 2:
            raise UnsupportedLayers(f"layer {layer!r} does not have the data along its first axis")
        probe = torch.zeros_like(output, requires_grad=True)
        passed[layer] = Passed(_patches(module, arguments[0].detach()), probe)
        return output + probe

    handles = [block.module.register_forward_hook(partial(watch, layer)) for layer, block in blocks.items()]
    try:
        with torch.enable_grad():
            f = call(network, parameters, x)
    finally:
        for handle in handles:
            handle.remove()
    return f, passed


def _patches(module: nn.Module, a: Tensor) -> Tensor:
    """Inputs of a layer as (N, T, I)."""
    if isinstance(module, nn.Conv2d):
        a = F.unfold(a, module.kernel_size, module.dilation, module.padding, module.stride)
        return a.mT
    return a.reshape(len(a), -1, a.shape[-1])


def output_gradients(
    f: Tensor, blocks: dict[str, Block], passed: dict[str, Passed], directions: Tensor
) -> dict[str, Tensor]:
    """d (directions . f) / d (output of each layer): for directions (N, C, K) a tensor (N, K, T, O) per layer."""
    probes, K = [layer.probe for layer in passed.values()], directions.shape[2]
    with torch.enable_grad():
        # sums of products rather than grad_outputs, for which PyTorch would first import sympy
        values = [(f * directions[..., k]).sum() for k in range(K)]
    columns = [
        torch.autograd.grad(value, probes, retain_graph=k < K - 1, materialize_grads=True)
        for k, value in enumerate(values)
    ]
    gradients = {}
    for layer, g in zip(passed, map(partial(torch.stack, dim=1), zip(*columns))):
        convolution = isinstance(blocks[layer].module, nn.Conv2d)
        gradients[layer] = g.flatten(3).mT if convolution else g.reshape(*g.shape[:2], -1, g.shape[-1])
    return gradients


def parameters_of(model: Model, theta: Tensor) -> dict[str, Tensor]:
    """The network's parameters by name, for one whitened setting (D,), with its constants."""
    named = model.layout.unflatten(model.layout.weights(theta[None]))
    named = {name: value[0] for name, value in named.items() if not name.startswith(LIKELIHOODS)}
    return constants(model.network, model.layout.names, theta) | named


class Jacobian:
    """Calls give f (N, C) and J (N, C, D') at one weight setting, for the D' weights of the named parameters.

    Args:
        model: the model; of a partly constant one the head is differentiated, at features.
        names: the parameters to differentiate with respect to, in the layout's order.
        theta: (D,) whitened weights at which the two ways of differentiating are compared, on x.
        x: a few inputs.

    Attributes:
        model: the model of which `inputs` are the x.
        blocks: the network's layers when the fast way is right for it, else None.
        obstacle: why not.
        own: those of the names that are parameters of the likelihood, and so outputs themselves.
        probe: the first of x.
        columns: (D',) where the D' weights stand among all D.
        sizes, slices, stds: number of values and prior std of each parameter, and where it stands among the D'.
    """

    def __init__(self, model: Model, names: Sequence[str], theta: Tensor, x: Tensor):
        self.whole, self.names, self.probe = model, tuple(names), x[:3]
        self.model, layout = model.head(x), model.layout
        self.own = tuple(name for name in names if name.startswith(LIKELIHOODS))
        self.of_network = self.names[: len(self.names) - len(self.own)]
        sizes = dict(zip(layout.names, layout.sizes))
        self.stds = dict(zip(layout.names, layout.stds))
        self.sizes = [sizes[name] for name in names]
        ends = list(accumulate(self.sizes))
        self.dim = ends[-1]
        self.slices = {name: slice(end - sizes[name], end) for name, end in zip(names, ends)}
        covered = [torch.full((size,), name in self.names) for name, size in zip(layout.names, layout.sizes)]
        self.columns = torch.cat(covered).nonzero().flatten().to(x.device)
        self.blocks, self.obstacle = None, ""
        try:
            self.blocks = find_blocks(self.model.network, self.of_network)
            self._compare(theta, self.inputs(self.probe))
        except UnsupportedLayers as reason:
            self.blocks, self.obstacle = None, str(reason)

    def inputs(self, x: Tensor) -> Tensor:
        """x as the methods here take it: its features where a part of the network is constant."""
        return self.whole.features(x)

    def __call__(self, theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        f, J = self._network(theta, x)
        layout = self.model.layout
        constant = [d for d, name in enumerate(layout.names) if name.startswith(LIKELIHOODS)]
        if not constant:
            return f, J
        (N, C), own = f.shape, layout.weights(theta[None])[0, -len(constant) :]
        whole = J.new_zeros(N, C + len(constant), self.dim)
        whole[:, :C, : J.shape[2]] = J
        for c, d in enumerate(constant, start=C):
            if layout.names[d] in self.own:
                whole[:, c, self.slices[layout.names[d]]] = layout.stds[d]
        return torch.cat([f, own.expand(N, -1)], 1), whole

    def _network(self, theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """f and J of the network alone; the columns of the likelihood's parameters are left out."""
        if self.blocks is None:
            return self._by_transforms(theta, x)
        f, passed = run(self.model.network, self.blocks, parameters_of(self.model, theta), x)
        N, C = f.shape
        unit = torch.eye(C, dtype=f.dtype, device=f.device).expand(N, C, C)
        J = torch.zeros(N, C, self.dim - len(self.own), dtype=f.dtype, device=f.device)
        for layer, g in output_gradients(f, self.blocks, passed, unit).items():
            block, a = self.blocks[layer], passed[layer].inputs[:, None]
            # one position: an outer product; several: a sum of them
            slope = g.mT * a if g.shape[2] == 1 else g.mT @ a
            for name, part in ((block.weight, slope.flatten(2)), (block.bias, g.sum(2))):
                if name in self.slices:
                    torch.mul(part, self.stds[name], out=J[..., self.slices[name]])
        return f.detach(), J

    def chunks(self, theta: Tensor, x: Tensor, outputs: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """(rows of x, f, J) over all of x, few enough rows at a time that J stays small."""
        held = memory.values_in(memory.WORKSPACE // 4, theta)  # computing with them takes as much again
        size = max(1, min(held // (outputs * self.dim), self.model.data_per_pass(x)))
        for i in progress(math.ceil(len(x) / size), "Jacobians"):
            rows = slice(i * size, (i + 1) * size)
            yield rows, *self(theta, x[rows])

    def _by_transforms(self, theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        network, fixed = self.model.network, parameters_of(self.model, theta)
        chosen = {name: fixed[name] for name in self.of_network}

        def outputs(parameters: dict[str, Tensor], datum: Tensor) -> tuple[Tensor, Tensor]:
            f = call(network, fixed | parameters, datum[None])[0]
            return f, f

        of_all = torch.func.vmap(torch.func.jacrev(outputs, has_aux=True), (None, 0))
        with torch.enable_grad():
            slopes, f = of_all(chosen, x)
        J = torch.cat([slopes[name].flatten(2) * self.stds[name] for name in self.of_network], 2)
        return f.detach(), J

    def _compare(self, theta: Tensor, x: Tensor) -> None:
        """Raise UnsupportedLayers when layers are not used as this module thinks, seen on the first datum."""
        f, J = self._network(theta, x)
        parameters = parameters_of(self.model, theta)
        chosen = {name: parameters[name].clone().requires_grad_() for name in self.of_network}
        with torch.enable_grad():
            f = call(self.model.network, parameters | chosen, x)[0].unbind()
        for c in range(min(len(f), 3)):
            g = torch.autograd.grad(f[c], list(chosen.values()), retain_graph=True, materialize_grads=True)
            want = torch.cat([s.flatten() * self.stds[name] for name, s in zip(self.of_network, g)])
            if (J[0, c] - want).abs().max() > 1e-3 * want.abs().max():
                raise UnsupportedLayers("the network uses weights in other ways than layer by layer")


def last_layer(model: Model, theta: Tensor, x: Tensor) -> tuple[str, ...]:
    """Free parameters, by name: of the module that the network calls last of those with any, and the likelihood's."""
    called: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in model.network.named_modules()
        if any(
            f"{name}.{own}".lstrip(".") in model.layout.names
            for own, _ in module.named_parameters(recurse=False)
        )
    ]
    try:
        call(model.network, parameters_of(model, theta), x[:1])
    finally:
        for handle in handles:
            handle.remove()
    return tuple(
        name
        for name in model.layout.names
        if name.startswith(LIKELIHOODS) or name.rpartition(".")[0] == called[-1]
    )
