"""The likelihood of curated labels: those on which several annotators agreed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from ..predictions.categorical import CategoricalPredictive
from ..predictions.function_values import FunctionValues
from .categorical import Categorical
from .protocol import Likelihood

_ONE = Categorical()


@dataclass(frozen=True)
class Consensus(Likelihood):
    """Classification when a label is kept only if S independent annotators all gave it (Aitchison 2021).

    One annotator gives label c with probability p_c = softmax(f)_c. All S give it with probability p_c^S, so given
    that they agreed it is c with probability

        p_c^S / sum_k p_k^S  =  softmax(S f)_c.

    Plain `Categorical` with its likelihood tempered to T = 1/S has the numerator and leaves out the denominator.
    Everything here, predictions included, is about labels on which all agreed; for what one annotator would say, give
    `predict` a model with `Categorical()` and the same stack.

    Attributes:
        annotators: S, at least 1; S = 1 is `Categorical`.
    """

    annotators: int

    def __post_init__(self):
        validate.count("annotators", self.annotators)

    def targets(self, y: Tensor, outputs: int, like: Tensor) -> Tensor:
        """As `Categorical`: integer labels in [0, outputs), as (N,)."""
        return _ONE.targets(y, outputs, like)

    def log_prob(self, f: Tensor, y: Tensor) -> Tensor:
        """log softmax(S f)_y: logits f (..., N, C) of one annotator and labels y (N,) give (..., N)."""
        return _ONE.log_prob(self.annotators * f, y)

    def slope(self, f: Tensor, y: Tensor) -> Tensor:
        """d log p(y | f) / df = S (one-hot y - softmax(S f)), the shape of f."""
        return self.annotators * _ONE.slope(self.annotators * f, y)

    def curvature_root(self, f: Tensor) -> Tensor:
        """S times that of `Categorical` at S f, (N, C, C)."""
        return self.annotators * _ONE.curvature_root(self.annotators * f)

    def sample(self, f: Tensor, generator: torch.Generator) -> Tensor:
        """One label for every f (..., N, C), given that the annotators agreed; shape (..., N)."""
        return _ONE.sample(self.annotators * f, generator)

    def probabilities(self, f: Tensor) -> Tensor:
        """softmax(S f), (..., N, C)."""
        return _ONE.probabilities(self.annotators * f)

    def predictive(self, functions: FunctionValues) -> CategoricalPredictive:
        """Class probabilities of a label on which all agree, averaged over the functions."""
        scaled = FunctionValues(
            lambda at: self.annotators * functions.evaluate(at), functions.shape, functions.chunk_size
        )
        return CategoricalPredictive.average(scaled)
