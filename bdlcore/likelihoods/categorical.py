"""Classification."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from ..predictions.categorical import CategoricalPredictive, log_softmax
from ..predictions.function_values import FunctionValues
from .protocol import Likelihood


@dataclass(frozen=True)
class Categorical(Likelihood):
    """Classification: p(y = c | f) = softmax(f)_c."""

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """Check integer labels in [0, outputs) and return them as (N,)."""
        return validate.labels(y, len(like), outputs, like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log softmax(f)_y: logits f (..., N, C) and labels y (N,) give (..., N)."""
        log_p = log_softmax(f)
        return log_p.gather(-1, y[:, None].expand(*f.shape[:-1], 1)).squeeze(-1)

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = (one-hot y) - softmax(f), the shape of f."""
        classes = torch.arange(f.shape[-1], device=y.device)
        one_hot = (y[:, None] == classes).to(f.dtype)  # unchecked, unlike F.one_hot
        return one_hot - log_softmax(f).exp()

    def curvature_root(self, f: Tensor) -> Tensor:
        """diag(sqrt p) - p sqrt(p)^T, a root of diag(p) - p p^T, (N, C, C): it does not depend on the label."""
        p = f.softmax(-1)
        return p.sqrt().diag_embed() - p[:, :, None] * p.sqrt()[:, None, :]

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One label for every f (..., N, C), shape (..., N)."""
        p = f.softmax(-1).cpu()
        flat = torch.multinomial(p.reshape(-1, p.shape[-1]), 1, generator=generator)
        return flat.reshape(p.shape[:-1]).to(f.device)

    def probabilities(self, f: Tensor) -> Tensor:
        """softmax(f), (..., N, C)."""
        return log_softmax(f).exp()

    def predictive(self, functions: FunctionValues) -> CategoricalPredictive:
        """Class probabilities, averaged over the functions."""
        return CategoricalPredictive.average(functions)
