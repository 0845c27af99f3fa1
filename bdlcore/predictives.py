"""Marginalisation: p(y | x, D) = integral p(y | x, w) p(w | D) dw, with the stack's S rows standing for the posterior.

    p(y | x, D)  ~=  (1/S) sum_s p(y | f_s(x))

What is averaged is probability (density), never logits or parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from . import _validate
from .likelihoods import Categorical, Gaussian


class MixtureQuantiles:
    """Quantiles of a predictive mixture, from its `cdf` and the ends (`_reach`) between which that rises."""

    def cdf(self, y: Tensor) -> Tensor:
        """P(Y <= y) per output for y broadcastable to (N, C)."""
        raise NotImplementedError

    def _reach(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def quantile(self, q: float) -> Tensor:
        """The q-quantile of y, (N, C), by bisection of the mixture's distribution function."""
        if not 0 < q < 1:
            raise ValueError(f"q must lie between 0 and 1, got {q}.")
        low, high = self._reach()
        for _ in range(50):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < q
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)

    def interval(self, probability: float = 0.95) -> tuple[Tensor, Tensor]:
        """Central interval that holds y with the given probability: lower and upper end, (N, C) each."""
        if not 0 < probability < 1:
            raise ValueError(f"probability must lie between 0 and 1, got {probability}.")
        return self.quantile(0.5 - probability / 2), self.quantile(0.5 + probability / 2)


class NoisyFunction:
    """Standard deviations of y = f(x) + noise, for a class that has `mean`, `epistemic_std` and `noise_std`."""

    mean: Tensor
    epistemic_std: Tensor
    noise_std: float

    @property
    def aleatoric_std(self) -> Tensor:
        """The noise, (N, C)."""
        return torch.full_like(self.mean, self.noise_std)

    @property
    def total_std(self) -> Tensor:
        """Standard deviation of y, (N, C): total^2 = aleatoric^2 + epistemic^2."""
        return (self.epistemic_std.square() + self.noise_std**2).sqrt()


@dataclass(frozen=True, eq=False)
class GaussianPredictive(NoisyFunction, MixtureQuantiles):
    """A mixture of S equally weighted Gaussians at each input, N(f_s(x), noise_std^2).

    Its variance splits by the law of total variance into the mean of the components' variances (aleatoric:
    noise that more data cannot remove) and the variance of their means (epistemic: disagreement that more
    data would remove).

    Attributes:
        f: (S, N, C) function values.
        noise_std: standard deviation of the noise.
    """

    f: Tensor
    noise_std: float

    @property
    def mean(self) -> Tensor:
        """E[y | x, D], (N, C)."""
        return self.f.mean(0)

    @property
    def epistemic_std(self) -> Tensor:
        """Standard deviation of f over the stack, (N, C)."""
        return self.f.std(0, correction=0)

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y_n | x_n, D), (N,): the log of the average density, for y of shape (N,) or (N, C)."""
        likelihood = Gaussian(self.noise_std)
        y = likelihood.targets(y, self.f.shape[-1], self.f[0])
        return likelihood.log_prob(self.f, y).logsumexp(0) - math.log(len(self.f))

    def cdf(self, y: Tensor) -> Tensor:
        """P(Y <= y) per output for y broadcastable to (N, C)."""
        return torch.special.ndtr((y - self.f) / self.noise_std).mean(0)

    def _reach(self) -> tuple[Tensor, Tensor]:
        return self.f.amin(0) - 10 * self.noise_std, self.f.amax(0) + 10 * self.noise_std


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
        y = Categorical().targets(y, self.probabilities.shape[-1], self.probabilities)
        log_p = self.probabilities.log() if self.log_probabilities is None else self.log_probabilities
        return log_p.gather(-1, y[:, None]).squeeze(-1)

    def accuracy(self, y: Tensor) -> float:
        """Share of labels y (N,) that are the most probable class."""
        y = Categorical().targets(y, self.probabilities.shape[-1], self.probabilities)
        return (self.labels == y).double().mean().item()

    def reliability(self, y: Tensor, bins: int = 15) -> Reliability:
        """Accuracy against confidence in bins of equal width of the confidence, in [0, 1].

        Args:
            y: labels (N,).
            bins: number of bins.
        """
        _validate.count("bins", bins)
        y = Categorical().targets(y, self.probabilities.shape[-1], self.probabilities)
        index = (self.confidence * bins).long().clamp(max=bins - 1)

        def total(values: Tensor) -> Tensor:
            return values.new_zeros(bins).index_add(0, index, values)

        right = (self.labels == y).to(self.confidence)
        count = total(torch.ones_like(right))
        return Reliability(total(self.confidence) / count, total(right) / count, count)

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


class Reliability(NamedTuple):
    """What a reliability diagram shows, per bin: on the diagonal, accuracy = confidence, is perfect calibration.

    Attributes:
        confidence: (bins,) mean confidence of the predictions in the bin; NaN where there are none.
        accuracy: (bins,) share of them that are right; NaN where there are none.
        count: (bins,) how many there are.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor
