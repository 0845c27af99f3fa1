"""Predictive distribution of classification: class probabilities, averaged over functions, and how calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .._support import validate
from .function_values import FunctionValues

_PART = 2**20  # values whose logarithms, exponentials and products are worked on at a time


def log_softmax(f: Tensor) -> Tensor:
    """log softmax over classes, the last axis of (..., N, C).

    On a CPU PyTorch's kernel is ten times slower along a short last axis than along the axis before it, where it
    works on many data at once.
    """
    return f.mT.log_softmax(-2).mT


def at_least_single(values: Tensor) -> Tensor:
    """Values to add over: half precision and whole numbers in float32, others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def class_probabilities(name: str, p: Tensor) -> Tensor:
    """Require p (..., N, C) that are at least 0 and sum to 1 over classes; returns them in at least float32."""
    rounding = torch.finfo(p.dtype).eps if p.is_floating_point() else 0
    p = at_least_single(p)
    if not ((p >= 0).all() and (p.sum(-1) - 1).abs().max() < max(1e-3, rounding)):  # false for NaN too
        raise ValueError(f"{name} must be at least 0 and sum to 1; logits need softmax(-1) first.")
    return p


@dataclass(frozen=True, eq=False)
class CategoricalPredictive:
    """Class probabilities averaged over the stack, with the entropies (in nats) of the average and of its parts.

    H[mean p] (total) = mean H[p_s] (aleatoric: the members agree that the label is uncertain) + mutual
    information between label and weights (epistemic: each member may be sure, but of different labels).

    Attributes:
        probabilities: (N, C).
        aleatoric_entropy: (N,) mean over the stack of the entropy of each member.
        log_probabilities: (N, C) their logarithms, where these are known better than from probabilities that
            may have underflowed to 0.
    """

    probabilities: Tensor
    aleatoric_entropy: Tensor
    log_probabilities: Tensor | None = None

    def __post_init__(self):
        p = self.probabilities
        if not isinstance(p, Tensor) or p.ndim != 2 or 0 in p.shape:
            found = f"shape {tuple(p.shape)}" if isinstance(p, Tensor) else type(p).__name__
            raise ValueError(
                f"probabilities must be a torch.Tensor of shape (N, C) with N, C > 0, got {found}."
            )

    @classmethod
    def average(cls, logits: FunctionValues) -> CategoricalPredictive:
        """The average over functions of softmax(f), for logits f (S, N, C)."""
        S, _, C = logits.shape
        found = []
        for _, f in logits.chunks():
            entropy, total = 0.0, None
            for part in f.split(max(1, _PART // (f.shape[1] * C))):
                log_p = log_softmax(at_least_single(part))
                summed = log_p.logsumexp(0)
                total = summed if total is None else torch.logaddexp(total, summed)
                entropy = entropy - (log_p.exp() * log_p).sum((0, 2))
            log_mean = total - math.log(S)
            found.append((log_mean.exp(), entropy / S, log_mean))
        return cls(*(torch.cat(parts) for parts in zip(*found)))

    @property
    def total_entropy(self) -> Tensor:
        """Entropy of the averaged probabilities, (N,)."""
        return torch.special.entr(self.probabilities).sum(-1)

    @property
    def epistemic_entropy(self) -> Tensor:
        """Mutual information between label and weights, (N,); zero for a stack of one."""
        return (self.total_entropy - self.aleatoric_entropy).clamp(min=0)

    @property
    def labels(self) -> Tensor:
        """Most probable class, (N,)."""
        return self.probabilities.argmax(-1)

    @property
    def confidence(self) -> Tensor:
        """Its probability, (N,)."""
        return self.probabilities.amax(-1)

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,), for labels y (N,)."""
        log_p = self.probabilities.log() if self.log_probabilities is None else self.log_probabilities
        return log_p.gather(-1, self._labels(y)[:, None]).squeeze(-1)

    def accuracy(self, y: Tensor) -> float:
        """Share of labels y (N,) that are the most probable class."""
        return torch.count_nonzero(self._right(y)).item() / len(y)

    def reliability(self, y: Tensor, bins: int = 15) -> Reliability:
        """Accuracy against confidence in bins of equal width of the confidence, in [0, 1].

        Args:
            y: labels (N,).
            bins: number of bins.
        """
        validate.count("bins", bins)
        right, confidence = self._right(y), at_least_single(self.confidence)
        index = (confidence * bins).long().clamp(max=bins - 1)
        count, hits = (index[rows].bincount(minlength=bins) for rows in (slice(None), right))
        # sorted, each bin is a slice, whose sum is made of sums of parts: one running sum of millions loses digits
        slices = confidence.sort().values.split(count.tolist())
        total = torch.stack([part.sum() for part in slices])
        return Reliability(total / count, hits.to(total) / count, count)

    def calibration_error(self, y: Tensor, bins: int = 15) -> float:
        """Expected calibration error: how far confidence is from accuracy, averaged over bins of equal width.

            ECE = sum_b n_b / N |accuracy_b - mean confidence_b|

        0 is perfect; it says nothing about how sharp the predictions are. (Guo et al. 2017, eq. 3.)

        Args:
            y: labels (N,).
            bins: number of bins of the confidence in [0, 1].
        """
        confidence, accuracy, count = self.reliability(y, bins)
        return (count * (accuracy - confidence).abs()).nansum().item() / len(y)

    def _right(self, y: Tensor) -> Tensor:
        """Whether the most probable class is the label, (N,); refuses NaN, which would count as a class."""
        if bool(self.probabilities.isnan().any()):
            raise ValueError(
                "probabilities contain NaN: some functions of the stack are NaN. Leave those rows of the stack out."
            )
        return self.labels == self._labels(y)

    def _labels(self, y: Tensor) -> Tensor:
        return validate.labels(y, *self.probabilities.shape, self.probabilities)


class Reliability(NamedTuple):
    """What a reliability diagram shows, per bin: on the diagonal, accuracy = confidence, is perfect calibration.

    Attributes:
        confidence: (bins,) mean confidence of the predictions in the bin; NaN where there are none.
        accuracy: (bins,) share of them that are right; NaN where there are none.
        count: (bins,) how many there are, whole numbers.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor
