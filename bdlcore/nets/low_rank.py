"""Low-rank changes of trained weights (LoRA): few numbers to be Bayesian about in a network of many."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils import parametrize

from .._support import validate
from .frozen import free_parameters

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


class LowRankChange(nn.Module):
    """W + scale * B A of a weight W (O, ...), with A (R, I) and B (O, R), I the inputs that a unit sums."""

    def __init__(self, weight: Tensor, rank: int, scale: float):
        super().__init__()
        outputs, inputs = weight.flatten(1).shape
        if rank > min(outputs, inputs):
            raise ValueError(
                f"rank must be at most {min(outputs, inputs)} for a weight of shape {tuple(weight.shape)}, got {rank}: "
                "more changes nothing more than the whole weight would."
            )
        self.scale = scale
        self.A = nn.Parameter(weight.new_zeros(rank, inputs))
        self.B = nn.Parameter(weight.new_zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.B @ self.A).view_as(weight)


def low_rank(
    network: nn.Module, rank: int, layers: str | Sequence[str] | None = None, *, scale: float = 1.0
) -> nn.Module:
    """A copy of a trained network whose only free parameters are low-rank changes of its weights (Hu et al. 2022).

        W_l  =  W_l,trained  +  scale / sqrt(rank) * B_l A_l,     A_l (R, I_l),  B_l (O_l, R)

    Everything else is constant. Under independent N(0, a^2) priors over A and B a change of a weight has the std
    scale * a^2, whatever the rank, and is 0 on average: the prior lies around the trained network.

    Args:
        network: a trained network; it stays as it is.
        rank: R, of every change.
        layers: names of dense or convolutional layers, as in `Model`'s `trainable`; all of them when None.
        scale: of the changes.

    Returns:
        The network, for `bdl.Model(bdl.nets.low_rank(network, 4), ...)`.
    """
    rank = validate.count("rank", rank)
    validate.positive("scale", scale)
    wanted = None if layers is None else set(free_parameters(network, layers))
    changed = copy.deepcopy(network).requires_grad_(False)
    found = [
        module
        for name, module in list(changed.named_modules())
        if isinstance(module, LAYERS) and (wanted is None or f"{name}.weight".lstrip(".") in wanted)
    ]
    if not found:
        raise ValueError(
            "low_rank found no dense or convolutional layer to change among those that are named."
        )
    for module in found:
        parametrize.register_parametrization(
            module, "weight", LowRankChange(module.weight, rank, scale / math.sqrt(rank))
        )
        module.parametrizations.weight.original.requires_grad_(False)
    return changed
