"""Measures of complexity that compete with effective dimension as predictors of generalisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import RowRandom
from ..models.model import Model
from ..models.stack import Stack, check_stack
from ..nets.mlp import MLP

_FLOOR = 1e-6  # variance that magnitude-aware noise leaves a weight of 0
_LARGEST = 100.0  # sigma at which the search gives up: the labels do not depend on the weights


def path_norm(model: Model, stack: Stack) -> Tensor:
    """The l2 path norm of ReLU networks, (S,): the root of the summed squares of all paths from input to output.

        path_norm = ( sum over paths  prod_{weights w on the path} w^2 )^(1/2)

    A bias starts paths of its own. It is computed by one pass: all outputs of the network, summed, when every
    weight is squared and every input 1. It does not change when a unit's incoming weights are
    multiplied by c > 0 and its outgoing ones divided by it, which leaves a ReLU network's function alone
    too. Weights are in the network's own units. (Neyshabur, Salakhutdinov and Srebro 2015, section 3.)

    Args:
        model: its network must be a `bdl.nets.mlp` with activation "relu".
        stack: S weight settings.
    """
    network = model.network
    if not isinstance(network, MLP) or (network.activation != "relu" and len(network.sizes) > 2):
        raise ValueError(
            "path_norm is defined for networks of dense layers and ReLUs: bdl.nets.mlp(..., activation='relu')."
        )
    ones = torch.ones(1, network.sizes[0], dtype=stack.theta.dtype, device=stack.theta.device)
    check_stack(stack, model.layout, ones)
    with torch.no_grad():
        return model.forward_weights(stack.weights.square(), ones).sum((1, 2)).sqrt()


def pac_bayes_scale(
    model: Model,
    stack: Stack,
    x: Tensor,
    y: Tensor,
    *,
    accuracy_drop: float = 0.1,
    magnitude_aware: bool = False,
    draws: int = 20,
    seed: int | torch.Generator = 0,
    steps: int = 20,
) -> Tensor:
    """How much Gaussian noise the weights bear, (S,): the largest sigma that costs at most `accuracy_drop`.

        E_z[ training accuracy of w + std * z ]  >=  training accuracy of w  -  accuracy_drop,     z ~ N(0, I)

    with std = sigma, or, magnitude-aware, std_i = (sigma^2 w_i^2 + 1e-6)^(1/2). The bounds of PAC-Bayes grow with
    1 / sigma: a flat solution bears more. The expectation is a mean over the same draws at every sigma,
    and sigma is found by bisection of its logarithm. Weights are in the network's own units.
    (Neyshabur et al. 2017; Jiang et al. 2020, appendix C.3.)

    Args:
        model: a classifier (Categorical likelihood).
        stack: S weight settings.
        x, y: training data.
        accuracy_drop: in (0, 1).
        magnitude_aware: noise in proportion to each weight.
        draws: noise vectors.
        seed: of the noise.
        steps: bisections; sigma is known to a factor of 1.0001 after 20.

    Returns:
        sigma (S,), 100 where even that costs less, and 1e-4 where even that costs more.
    """
    if model.likelihood.probabilities(torch.zeros(1, 2)) is None:
        raise TypeError("pac_bayes_scale counts right labels: the model needs a likelihood of classes.")
    if not 0 < accuracy_drop < 1:
        raise ValueError(f"accuracy_drop must lie between 0 and 1, got {accuracy_drop}.")
    validate.count("draws", draws)
    check_stack(stack, model.layout, x)
    validate.finite("the stack's theta", stack.theta)  # NaN outputs would count as a label
    y = model.check_data(x, y)
    weights, S = stack.weights, len(stack)
    random = RowRandom(seed, range(draws), dtype=weights.dtype, device=weights.device)
    z = random.normal(weights.shape[1])
    right = right_labels(model, weights, x, y)
    bearable = math.floor(
        accuracy_drop * draws * len(y)
    )  # labels that may be lost, over all draws: exact counts

    def costs_too_much(sigma: Tensor) -> Tensor:
        std = sigma[:, None].expand_as(weights)
        if magnitude_aware:
            std = (std.square() * weights.square() + _FLOOR).sqrt()
        noisy = (weights[:, None] + std[:, None] * z).flatten(0, 1)
        return draws * right - right_labels(model, noisy, x, y).unflatten(0, (S, draws)).sum(1) > bearable

    low = weights.new_full((S,), math.log(1e-4))
    high = weights.new_full((S,), math.log(_LARGEST))
    for _ in range(validate.count("steps", steps)):
        middle = (low + high) / 2
        over = costs_too_much(middle.exp())
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return ((low + high) / 2).exp()


@torch.no_grad()
def right_labels(model: Model, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """How many labels each setting gets right, (S,) whole numbers."""

    def of(part: Tensor) -> Tensor:
        labels = model.likelihood.probabilities(model.forward_weights(part, x)).argmax(-1)
        return torch.count_nonzero(labels == y, dim=1)

    return torch.cat([of(part) for part in weights.split(model.chunk_size(x))])
