"""Counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from ..predictions.counts import CountPredictive
from ..predictions.function_values import FunctionValues
from ..predictions.streamed import StreamedPredictive
from .protocol import Likelihood


@dataclass(frozen=True)
class Poisson(Likelihood):
    """Counts y = 0, 1, 2, ... with the Poisson distribution of mean exp(f), independent per output.

    Their variance is their mean: for counts that scatter more, this likelihood is too sure.
    """

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check counts, in an integer or floating-point dtype, and return them as (N, C) beside the inputs."""
        if not isinstance(y, Tensor) or y.dtype == torch.bool or y.is_complex():
            kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(f"y must be a torch.Tensor of counts for a Poisson likelihood, got {kind}.")
        y = validate.targets(y if y.is_floating_point() else y.to(like), len(like), outputs, like)
        wrong = (y < 0) | (y != y.round())
        if wrong.any():
            raise ValueError(
                f"y must hold counts 0, 1, 2, ... for a Poisson likelihood, got {y[wrong][0].item():g}."
            )
        return y

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """y f - exp(f) - log y! summed over outputs: f (..., N, C) and y (N, C) give (..., N)."""
        return (y * f - f.exp() - torch.lgamma(y + 1)).sum(-1)

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = y - exp(f), the shape of f."""
        return y - f.exp()

    def curvature_root(self, f: Tensor) -> Tensor:
        """diag(exp(f / 2)), (N, C, C): the curvature is the mean count, whatever y."""
        return (0.5 * f).exp().diag_embed()

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One count for every f, same shape."""
        return torch.poisson(f.exp().cpu(), generator).to(f.device)

    def predictive(self, functions: FunctionValues) -> CountPredictive | StreamedPredictive:
        """A mixture of S Poisson distributions at each input."""

        def mixture(f: Tensor) -> CountPredictive:
            return CountPredictive(f)

        return mixture(functions.values()) if functions.fits else StreamedPredictive(functions, mixture)
