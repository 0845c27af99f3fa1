"""Networks of which a part is constant: which parameters are free, and features that need to be computed only once.

With some parameters frozen, a network is f_w(x) = head_w(features(x)). The features do not depend on the weights w that
a posterior is about: a backbone of millions of weights is evaluated once for each input, and a sampler sees the head.
"""

from __future__ import annotations

import difflib
import math
import operator
import weakref
from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .._support.progress import progress, warn
from .._support.pullback import Pullback
from .protocol import AnyModule, Network, call, cast, evaluate

Trainable = str | Sequence[str] | None

_KEPT = 4  # tensors of inputs whose features are remembered
_IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.setitem}


def free_parameters(network: nn.Module, trainable: Trainable = None) -> tuple[str, ...]:
    """Names of the parameters that a posterior is about, in the network's order.

    Args:
        network: the network.
        trainable: names of parameters or modules, one or several, with `*` for anything: "fc", ["layer4", "fc"],
            "*.bias". None for all but those with requires_grad=False.
    """
    named = dict(network.named_parameters())
    if trainable is None:
        return tuple(name for name, p in named.items() if p.requires_grad)
    patterns = [trainable] if isinstance(trainable, str) else trainable
    if not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(
            f"trainable must be a name of a parameter or module, or several, such as 'fc' or ['layer4', 'fc']; got "
            f"{trainable!r}."
        )
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in named if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")}
        if not found:
            modules = [
                name
                for name, module in network.named_modules()
                if name and any(True for _ in module.parameters())
            ]
            near = difflib.get_close_matches(pattern, [*modules, *named], 3, 0.4) or modules[-3:]
            raise ValueError(
                f"trainable names {pattern!r}, but the network has no such parameter or module with parameters; there "
                f"are, among others, {', '.join(map(repr, near))}."
            )
        chosen |= found
    return tuple(name for name in named if name in chosen)


class SharedLinear:
    """A dense layer as a `Network`: f = x W^T + b with the same x (N, I) for every setting.

    One matrix product with the weights of all settings side by side reads x once, however many these are.
    """

    def __init__(self, layer: nn.Linear):
        self.shape, self.bias = tuple(layer.weight.shape), layer.bias is not None

    def _parts(self, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """W (S C, I) and b (S C,) of a stack (S, D)."""
        C, I = self.shape
        W = weights[:, : C * I].reshape(-1, I)
        return W, weights[:, C * I :].reshape(-1) if self.bias else None

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """See `Network`."""
        return F.linear(x, *self._parts(weights)).unflatten(1, (len(weights), -1)).transpose(0, 1)

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """See `Network`: dW = g^T x, db = sum_n g."""

        def pull(g: Tensor) -> Tensor:
            S, g = len(g), g.transpose(0, 1).flatten(1)
            gradient = torch.empty_like(weights)
            C, I = self.shape
            gradient[:, : C * I] = (g.mT @ x).view(S, -1)
            if self.bias:
                gradient[:, C * I :] = g.sum(0).view(S, -1)
            return gradient

        return self.forward_stack(weights.detach(), x), pull

    def check_inputs(self, x: Tensor) -> None:
        """See `Network`."""
        if x.shape[1:] != self.shape[1:]:
            raise ValueError(f"x must have shape (N, {self.shape[1]}) here, got {tuple(x.shape)}.")

    def widest_activation(self, x: Tensor) -> int:
        """The outputs: inputs are there already, and no setting makes its own."""
        return self.shape[0]


class Split:
    """A network cut where its free parameters begin, for inputs of one shape.

    Attributes:
        head: the rest of the network as a module of the features (N, F), its parameters named as in the network.
        stacked: the same as a `Network`.
        width: F.
    """

    def __init__(self, backbone: fx.GraphModule, head: fx.GraphModule, stacked: Network, width: int):
        self.backbone, self.head, self.stacked, self.width = backbone, head, stacked, width
        self.remembered: dict[int, tuple[weakref.ref, object, Tensor]] = {}

    def features(self, x: Tensor, at_a_time: int) -> Tensor:
        """What the free parameters see of x, (N, F); remembered while x lives and nothing in it changes."""
        key, now = id(x), self._version(x)
        known = self.remembered.get(key)
        if known is None or now is None or known[0]() is not x or known[1] != now:
            values = _features(self.backbone, x, at_a_time)
            if now is None:
                return values
            forget = weakref.ref(x, lambda _: self.remembered.pop(key, None))
            self.remembered[key] = known = forget, now, values
            while len(self.remembered) > _KEPT:
                del self.remembered[next(iter(self.remembered))]
        return known[2]

    def _version(self, x: Tensor) -> tuple[int, ...] | None:
        """Counts of what was written into x and into the constants; None for a tensor that does not count."""
        if x.is_inference():
            return None
        fixed = (*self.backbone.parameters(), *self.backbone.buffers())
        return x._version, *((id(value), value._version) for value in fixed)


def split(network: nn.Module, free: Sequence[str], x: Tensor) -> Split | None:
    """Cut a network with frozen parameters where the free ones begin; None where that would save nothing.

    The network's `forward` is recorded by `torch.fx`. One that cannot be (it branches on its inputs, say) is evaluated
    whole, as a warning says.

    Args:
        network: the network.
        free: names of the free parameters.
        x: inputs, of which two are tried.
    """
    named = dict(network.named_parameters())
    if not isinstance(network, nn.Module) or len(free) == len(named):
        return None
    try:
        cut = _cut(network, {id(named[name]) for name in free}, x[:2])
        if cut is None:
            return None
        backbone, head = cut
        stacked = _stacked(head, free)
        values = cast(network, x)
        weights = torch.cat([values[name].detach().flatten() for name in free])[None]
        features = _features(backbone, x[:2], 2)
        found = stacked.forward_stack(weights, features)[0]
        torch.testing.assert_close(found, call(network, values, x[:2]), rtol=1e-3, atol=1e-3)
    except Exception as reason:  # whatever a network of somebody else's does while it is recorded
        first = str(reason).strip().split("\n")[0]
        warn(
            f"The frozen part of {type(network).__name__} could not be told from the rest ({first}), so that it is "
            "evaluated anew for every setting of the weights. Give Model the trainable part, and features as its x."
        )
        return None
    return Split(backbone, head, stacked, features.shape[1])


@torch.no_grad()
def _features(backbone: nn.Module, x: Tensor, at_a_time: int) -> Tensor:
    with torch.inference_mode(False):  # else no gradient could be taken through the head afterwards
        fixed, parts, found = cast(backbone, x), x.split(at_a_time), []
        for i in progress(len(parts), "features"):
            tensors = evaluate(backbone, fixed, parts[i])
            for value in tensors:
                if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != len(parts[i]):
                    raise ValueError("what goes from one part to the other is no tensor with the data first")
            found.append(torch.cat([value.flatten(1) for value in tensors], 1))
        return torch.cat(found)


def _cut(network: nn.Module, free: set[int], x: Tensor) -> tuple[fx.GraphModule, fx.GraphModule] | None:
    """The part before the free parameters (by id), which returns a tuple of tensors, and the one after."""
    graph = fx.Tracer().trace(network)
    modules = dict(network.named_modules())
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise ValueError(f"its forward takes {len(inputs)} arguments")
    of_x, of_w = {inputs[0]}, set()
    for node in graph.nodes:
        own = modules[node.target].parameters() if node.op == "call_module" else ()
        if node.op == "get_attr":
            own = (operator.attrgetter(node.target)(network),)
        before = node.all_input_nodes
        if any(id(p) in free for p in own) or any(b in of_w for b in before):
            of_w.add(node)
        elif any(b in of_x for b in before):
            of_x.add(node)
    between = [node for node in of_x if any(user in of_w for user in node.users)]
    between.sort(key=list(graph.nodes).index)

    first, copies = fx.Graph(), {}
    for node in graph.nodes:
        if node not in of_w and node.op != "output":
            copies[node] = first.node_copy(node, copies.__getitem__)
    first.output(tuple(copies[node] for node in between))
    backbone = fx.GraphModule(network, first)
    if not any(True for _ in backbone.parameters()):
        return None
    with torch.no_grad():
        shapes = [value.shape[1:] for value in evaluate(backbone, cast(backbone, x), x)]

    second, copies, start = fx.Graph(), {}, 0
    features = second.placeholder("features")
    for node, shape in zip(between, shapes):
        written = any(_writes(user, node, modules) for user in node.users)
        if len(between) == 1 and len(shape) == 1 and not written:
            copies[node] = features
        else:
            stop = start + math.prod(shape)
            copies[node] = second.call_function(_part, (features, start, stop, tuple(shape), written))
            start = stop
    for node in graph.nodes:
        if node not in of_x:
            copies[node] = second.node_copy(node, copies.__getitem__)
    return backbone, fx.GraphModule(network, second)


def _part(features: Tensor, start: int, stop: int, shape: tuple[int, ...], copied: bool) -> Tensor:
    """One tensor of those that are side by side in the features."""
    part = features[:, start:stop].reshape(-1, *shape)
    return part.clone() if copied else part


def _writes(user: fx.Node, node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a step of the network changes its input in place."""
    if user.op == "call_module":
        return getattr(modules[user.target], "inplace", False)
    in_place = user.target.endswith("_") if user.op == "call_method" else user.target in _IN_PLACE
    return bool(user.kwargs.get("inplace")) or (in_place and user.args[0] is node)


def _stacked(head: fx.GraphModule, free: Sequence[str]) -> Network:
    """The head as a `Network`: a single dense layer that is all free, or any module."""
    steps = [node for node in head.graph.nodes if node.op not in ("placeholder", "output")]
    if len(steps) == 1 and steps[0].op == "call_module":
        layer = head.get_submodule(steps[0].target)
        if type(layer) is nn.Linear and len(free) == len(list(layer.parameters())):
            return SharedLinear(layer)
    return AnyModule(head, free)
