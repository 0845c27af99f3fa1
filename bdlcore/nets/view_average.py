"""Networks that average their outputs over transformed views of the input, instead of training on the views as data."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from .._support import validate
from .._support.pullback import Pullback, PullbackAt
from .protocol import StackedModule, pullback_at, stacked

Views = Callable[[Tensor], Tensor]


def rotations(x: Tensor, views: int = 4) -> Tensor:
    """Points x (N, 2) turned by 0, 1/K, 2/K, ... of a full turn about the origin, (K, N, 2)."""
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"rotations turns points of the plane, shape (N, 2); got {tuple(x.shape)}.")
    angle = torch.arange(validate.count("views", views), dtype=x.dtype, device=x.device) * (
        2 * math.pi / views
    )
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    return torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], -1)


class ViewAverage(StackedModule):
    """The network  f(x) = K^(-power) * sum_k net(view_k(x)).

    When the views are the orbit of x under a group (all quarter turns, say), f is exactly invariant: it gives all
    views of an input the same output, and *one* likelihood p(y | f(x)) per datum is a proper one (Nabarro et al.
    2022).

    Args:
        net: network for a single view.
        views: x (N, ...) -> (K, N, ...), such as `rotations`.
        power: 1 averages. 1/2 keeps, for views that the prior thinks independent, the prior variance of a single view.
    """

    def __init__(self, net: nn.Module, views: Views, power: float = 1.0):
        super().__init__()
        validate.positive("power", power)
        self.net, self.views, self.power = net, views, power
        self._stacked = (stacked(net),)  # in a tuple, or its parameters would count twice

    def check_inputs(self, x: Tensor) -> None:
        """Raise ValueError when the views of x do not fit the network."""
        self._stacked[0].check_inputs(self.views(x)[0])

    def widest_activation(self, x: Tensor) -> int:
        """That of all views of a datum."""
        views = self.views(x[:1])
        return len(views) * self._stacked[0].widest_activation(views[0])

    def forward(self, x: Tensor) -> Tensor:
        views = self.views(x)
        return self.net(views.flatten(0, 1)).unflatten(0, views.shape[:2]).sum(0) / len(views) ** self.power

    def forward_stack(self, weights: Tensor, x: Tensor) -> Tensor:
        """Outputs (S, N, C) for weights (S, D)."""
        views = self.views(x)
        f = self._stacked[0].forward_stack(weights, views.flatten(0, 1))
        return f.unflatten(1, views.shape[:2]).sum(1) / len(views) ** self.power

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """Outputs f (S, N, C), and the map from g (S, N, C) to the gradient of sum(g * f) in the weights, (S, D)."""
        return self._averaged(partial(self._stacked[0].pullback, weights), x)

    def pullback_at(self, weights: Tensor) -> PullbackAt:
        """See `protocol.pullback_at`."""
        return partial(self._averaged, pullback_at(self._stacked[0], weights))

    def _averaged(self, pullback: PullbackAt, x: Tensor) -> tuple[Tensor, Pullback]:
        views = self.views(x)
        K, scale = len(views), len(views) ** -self.power
        f, pull = pullback(views.flatten(0, 1))
        return f.unflatten(1, views.shape[:2]).sum(1) * scale, lambda g: pull((g * scale).repeat(1, K, 1))
