"""Confidence bounds of a mean, each suited to a kind of quantity, and how likely chance is to reach a threshold.

| bound       | for                       | how                                                                  |
|-------------|---------------------------|----------------------------------------------------------------------|
| `t`         | most measurements         | m ± t_q s/√n, with Student's t of n - 1 degrees of freedom           |
| `fisher`    | correlations              | the same for artanh r, carried back by tanh: never outside [-1, 1]   |
| `binomial`  | how often something is so | exact interval of a share (Clopper and Pearson); values are 0 or 1   |
| `bootstrap` | heavy tails               | means of n values drawn anew, bias and skewness corrected (BCa)      |

`limits(x, tail)` are (lower, upper), each passed by the true mean with probability `tail`. `chances(x, t)` are the
two one-sided p-values against a mean of t: how likely a mean as large as this one, or larger, would be; and one as
small, or smaller.

Sources: Fisher (1921), Metron 1; Clopper & Pearson (1934), Biometrika 26; Efron & Tibshirani, An Introduction to the
Bootstrap (1993), chapter 14.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

__all__ = ["BOUNDS", "Bound"]

# |r| = 1 has no finite z: it counts as this, which is further from 0 than any threshold worth claiming
STRONGEST = 0.995
RESAMPLES = 9999


class Bound(Protocol):
    """One way to bound a mean. `least` is the number of independent values below which it promises nothing."""

    least: int

    def check(self, x: np.ndarray) -> None:
        """Raises ValueError where the values are of another kind."""

    def limits(self, x: np.ndarray, tail: float) -> tuple[float, float]: ...

    def chances(self, x: np.ndarray, threshold: float) -> tuple[float, float]: ...


def mean_and_sd(x: np.ndarray) -> tuple[float, float]:
    """With a spread of exactly 0 for equal numbers, whose computed mean can differ from them in its last bit."""
    if (x == x[0]).all():
        return float(x[0]), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        return float(x.mean()), float(x.std(ddof=1))


def certain(mean: float, threshold: float) -> tuple[float, float]:
    """The chances where nothing varies."""
    return float(mean <= threshold), float(mean >= threshold)


class StudentT:
    least = 5

    def check(self, x: np.ndarray) -> None:
        pass

    def limits(self, x: np.ndarray, tail: float) -> tuple[float, float]:
        from scipy.special import stdtrit  # here, because importing bdlcore should stay quick

        mean, sd = mean_and_sd(x)
        half = float(stdtrit(len(x) - 1, 1 - tail)) * sd / math.sqrt(len(x))
        return mean - half, mean + half

    def chances(self, x: np.ndarray, threshold: float) -> tuple[float, float]:
        from scipy.special import stdtr

        mean, sd = mean_and_sd(x)
        if sd == 0:
            return certain(mean, threshold)
        t = (mean - threshold) / (sd / math.sqrt(len(x)))
        return float(stdtr(len(x) - 1, -t)), float(stdtr(len(x) - 1, t))


class FisherZ:
    least = 5

    def check(self, x: np.ndarray) -> None:
        if (np.abs(x) > 1).any():
            raise ValueError(f"bound='fisher' is for correlations, which lie in [-1, 1]; got {x.tolist()}.")

    def limits(self, x: np.ndarray, tail: float) -> tuple[float, float]:
        lower, upper = StudentT().limits(self._z(x), tail)
        return math.tanh(lower), math.tanh(upper)

    def chances(self, x: np.ndarray, threshold: float) -> tuple[float, float]:
        return StudentT().chances(self._z(x), float(self._z(np.array(threshold))))

    def _z(self, r: np.ndarray) -> np.ndarray:
        return np.arctanh(np.clip(r, -STRONGEST, STRONGEST))


class Binomial:
    least = 5

    def check(self, x: np.ndarray) -> None:
        if not np.isin(x, (0, 1)).all():
            raise ValueError(f"bound='binomial' takes a 0 or a 1 for each value, got {x.tolist()}.")

    def limits(self, x: np.ndarray, tail: float) -> tuple[float, float]:
        from scipy.stats import binomtest

        interval = binomtest(int(x.sum()), len(x)).proportion_ci(1 - 2 * tail, method="exact")
        return float(interval.low), float(interval.high)

    def chances(self, x: np.ndarray, threshold: float) -> tuple[float, float]:
        from scipy.stats import binomtest

        if not 0 < threshold < 1:
            return certain(float(x.mean()), threshold)
        greater, less = (
            binomtest(int(x.sum()), len(x), threshold, alternative=side).pvalue
            for side in ("greater", "less")
        )
        return float(greater), float(less)


class Bootstrap:
    least = 10

    def check(self, x: np.ndarray) -> None:
        pass

    def limits(self, x: np.ndarray, tail: float) -> tuple[float, float]:
        mean, sd = mean_and_sd(x)
        if sd == 0:
            return mean, mean
        interval = self._resampled(x, 1 - 2 * tail).confidence_interval
        return mean + sd * float(interval.low), mean + sd * float(interval.high)

    def chances(self, x: np.ndarray, threshold: float) -> tuple[float, float]:
        mean, sd = mean_and_sd(x)
        if sd == 0:
            return certain(mean, threshold)
        drawn = mean + sd * self._resampled(x).bootstrap_distribution
        counts = (drawn <= threshold).sum(), (drawn >= threshold).sum()
        return tuple(float((1 + count) / (1 + RESAMPLES)) for count in counts)

    def _resampled(self, x: np.ndarray, confidence: float = 0.9):
        from scipy.stats import bootstrap

        mean, sd = mean_and_sd(x)

        def center(z: np.ndarray, axis: int) -> np.ndarray:
            return z.mean(axis=axis).round(10)  # ties are ties on every processor

        return bootstrap(
            ((x - mean) / sd,),
            center,
            confidence_level=confidence,
            n_resamples=RESAMPLES,
            method="BCa",
            vectorized=True,
            random_state=np.random.default_rng(0),
        )


BOUNDS: dict[str, Bound] = {
    "t": StudentT(),
    "fisher": FisherZ(),
    "binomial": Binomial(),
    "bootstrap": Bootstrap(),
}
