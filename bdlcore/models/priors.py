"""Priors over weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from .._support import validate
from .stack import Layout


@dataclass(frozen=True)
class GaussianPrior:
    """Independent zero-mean Gaussian prior p(w) = N(0, a^2 I).

    Attributes:
        std: a, the prior standard deviation of a weight (a standard deviation, not a variance).
        bias_std: the same for biases; `std` when None.
        fan_in: if True, a weight's standard deviation is a / sqrt(fan-in), so that the variance of a layer's
            outputs does not grow with the width of the layer below it. Biases are not divided.

    With `fan_in=True` and growing width a network's functions tend to a Gaussian process (Neal 1996).
    """

    std: float = 1.0
    bias_std: float | None = None
    fan_in: bool = False

    def __post_init__(self):
        validate.positive("std", self.std, "It is the prior standard deviation of a weight.")
        if self.bias_std is not None:
            validate.positive("bias_std", self.bias_std)

    def layout(self, network: nn.Module) -> Layout:
        """Names, shapes and prior standard deviations of the network's parameters."""
        names, shapes, stds = [], [], []
        for name, parameter in network.named_parameters():
            shape = tuple(parameter.shape)
            if len(shape) < 2:
                std = self.std if self.bias_std is None else self.bias_std
            else:
                std = self.std / math.sqrt(math.prod(shape[1:])) if self.fan_in else self.std
            names.append(name)
            shapes.append(shape)
            stds.append(float(std))
        if not names:
            raise ValueError("The network has no parameters, so there is nothing to be Bayesian about.")
        return Layout(tuple(names), tuple(shapes), tuple(stds))
