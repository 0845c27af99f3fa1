"""Confidence bounds of a mean or a median, each suited to a kind of quantity, and how likely chance is to reach a
threshold.

| bound       | for                       | how                                                                  |
|-------------|---------------------------|----------------------------------------------------------------------|
| `t`         | most measurements         | m ± t_q s/√n, with Student's t of n - 1 degrees of freedom           |
| `fisher`    | correlations              | the same for artanh r, carried back by tanh: never outside [-1, 1]   |
| `binomial`  | how often something is so | exact interval of a share (Clopper and Pearson); values are 0 or 1   |
| `bootstrap` | heavy tails               | means of n values drawn anew, bias and skewness corrected (BCa)      |
| `median`    | optima found on a grid    | the k-th smallest value and the k-th largest (sign test)             |

`limits(x, tail)` are (lower, upper), each passed by the true mean with probability `tail`, and by the true median with
at most that: k is the largest number for which fewer than k of n fair coins show heads so seldom. `chances(x, t)` are
the two one-sided p-values against a mean of t: how likely a mean as large as this one, or larger, would be; and one as
small, or smaller.

A value of -inf or inf is one that lies somewhere down or up there. A mean then has no bound on that side; a median
needs to know no more of it.

Sources: Fisher (1921), Metron 1; Clopper & Pearson (1934), Biometrika 26; Efron & Tibshirani, An Introduction to the
Bootstrap (1993), chapter 14; Thompson (1936), Annals of Mathematical Statistics 7, for the median.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

__all__ = ["BOUNDS", "Bound", "chances", "limits", "quantile"]

# |r| = 1 has no finite z: it counts as this, which is further from 0 than any threshold worth claiming
STRONGEST = 0.995
RESAMPLES = 9999


class Bound(Protocol):
    """One way to bound the centre of a distribution: its mean, or its median.

    `least` is the number of independent values below which it promises nothing. `clustered` says that it may be
    given the means of clusters, `open_ended` that it takes values of -inf and inf.
    """

    least: int
    clustered: bool
    open_ended: bool

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


def quantile(x: np.ndarray, q: float) -> float:
    """The value below which a share q lies, or the middle of two such values."""
    ordered, place = np.sort(x), q * len(x)
    return float(ordered[math.ceil(place) - 1] + ordered[math.floor(place)]) / 2


def certain(mean: float, threshold: float) -> tuple[float, float]:
    """The chances where nothing varies."""
    return float(mean <= threshold), float(mean >= threshold)


class StudentT:
    least, clustered, open_ended = 5, True, False

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
    least, clustered, open_ended = 5, True, False

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
    least, clustered, open_ended = 5, False, False

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
    least, clustered, open_ended = 10, True, False

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


class Median:
    least, clustered, open_ended = 5, False, True

    def check(self, x: np.ndarray) -> None:
        pass

    def limits(self, x: np.ndarray, tail: float) -> tuple[float, float]:
        from scipy.stats import binom

        ordered = np.sort(x)
        k = int((binom.cdf(np.arange(len(x)), len(x), 0.5) <= tail).sum())
        return (float(ordered[k - 1]), float(ordered[-k])) if k else (-math.inf, math.inf)

    def chances(self, x: np.ndarray, threshold: float) -> tuple[float, float]:
        from scipy.stats import binom

        counts = (x > threshold).sum(), (x < threshold).sum()
        return tuple(float(binom.sf(count - 1, len(x), 0.5)) for count in counts)


BOUNDS: dict[str, Bound] = {
    "t": StudentT(),
    "fisher": FisherZ(),
    "binomial": Binomial(),
    "bootstrap": Bootstrap(),
    "median": Median(),
}


def limits(way: Bound, lows: np.ndarray, highs: np.ndarray, tail: float) -> tuple[float, float]:
    """(lower, upper) as `way.limits` has them, where a value lies between its low and its high."""
    lower = way.limits(lows, tail)[0] if _enough(way, lows) else -math.inf
    upper = way.limits(highs, tail)[1] if _enough(way, highs) else math.inf
    return lower, upper


def chances(way: Bound, lows: np.ndarray, highs: np.ndarray, threshold: float) -> tuple[float, float]:
    """The two p-values of `way.chances`, where a value lies between its low and its high."""
    large = way.chances(lows, threshold)[0] if _enough(way, lows) else 1.0
    small = way.chances(highs, threshold)[1] if _enough(way, highs) else 1.0
    return large, small


def _enough(way: Bound, x: np.ndarray) -> bool:
    return way.open_ended or bool(np.isfinite(x).all())
