"""Priors over weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from .._support import validate
from ..nets.frozen import Trainable, free_parameters
from .stack import Layout

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
TRANSPOSED = nn.modules.conv._ConvTransposeNd


@dataclass(frozen=True)
class GaussianPrior:
    """Independent Gaussian prior p(w) = N(0, a^2 I); the gains of normalisation layers lie around 1.

    What a parameter is, its module says:

    | role   | parameters                                              | prior                                     |
    |--------|---------------------------------------------------------|-------------------------------------------|
    | weight | of dense, convolutional, recurrent, attention layers;   | N(0, a^2), with `fan_in` N(0, a^2 / n)    |
    |        | others of two or more axes                              |                                           |
    | bias   | named bias..., in_proj_bias; others of one axis or none | N(0, bias_std^2)                          |
    | gain   | `weight` of GroupNorm, LayerNorm, RMSNorm, BatchNorm,   | N(1, gain_std^2)                          |
    |        | InstanceNorm                                            |                                           |
    | frozen | those that are not `trainable`, see `Model`             | none: constants, not among the D weights  |

    The fan-in n is the number of inputs that a unit sums: all but the first axis of a weight's shape, which holds the
    units; for a transposed convolution, input channels per group times kernel over stride; 1 for an embedding, which
    looks one row up.

    Attributes:
        std: a, the prior standard deviation of a weight (a standard deviation, not a variance).
        bias_std: the same for biases; `std` when None.
        fan_in: if True, a weight's standard deviation is a / sqrt(n), so that the variance of a layer's
            outputs does not grow with the width of the layer below it. Biases and gains are not divided.
        gain_std: the standard deviation of a gain around 1; that of biases when None.

    With `fan_in=True` and growing width a network's functions tend to a Gaussian process (Neal 1996).
    """

    std: float = 1.0
    bias_std: float | None = None
    fan_in: bool = False
    gain_std: float | None = None

    def __post_init__(self):
        validate.positive("std", self.std, "It is the prior standard deviation of a weight.")
        for name in ("bias_std", "gain_std"):
            if getattr(self, name) is not None:
                validate.positive(name, getattr(self, name))

    def layout(self, network: nn.Module, trainable: Trainable = None) -> Layout:
        """Names, shapes, prior means and stds of the network's free parameters, and what is constant in it."""
        owners = {
            id(parameter): (module, name)
            for module in network.modules()
            for name, parameter in module.named_parameters(recurse=False)
        }
        named = dict(network.named_parameters())
        free = {name: named[name] for name in free_parameters(network, trainable)}
        if not free:
            raise ValueError(
                "The network has no parameters, so there is nothing to be Bayesian about (those with "
                "requires_grad=False are constants)."
            )
        priors = [self._prior(*owners[id(p)], p) for p in free.values()]
        constants = {name: p for name, p in named.items() if name not in free}
        persistent = network.state_dict(keep_vars=True).keys()
        constants |= {name: b for name, b in network.named_buffers() if name in persistent}
        return Layout(
            names=tuple(free),
            shapes=tuple(tuple(p.shape) for p in free.values()),
            stds=tuple(std for _, std in priors),
            means=tuple(mean for mean, _ in priors),
            constants={name: value.detach() for name, value in constants.items()},
        )

    def _prior(self, module: nn.Module, name: str, parameter: nn.Parameter) -> tuple[float, float]:
        """Prior mean and standard deviation of a parameter of a module."""
        bias_std = float(self.std if self.bias_std is None else self.bias_std)
        if isinstance(module, NORMS) and name == "weight":
            return 1.0, bias_std if self.gain_std is None else float(self.gain_std)
        if parameter.ndim < 2 or "bias" in name:
            return 0.0, bias_std
        return 0.0, float(self.std / math.sqrt(_fan_in(module, parameter)) if self.fan_in else self.std)


def _fan_in(module: nn.Module, weight: nn.Parameter) -> float:
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return 1.0
    if isinstance(module, TRANSPOSED):  # its weight is (inputs, outputs / groups, kernel ...)
        return weight.shape[0] / module.groups * math.prod(module.kernel_size) / math.prod(module.stride)
    return math.prod(weight.shape[1:])
