"""Gradients of a stack by reverse mode: a function value, and the map that pulls gradients back to the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Pullback = Callable[[Tensor], Tensor]
PullbackAt = Callable[[Tensor], tuple[Tensor, Pullback]]  # of inputs, at weights that are given already


def pullback_by_autograd(
    forward: Callable[[Tensor, Tensor], Tensor], weights: Tensor, x: Tensor
) -> tuple[Tensor, Pullback]:
    """f = forward(weights, x), and the map from g to the gradient of sum(g * f) in the weights."""
    weights = weights.detach().requires_grad_()
    with torch.enable_grad():
        f = forward(weights, x)
    return f.detach(), lambda g: torch.autograd.grad(f, weights, g)[0]
