"""What the course asks of a likelihood p(y | f), f the outputs of a network.

A likelihood is one file in this room. `Likelihood` says what it must have, and has a slower default for whatever
follows from the density itself, so that a new one needs `targets`, `log_prob` and `sample`:

>>> class Waiting(Likelihood):
...     "Waiting times, exponential with mean exp(f), for a network with one output."
...
...     def targets(self, y, outputs, like):
...         return y.to(like)
...
...     def log_prob(self, f, y):
...         return -f[..., 0] - y * (-f[..., 0]).exp()
...
...     def sample(self, f, generator):
...         return torch.empty_like(f[..., 0]).exponential_(generator=generator) * f[..., 0].exp()
>>> Waiting().slope(torch.zeros(3, 1), torch.tensor([0.0, 1.0, 2.0]))[:, 0]
tensor([-1.,  0.,  1.])
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..predictions.function_values import FunctionValues
from ..predictions.mixture import MixturePredictive


class Predictive(Protocol):
    """p(y | x, D) at N inputs."""

    def log_prob(self, y: Tensor) -> Tensor: ...


class OwnParameter(NamedTuple):
    """A number that a likelihood learns beside the network's weights, such as the logarithm of a noise.

    Attributes:
        name: of the parameter; in a stack "likelihood." stands before it.
        mean, std: its prior N(mean, std^2).
    """

    name: str
    mean: float
    std: float


class Likelihood(Protocol):
    """p(y | f) of one datum, f (C,) the network's outputs; data are independent given f.

    A likelihood with `own_parameters` finds their values after the network's outputs, as the last ones of f.
    """

    def own_parameters(self) -> tuple[OwnParameter, ...]:
        """Parameters that are learned with the weights: each a column of the stack and a last output of f."""
        return ()

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check targets against `outputs` and the inputs `like`, early and in words; as `log_prob` wants them."""
        ...

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log p(y_n | f_n), summed over what one datum has: f (..., N, C) and checked targets give (..., N)."""
        ...

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One target for every f (..., N, C)."""
        ...

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df, the shape of f."""
        f = f.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.log_prob(f, y).sum(), f)[0]

    def curvature_root(self, f: Tensor) -> Tensor:
        """L (N, C, C) with L L^T = E_y[- d^2 log p(y | f) / df^2], the Fisher information, for f (N, C).

        The expectation is over the likelihood's own y, and for likelihoods whose curvature does not depend on y it
        is the curvature itself. Raises TypeError where it has no closed form.
        """
        raise TypeError(
            f"{type(self).__name__} has no curvature in closed form, and Laplace's approximation needs one: give it a "
            "`curvature_root`, or use hmc, sgld, sghmc, mean_field_vi, swag or ensemble."
        )

    def probabilities(self, f: Tensor) -> Tensor | None:
        """Class probabilities (..., N, K) where y is one of K classes; None where it is not."""
        return None

    def predictive(self, functions: FunctionValues) -> Predictive:
        """p(y | x, D) for S functions of equal weight: probabilities or densities are averaged, never f."""
        return MixturePredictive(functions, self)

    def predictive_of_gaussian(self, means: Tensor, covariance: Tensor) -> Predictive | None:
        """p(y | x, D) for f(x) ~ N(means_s, covariance_s), an equal mixture over s; None where only draws of f help.

        means (S, N, C), covariance (S, N, C, C).
        """
        return None

    def at_noise(self, f: Tensor, y: Tensor, noise_std: float | Tensor) -> tuple[Tensor, Tensor]:
        """log p(y | f) summed over the data (...,) for another noise_std, and what that multiplies `curvature_root` by.

        Both are differentiable in noise_std. Raises ValueError for a likelihood that has none.
        """
        raise ValueError(f"noise_std is for a Gaussian likelihood; {type(self).__name__} has none.")
