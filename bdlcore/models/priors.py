"""Priors over weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

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
        layers: standard deviations of some layers in place of all of the above, such as {"layers.0": 0.3}: one for each
            name of a module or parameter, of which the longest that fits counts. With `fan_in` those of weights are
            divided by sqrt(n).

        mean: prior means of some or all weights, by name, in place of 0 (and of 1 for gains): the `state_dict` of a
            trained network makes the prior N(w_trained, std^2). What the network does not have as a free parameter,
            buffers among it, is left out.

    With `fan_in=True` and growing width a network's functions tend to a Gaussian process (Neal 1996).
    """

    std: float = 1.0
    bias_std: float | None = None
    fan_in: bool = False
    gain_std: float | None = None
    layers: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    mean: Mapping[str, Tensor] | None = field(default=None, compare=False, repr=False)
    gaussian: ClassVar[bool] = True  # whether p(theta) = N(0, I), which closed forms take for granted

    def __post_init__(self):
        validate.positive("std", self.std, "It is the prior standard deviation of a weight.")
        for name in ("bias_std", "gain_std"):
            if getattr(self, name) is not None:
                validate.positive(name, getattr(self, name))
        object.__setattr__(self, "layers", tuple(dict(self.layers).items()))
        for name, std in self.layers:
            validate.positive(f"layers[{name!r}]", std, "It is the prior standard deviation of a layer.")

    def log_prob(self, theta: Tensor) -> Tensor:
        """log p(theta) of whitened weights (S, D), (S,)."""
        return -0.5 * _squares(theta) - 0.5 * math.log(2 * math.pi) * theta.shape[1]

    def slope(self, theta: Tensor) -> Tensor:
        """d log p / d theta, (S, D)."""
        return -theta

    def from_normal(self, z: Tensor) -> Tensor:
        """Draws of theta (S, D) from standard normal numbers, each from its own."""
        return z

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
        modules = {*free, *(name for name, _ in network.named_modules())}
        for name, _ in self.layers:
            if name not in modules:
                raise ValueError(
                    f"layers names {name!r}, which is neither a layer nor a free parameter of the network: "
                    f"{', '.join(free)}."
                )
        priors = [self._prior(full, *owners[id(p)], p) for full, p in free.items()]
        constants = {name: p for name, p in named.items() if name not in free}
        persistent = network.state_dict(keep_vars=True).keys()
        constants |= {name: b for name, b in network.named_buffers() if name in persistent}
        return Layout(
            names=tuple(free),
            shapes=tuple(tuple(p.shape) for p in free.values()),
            stds=tuple(std for _, std in priors),
            means=tuple(mean for mean, _ in priors),
            centres=self._centres(free),
            constants={name: value.detach() for name, value in constants.items()},
        )

    def _centres(self, free: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The prior means that are given, checked."""
        if self.mean is None:
            return {}
        if not isinstance(self.mean, Mapping):
            raise TypeError(
                "mean must map names of parameters to tensors, as network.state_dict() does; got "
                f"{type(self.mean).__name__}."
            )
        centres = {name: self.mean[name].detach().clone() for name in free if name in self.mean}
        if not centres:
            raise ValueError(
                f"mean names none of the network's free parameters, {', '.join(free)}; it has "
                f"{', '.join(map(repr, list(self.mean)[:5]))}. Give network.state_dict()."
            )
        for name, value in centres.items():
            validate.finite(f"mean[{name!r}]", value)
            if value.shape != free[name].shape:
                raise ValueError(
                    f"mean[{name!r}] has shape {tuple(value.shape)}, and the network's parameter "
                    f"{tuple(free[name].shape)}."
                )
        return centres

    def _prior(self, full: str, module: nn.Module, name: str, parameter: nn.Parameter) -> tuple[float, float]:
        """Prior mean and standard deviation of a parameter of a module, by its full name."""
        fitting = [
            (len(key), own) for key, own in self.layers if f"{full}.".startswith(f"{key}." if key else "")
        ]
        std, bias_std, gain_std = self.std, self.bias_std, self.gain_std
        if fitting:
            std, bias_std, gain_std = max(fitting)[1], None, None
        bias_std = float(std if bias_std is None else bias_std)
        if isinstance(module, NORMS) and name == "weight":
            return 1.0, bias_std if gain_std is None else float(gain_std)
        if parameter.ndim < 2 or "bias" in name:
            return 0.0, bias_std
        return 0.0, float(std / math.sqrt(_fan_in(module, parameter)) if self.fan_in else std)


@dataclass(frozen=True)
class LaplacePrior(GaussianPrior):
    """Laplace's distribution (double exponential) in place of the Gaussian: a mode is sparse, and draws have outliers.

        p(theta) = prod_d exp(-sqrt(2) |theta_d|) / sqrt(2),     w = mean + std * theta, of variance std^2

    A weight's mean and std are those of `GaussianPrior`, with the same attributes, and whitening divides by the std as
    exactly. For samplers, ensembles and variational inference; `laplace` and closed forms need a Gaussian prior.
    """

    gaussian: ClassVar[bool] = False

    def log_prob(self, theta: Tensor) -> Tensor:
        """log p(theta) of whitened weights (S, D), (S,)."""
        return -math.sqrt(2) * theta.abs().sum(1) - 0.5 * math.log(2) * theta.shape[1]

    def slope(self, theta: Tensor) -> Tensor:
        """d log p / d theta, (S, D); 0 at the kink."""
        return -math.sqrt(2) * theta.sign()

    def from_normal(self, z: Tensor) -> Tensor:
        """Draws of theta (S, D) from standard normal numbers, quantile by quantile."""
        return -z.sign() * (math.log(2) + torch.special.log_ndtr(-z.abs())) / math.sqrt(2)


@dataclass(frozen=True)
class StudentTPrior(GaussianPrior):
    """Student's t distribution in place of the Gaussian: most weights small, a few large, whose size it hardly limits.

        p(theta) = prod_d t(theta_d; dof),  scaled so that w = mean + std * theta has the variance std^2

    A weight's mean and std are those of `GaussianPrior`, with the same attributes, and whitening divides by the std as
    exactly. For samplers, ensembles and variational inference; `laplace` and closed forms need a Gaussian prior.

    Attributes:
        dof: degrees of freedom, more than 2; fewer make heavier tails, and infinity would be a Gaussian.
    """

    dof: float = 5.0
    gaussian: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        validate.scale("dof", self.dof, hint="For infinitely many use GaussianPrior.")
        if self.dof <= 2:
            raise ValueError(f"dof must be more than 2, for there to be a std, got {self.dof}.")

    @property
    def _square(self) -> float:
        """dof times the squared scale."""
        return self.dof - 2.0

    def log_prob(self, theta: Tensor) -> Tensor:
        """log p(theta) of whitened weights (S, D), (S,)."""
        constant = math.lgamma((self.dof + 1) / 2) - math.lgamma(self.dof / 2)
        constant -= 0.5 * math.log(self._square * math.pi)
        tails = -0.5 * (self.dof + 1) * (theta.square() / self._square).log1p().sum(1)
        return tails + constant * theta.shape[1]

    def slope(self, theta: Tensor) -> Tensor:
        """d log p / d theta, (S, D)."""
        return -(self.dof + 1) * theta / (self._square + theta.square())

    def from_normal(self, z: Tensor) -> Tensor:
        """Draws of theta (S, D) from standard normal numbers, quantile by quantile."""
        from scipy.special import ndtr, stdtrit

        tail = stdtrit(self.dof, ndtr(-z.abs().double().cpu().numpy()))
        return -z.sign() * torch.from_numpy(tail).to(z) * math.sqrt(self._square / self.dof)


def _squares(theta: Tensor) -> Tensor:
    """Sums of squares of (S, D), (S,), a few rows at a time, so that the squares stay in the cache."""
    rows = max(1, 2**17 // max(1, theta.shape[1]))
    if len(theta) <= rows:
        return theta.square().sum(1)
    return torch.cat([part.square().sum(1) for part in theta.split(rows)])


def _fan_in(module: nn.Module, weight: nn.Parameter) -> float:
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return 1.0
    if isinstance(module, TRANSPOSED):  # its weight is (inputs, outputs / groups, kernel ...)
        return weight.shape[0] / module.groups * math.prod(module.kernel_size) / math.prod(module.stride)
    return math.prod(weight.shape[1:])
