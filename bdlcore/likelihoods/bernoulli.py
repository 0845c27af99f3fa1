"""Classification with two classes by one logit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .._support import validate
from ..predictions.categorical import CategoricalPredictive
from ..predictions.function_values import FunctionValues
from .protocol import Likelihood


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Two classes by one logit: p(y = 1 | f) = sigmoid(f), for a network with one output.

    It is `Categorical` on the logits (0, f); under a Gaussian prior two free logits have twice its variance.
    """

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check labels 0 and 1 (or booleans) and return them as (N,) int64."""
        if outputs != 1:
            raise ValueError(
                f"Bernoulli takes a network with one output, the logit of class 1; this one has {outputs}. "
                "Use Categorical() for one logit per class."
            )
        if isinstance(y, Tensor) and y.dtype == torch.bool:
            y = y.long()
        return validate.labels(y, len(like), 2, like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log sigmoid(f) where y = 1 and log sigmoid(-f) where y = 0: f (..., N, 1) and y (N,) give (..., N)."""
        return F.logsigmoid(f[..., 0] * (2 * y - 1))

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = y - sigmoid(f), the shape of f."""
        return y[:, None] - f.sigmoid()

    def curvature_root(self, f: Tensor) -> Tensor:
        """sqrt(p (1 - p)), (N, 1, 1)."""
        return (0.5 * (F.logsigmoid(f) + F.logsigmoid(-f))).exp()[..., None]

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One label for every f (..., N, 1), shape (..., N)."""
        uniform = torch.rand(f.shape[:-1], generator=generator, dtype=f.dtype).to(f.device)
        return (uniform < f[..., 0].sigmoid()).long()

    def probabilities(self, f: Tensor) -> Tensor:
        """Of both classes, (..., N, 2)."""
        return torch.cat([-f, f], -1).sigmoid()

    def predictive(self, functions: FunctionValues) -> CategoricalPredictive:
        """Probabilities of both classes, averaged over the functions."""
        S, N, _ = functions.shape

        def logits(at: slice) -> Tensor:
            f = functions.evaluate(at)
            return torch.cat([torch.zeros_like(f), f], -1)

        return CategoricalPredictive.average(FunctionValues(logits, (S, N, 2), functions.chunk_size))
