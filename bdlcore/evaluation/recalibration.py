"""Baselines that mend a predictive with held-out data: temperature scaling and split conformal prediction.

Both take what a model already predicts for data that it was not fitted to, and need no posterior; a posterior that is
worth its cost beats a single network that was mended so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .._support import validate
from ..predictions.categorical import CategoricalPredictive, at_least_single

_EDGE = 1e3  # temperatures are sought from 1 / _EDGE to _EDGE


@dataclass(frozen=True)
class TemperatureScaling:
    """p_c^(1/T) / sum_k p_k^(1/T) in place of class probabilities p.

    Attributes:
        temperature: T; more than 1 where the predictive was too sure.
    """

    temperature: float

    def __call__(self, predictive: CategoricalPredictive) -> CategoricalPredictive:
        """The recalibrated predictive. All of its entropy counts as aleatoric: it no longer has members."""
        log_p = (_log_probabilities(predictive) / self.temperature).log_softmax(1)
        return CategoricalPredictive(log_p.exp(), -(log_p.exp() * log_p).sum(1), log_p)


def temperature_scaling(predictive: CategoricalPredictive, y: Tensor) -> TemperatureScaling:
    """The temperature at which held-out labels are most probable (Guo et al. 2017), of the averaged probabilities.

    Accuracy stays as it is. It is no temperature of a posterior (`temperature` of the samplers): it changes p(y | x, D)
    after the average.

    Args:
        predictive: of classes, for data that were not used in fitting.
        y: their labels (N,).
    """
    log_p = _log_probabilities(predictive)
    y = validate.labels(y, *log_p.shape, log_p)
    own = log_p.gather(1, y[:, None]).mean()

    def slope(inverse: float) -> float:
        """Of the mean negative log probability in 1 / T; it only rises."""
        return (((inverse * log_p).softmax(1) * log_p).sum(1).mean() - own).item()

    low, high = -math.log(_EDGE), math.log(_EDGE)
    if slope(math.exp(low)) > 0 or slope(math.exp(high)) <= 0:
        raise ValueError(
            "y has no best temperature: the labels are best predicted by ever higher or lower ones. Either every label "
            "is the most probable class, as for data that were fitted, or the predictive says less than nothing. Give "
            "more held-out data."
        )
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return TemperatureScaling(math.exp(-0.5 * (low + high)))


def _log_probabilities(predictive: CategoricalPredictive) -> Tensor:
    """(N, C), finite."""
    if not hasattr(predictive, "probabilities"):
        raise TypeError(
            f"predictive must be one of classes, got {type(predictive).__name__}. For numbers use conformal_interval."
        )
    known = predictive.log_probabilities
    log_p = at_least_single(predictive.probabilities).log() if known is None else at_least_single(known)
    return log_p.clamp(min=-1e4)


class HasSpread(Protocol):
    """A predictive of numbers."""

    mean: Tensor
    total_std: Tensor


@dataclass(frozen=True, eq=False)
class ConformalInterval:
    """Intervals mean +- factor * total_std with the stated coverage, whatever the model.

    Attributes:
        probability: that a new y of the same distribution is inside, at least.
        factor: (C,) standard deviations to each side.
    """

    probability: float
    factor: Tensor

    def __call__(self, predictive: HasSpread) -> tuple[Tensor, Tensor]:
        """Lower and upper ends at the predictive's inputs, (N, C) each."""
        reach = self.factor * predictive.total_std
        return predictive.mean - reach, predictive.mean + reach


def conformal_interval(predictive: HasSpread, y: Tensor, probability: float = 0.9) -> ConformalInterval:
    """Split conformal prediction for numbers (Papadopoulos et al. 2002; Lei et al. 2018), in the predictive's std.

    The factor is the ceil((N + 1) probability)-th smallest |y - mean| / total_std of held-out data, output by output. A
    new y that is exchangeable with these is inside with at least that probability, averaged over held-out and new
    data: no assumption on the model, and no promise for any one x or under shift.

    Args:
        predictive: of numbers, for data that were not used in fitting.
        y: (N,) or (N, C).
        probability: in (0, 1).
    """
    if not hasattr(predictive, "total_std"):
        raise TypeError(
            f"predictive must be one of numbers, got {type(predictive).__name__}. For classes use conformal_sets."
        )
    mean, std = predictive.mean, predictive.total_std
    if not torch.isfinite(std).all():
        raise ValueError("predictive has no finite total_std; Student's t noise needs dof > 2.")
    distance = (validate.targets(y, *mean.shape, mean) - mean).abs() / std
    return ConformalInterval(probability, _conformal_quantile(distance, probability))


@dataclass(frozen=True, eq=False)
class ConformalSets:
    """Sets of classes with the stated coverage, whatever the model.

    Attributes:
        probability: that a new label of the same distribution is inside, at least.
        least: probability that the predictive gives a class in the set, at least.
    """

    probability: float
    least: float

    def __call__(self, predictive: CategoricalPredictive) -> Tensor:
        """Which classes are in the set at each input, (N, C) booleans; none may be."""
        return 1 - predictive.probabilities <= 1 - self.least


def conformal_sets(predictive: CategoricalPredictive, y: Tensor, probability: float = 0.9) -> ConformalSets:
    """Split conformal prediction for classes (Sadinle, Lei & Wasserman 2019): the smallest sets on average.

    A class is in the set where 1 - p is at most the ceil((N + 1) probability)-th smallest 1 - p(y) of held-out data.

    Args:
        predictive: of classes, for data that were not used in fitting.
        y: their labels (N,).
        probability: in (0, 1); see `conformal_interval` for what it promises.
    """
    if not hasattr(predictive, "probabilities"):
        raise TypeError(
            f"predictive must be one of classes, got {type(predictive).__name__}. For numbers use conformal_interval."
        )
    p = predictive.probabilities
    score = 1 - p.gather(1, validate.labels(y, *p.shape, p)[:, None])
    return ConformalSets(probability, 1 - _conformal_quantile(score, probability).item())


def _conformal_quantile(scores: Tensor, probability: float) -> Tensor:
    """The ceil((N + 1) probability)-th smallest of scores (N, C), (C,)."""
    validate.between("probability", probability, 0, 1)
    N = len(scores)
    rank = math.ceil((N + 1) * probability - 1e-9)
    if rank > N:
        needed = math.ceil(probability / (1 - probability) - 1e-9)
        raise ValueError(
            f"probability={probability} needs at least {needed} held-out data, got {N}: with fewer only everything has "
            "that coverage."
        )
    return scores.sort(0).values[rank - 1]
