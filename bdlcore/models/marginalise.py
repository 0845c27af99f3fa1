"""Marginalisation: p(y | x, D) = integral p(y | x, w) p(w | D) dw, with S settings of the weights for the posterior.

    p(y | x, D)  ~=  (1/S) sum_s p(y | f_s(x))

What is averaged is probability (density), never logits or parameters.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from ..likelihoods.protocol import Predictive
from ..predictions.function_values import FunctionValues
from .model import Model
from .stack import Stack, check_stack


@runtime_checkable
class HasStack(Protocol):
    """A posterior that is a stack: what samplers, ensembles and variational inference return."""

    stack: Stack


@runtime_checkable
class HasPredictive(Protocol):
    """A posterior that predicts by itself, such as Laplace's."""

    def predict(self, x: Tensor) -> Predictive: ...


def predict(
    model: Model, posterior: HasStack | HasPredictive | Stack, x: Tensor, chunk_size: int | None = None
) -> Predictive:
    """The predictive distribution of a model, marginalised over a posterior.

    Args:
        model: network, prior, likelihood.
        posterior: what a method returned, or a stack: draws from a posterior, members of an ensemble, one row for a
            plug-in prediction.
        x: (N, ...) inputs.
        chunk_size: inputs evaluated at a time; (S, chunk_size, C) function values are the most that is ever
            held. When None, all N if those are fewer than 2^24 values, else as many as that allows.

    Returns:
        What the likelihood says: for classes CategoricalPredictive; for regression GaussianPredictive, which keeps the
        function values, or, when N is more than chunk_size, StreamedPredictive, which answers the same and
        evaluates them on demand.
    """
    if isinstance(posterior, HasStack):
        posterior = posterior.stack
    elif not isinstance(posterior, Stack):
        return _own_predictive(model, posterior, x)
    if len(posterior) == 0:
        raise ValueError("The stack is empty; marginalising needs at least one row.")
    check_stack(posterior, model.layout, x)
    model.check_inputs(x)
    theta, shape = posterior.theta, (len(posterior), len(x), model.outputs(x))
    head, features = model.split(x)
    values = FunctionValues(lambda at: head.evaluate(theta, features[at]), shape, chunk_size)
    return model.likelihood.predictive(values)


def _own_predictive(model: Model, posterior: HasPredictive, x: Tensor) -> Predictive:
    if not isinstance(posterior, HasPredictive):
        raise TypeError(
            f"predict takes what hmc, ensemble, laplace and their like return, or a Stack; got "
            f"{type(posterior).__name__}. model.sample_prior(S, seed) makes a stack."
        )
    if getattr(posterior, "model", model) is not model:
        raise ValueError(
            "This posterior was fitted to another model, and it predicts with that one: call posterior.predict(x)."
        )
    return posterior.predict(x)
