"""Marginalisation: p(y | x, D) = integral p(y | x, w) p(w | D) dw, with S settings of the weights for the posterior.

    p(y | x, D)  ~=  (1/S) sum_s p(y | f_s(x))

What is averaged is probability (density), never logits or parameters.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..likelihoods.protocol import Predictive
from ..predictions.function_values import FunctionValues
from .model import Model
from .reading import Data, Reader, is_read
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
    model: Model, posterior: HasStack | HasPredictive | Stack, x: Data, chunk_size: int | None = None
) -> Predictive:
    """The predictive distribution of a model, marginalised over a posterior.

    Args:
        model: network, prior, likelihood.
        posterior: what a method returned, or a stack: draws from a posterior, members of an ensemble, one row for a
            plug-in prediction.
        x: (N, ...) inputs; or a `Dataset` or `DataLoader` of inputs, or of pairs (x, y) whose y is left out. It is read
            anew for each question that StreamedPredictive below is asked; predictions have the order of the dataset.
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
    reader = _reader(model, x)
    like, N = (x, None) if reader is None else (reader.x, reader.count)
    check_stack(posterior, model.layout, like)
    model.check_inputs(like)
    theta = posterior.theta
    shape = len(posterior), len(x) if N is None else N, model.outputs(like)
    if reader is None:
        head, features = model.split(x)
        values = FunctionValues(lambda at: head.evaluate(theta, features[at]), shape, chunk_size)
    else:
        values = FunctionValues(lambda at: _read(model, posterior, reader, at), shape, chunk_size)
    return model.likelihood.predictive(values)


def _reader(model: Model, x: Data) -> Reader | None:
    if not is_read(x):
        return None
    reader = Reader(x, device=model.device, targets=False)
    reader.must_be_complete()
    reader.must_be_in_order()
    return reader


def inputs_in_memory(model: Model, x: Data) -> Tensor:
    """x as a tensor, read once where it has to be, in the order of the dataset."""
    reader = _reader(model, x)
    if reader is None:
        return x
    model.check_inputs(reader.x)
    return reader.gather(model.data_per_pass(reader.x))[0]


def _read(model: Model, stack: Stack, reader: Reader, at: slice) -> Tensor:
    """f (S, n, C) at a slice of what is read, of which no more is held than one pass takes."""
    chunks = reader.chunks(model.data_per_pass(reader.x), range(reader.count)[at])
    return torch.cat([model.functions(stack, x) for x, _ in chunks], 1)


def _own_predictive(model: Model, posterior: HasPredictive, x: Data) -> Predictive:
    if not isinstance(posterior, HasPredictive):
        raise TypeError(
            f"predict takes what hmc, ensemble, laplace and their like return, or a Stack; got "
            f"{type(posterior).__name__}. model.sample_prior(S, seed) makes a stack."
        )
    if getattr(posterior, "model", model) is not model:
        raise ValueError(
            "This posterior was fitted to another model, and it predicts with that one: call posterior.predict(x)."
        )
    return posterior.predict(inputs_in_memory(model, x))
