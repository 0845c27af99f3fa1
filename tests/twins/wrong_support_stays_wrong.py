"""Excess log loss of Bayes after 1,000 data, for the best of four priors, when no setting of the model is right.

The model says y ~ N(w, 1); the truth is half N(-2.5, 0.5^2) and half N(2.5, 0.5^2). The posterior contracts to the best
single normal, whatever the prior: N(0, a^2) for a = 0.1, 1, 10, 100. Excess over the truth's log loss, 20,000 tests.
"""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm


def value(seed):
    rng = np.random.default_rng(seed)
    y, test = (2.5 * rng.choice([-1, 1], n) + 0.5 * rng.normal(size=n) for n in (1_000, 20_000))
    truth = (logsumexp([norm.logpdf(test, m, 0.5) for m in (-2.5, 2.5)], 0) - np.log(2)).mean()
    excess = []
    for a in (0.1, 1, 10, 100):
        precision = 1 / a**2 + len(y)
        excess.append(truth - norm.logpdf(test, y.sum() / precision, np.sqrt(1 + 1 / precision)).mean())
    return min(excess)
