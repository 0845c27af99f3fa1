"""What the course asks of a network: to evaluate a whole stack of weights.

`Network` says what that is. `StackedModule` has defaults, so that a network of one's own needs `forward` and
`forward_stack`; any other `nn.Module` works as it is, through `torch.func`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .._support import validate
from .._support.pullback import Pullback, PullbackAt, pullback_by_autograd


@runtime_checkable
class Network(Protocol):
    """f_w(x) for S settings w of the D weights at once, in the order of `named_parameters()`."""

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, N, C) for weights (S, D) and x (N, ...), differentiable."""
        ...

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """Outputs f (S, N, C), and the map from g (S, N, C) to the gradient of sum(g * f) in the weights, (S, D).

        Both are tensors of their own, which the caller may overwrite.
        """
        ...

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when x does not fit."""
        ...

    def widest_activation(self, x: Tensor) -> int:
        """Values of the largest tensor that one datum of x and one setting make on the way: what bounds memory."""
        ...


def pullback_at(network: Network, weights: Tensor) -> PullbackAt:
    """`network.pullback` at a tensor of weights (S, D) whose values may change between calls.

    A network that has `pullback_at(weights)` beside its `pullback` may make views of the weights, and memory for what
    it returns, once: what a call returns then holds until the next call.
    """
    for kind in type(network).__mro__:
        if "pullback_at" in vars(kind):
            return network.pullback_at(weights)
        if "pullback" in vars(kind):  # a subclass with a way of its own
            break
    return partial(network.pullback, weights)


class StackedModule(nn.Module):
    """An `nn.Module` with `forward_stack`, and defaults for the rest of `Network`."""

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """See `Network`."""
        raise NotImplementedError

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """See `Network`; by autograd."""
        return pullback_by_autograd(self.forward_stack, weights, x)

    def check_inputs(self, x: Tensor) -> None:
        """See `Network`; floating-point numbers of any shape."""
        validate.floating("x", x)

    def widest_activation(self, x: Tensor) -> int:
        """See `Network`; measured on the first datum."""
        return measured_width(self, x)


class AnyModule:
    """Any `nn.Module` as a `Network`: `torch.func.functional_call`, mapped over the stack by `torch.func.vmap`.

    Modules that vmap cannot map (recurrent ones) are called once for each setting. Parameters that are not `free` and
    buffers are constants, in the dtype and on the device of the inputs.
    """

    def __init__(self, module: nn.Module, free: Sequence[str]):
        self.module, named = module, dict(module.named_parameters())
        self.shapes = {name: named[name].shape for name in free}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.widths: dict[tuple[int, ...], int] = {}
        self.one_by_one = any(isinstance(part, nn.RNNBase) for part in module.modules())

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """See `Network`."""
        parts = zip(self.shapes.items(), weights.split(self.sizes, dim=1), strict=True)
        named = {name: part.reshape(-1, *shape) for (name, shape), part in parts}
        fixed = constants(self.module, self.shapes, weights)
        if self.one_by_one:
            rows = ({name: value[s] for name, value in named.items()} for s in range(len(weights)))
            return torch.stack([call(self.module, row | fixed, x) for row in rows])
        return torch.func.vmap(lambda row: call(self.module, row | fixed, x), randomness="error")(named)

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


class PartlyFrozen:
    """A `Network` some of whose parameters are constants: it sees all of them, and the stack those that are `free`."""

    def __init__(self, network: Network, free: Sequence[str]):
        self.network = network
        parts = [(p.detach().flatten(), name in free) for name, p in network.named_parameters()]
        self.values = torch.cat([value for value, _ in parts])
        free = torch.cat([torch.full_like(value, own, dtype=torch.bool) for value, own in parts])
        self.columns = free.nonzero().flatten()

    def _whole(self, weights: Tensor) -> Tensor:
        columns = self.columns.to(weights.device)
        return self.values.to(weights).expand(len(weights), -1).index_copy(1, columns, weights)

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """See `Network`."""
        return self.network.forward_stack(self._whole(weights), x)

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """See `Network`."""
        f, pull = self.network.pullback(self._whole(weights), x)
        return f, lambda g: pull(g)[:, self.columns.to(g.device)]

    def __getattr__(self, name: str):
        return getattr(self.network, name)


def stacked(module: nn.Module, free: Sequence[str] | None = None) -> Network:
    """The module itself where it is a `Network`, without parameters that are not `free`, else `AnyModule`."""
    names = [name for name, _ in module.named_parameters()]
    free = names if free is None else free
    if not isinstance(module, Network) or any(map(parametrize.is_parametrized, module.modules())):
        return AnyModule(
            module, free
        )  # a weight that is computed from others is not where a `Network` looks for it
    return module if len(free) == len(names) else PartlyFrozen(module, free)


class WithConstants:
    """A `Network` with further outputs that are the same at every x: the last weights themselves."""

    def __init__(self, network: Network, constants: int):
        self.network, self.constants = network, constants

    def _outputs(self, weights: Tensor, f: Tensor) -> Tensor:
        own = weights[:, None, -self.constants :].expand(-1, f.shape[1], -1)
        return torch.cat([f, own], 2)

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """See `Network`."""
        return self._outputs(weights, self.network.forward_stack(weights[:, : -self.constants], x))

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """See `Network`."""
        f, pull = self.network.pullback(weights[:, : -self.constants].contiguous(), x)

        return self._outputs(weights, f), partial(self._pull, pull)

    def pullback_at(self, weights: Tensor) -> PullbackAt:
        """See `pullback_at`."""
        network = weights.new_empty(len(weights), weights.shape[1] - self.constants)
        pullback = pullback_at(self.network, network)

        def at(x: Tensor) -> tuple[Tensor, Pullback]:
            network.copy_(weights[:, : -self.constants])
            f, pull = pullback(x)
            return self._outputs(weights, f), partial(self._pull, pull)

        return at

    def _pull(self, pull: Pullback, g: Tensor) -> Tensor:
        """The gradient (S, D), where `pull` gives that in the network's weights."""
        own = g[..., -self.constants :].sum(1)
        return torch.cat([pull(g[..., : -self.constants].contiguous()), own], 1)

    def __getattr__(self, name: str):
        return getattr(self.network, name)


def with_constants(network: Network, constants: int) -> Network:
    """The network with so many outputs more that are weights themselves; the network itself where there are none."""
    return WithConstants(network, constants) if constants else network


def check_module(network: nn.Module) -> None:
    """Refuse modules whose output is no function f_w(x) of weights and one datum, by name and with the remedy."""
    if not isinstance(network, nn.Module) and not isinstance(network, Network):
        raise TypeError(
            f"network must be an nn.Module, such as bdl.nets.mlp(1, 50, 1); got {type(network).__name__}."
        )
    for name, part in network.named_modules():
        where = f"{type(part).__name__} ({name or 'the network itself'})"
        if any(nn.parameter.is_lazy(p) for p in part.parameters(recurse=False)):
            raise ValueError(f"{where} has no weights yet: call network(x) once with a batch of your data.")
        if not part.training:
            continue
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"The network contains BatchNorm ({name}): its outputs depend on the whole batch, so p(y|x, w) is "
                "not defined per datum. Use GroupNorm or no normalisation, or network.eval() for a trained network, "
                "whose running statistics then are constants."
            )
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0:
            raise ValueError(
                f"The network contains dropout ({name}): f_w(x) must be a function of w and x alone. "
                "Call network.eval(), or leave the dropout out."
            )
        if getattr(part, "dropout", 0) and isinstance(part, nn.RNNBase | nn.MultiheadAttention):
            raise ValueError(f"{where} drops units at random (dropout={part.dropout}): call network.eval().")
        if "SpectralNorm" in type(part).__name__:
            raise ValueError(f"{where} changes with every call while it trains: call network.eval().")


def constants(module: nn.Module, free: Collection[str], like: Tensor) -> dict[str, Tensor]:
    """Buffers, and parameters that are not `free`, by name; as `cast` gives them."""
    return {name: value for name, value in cast(module, like).items() if name not in free}


def cast(module: nn.Module, like: Tensor) -> dict[str, Tensor]:
    """Parameters and buffers by name, on the device of `like`; floating-point ones in its dtype, if that is one."""
    values = {name: p.detach() for name, p in module.named_parameters()} | dict(module.named_buffers())
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    return {
        name: value.to(device=like.device, dtype=dtype if value.is_floating_point() else value.dtype)
        for name, value in values.items()
    }


def evaluate(module: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> object:
    """module(x) with these parameters, as mathematics: without kernels that cannot be differentiated twice."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(
        False
    )  # that of transformers in eval mode has no derivative at all
    try:
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.functional_call(module, parameters, (x,))
    except RuntimeError as error:
        if "random" in str(error):
            raise ValueError(
                f"{type(module).__name__} draws random numbers in its forward pass (dropout?): f_w(x) must be a "
                "function of w and x alone. Call network.eval(), or leave the randomness out."
            ) from error
        raise
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def call(module: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """The outputs (N, C) that `evaluate` gives, or a ValueError where they are something else."""
    f = evaluate(module, parameters, x)
    if not isinstance(f, Tensor) or f.ndim != 2 or len(f) != len(x):
        got = f"shape {tuple(f.shape)}" if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(
            f"The network must return one tensor of shape (N, C), here ({len(x)}, C), got {got}. Wrap it in a module "
            "that does."
        )
    return f


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
        call(module, cast(module, x), x[:1])
    finally:
        for handle in handles:
            handle.remove()
    return widest
