"""The likelihood of curated labels: those on which several annotators agreed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import _validate
from .likelihoods import Categorical


@dataclass(frozen=True)
class Consensus:
    """Classification when a label is kept only if S independent annotators all gave it (Aitchison 2021).

    One annotator gives label c with probability p_c = softmax(f)_c. All S give it with probability p_c^S, so given
    that they agreed it is c with probability

        p_c^S / sum_k p_k^S  =  softmax(S f)_c.

    Plain `Categorical` with its likelihood tempered to T = 1/S has the numerator and leaves out the denominator.

    Attributes:
        annotators: S, at least 1; S = 1 is `Categorical`.
    """

    annotators: int

    def __post_init__(self):
        _validate.count("annotators", self.annotators)

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """As `Categorical`: integer labels in [0, outputs), as (N,)."""
        return Categorical().targets(y, outputs, like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log softmax(S f)_y: logits f (..., N, C) of one annotator and labels y (N,) give (..., N)."""
        return Categorical().log_prob(self.annotators * f, y)

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = S (one-hot y - softmax(S f)), the shape of f."""
        return self.annotators * Categorical().slope(self.annotators * f, y)

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One label for every f (..., N, C), given that the annotators agreed; shape (..., N)."""
        return Categorical().sample(self.annotators * f, generator)
