"""Test log density with the noise learned minus with the noise guessed as 0.1 standard deviations, nats per datum.

Bayesian regression on 400 random tanh features of 12 inputs, in closed form, on data of its own: a straight line plus
noise that makes up half of the targets' variance. Learned: a mixture over a grid of noise stds, weighted by evidence
times a log-normal prior with median 0.5. Guessed: the one component at 0.1.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp
from scipy.stats import norm

GRID, VALUES = np.geomspace(0.05, 2, 25), 10


def value(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((300, 12))
    y = x @ rng.standard_normal(12) / np.sqrt(12)
    y = (y / y.std() + rng.standard_normal(300)) / np.sqrt(2)
    features = np.tanh(x @ rng.standard_normal((12, 400)) / np.sqrt(12) + 0.5 * rng.standard_normal(400))
    kernel = features @ features.T * (2.3 / 400)
    here, there = slice(0, 200), slice(200, 300)

    def given(std):
        """Log evidence, and the log density of each test datum."""
        factor = cho_factor(kernel[here, here] + std**2 * np.eye(200), lower=True)
        weights = cho_solve(factor, y[here])
        evidence = -0.5 * y[here] @ weights - np.log(np.diag(factor[0])).sum()
        mean = kernel[there, here] @ weights
        explained = np.einsum("ij,ji->i", kernel[there, here], cho_solve(factor, kernel[here, there]))
        variance = np.diag(kernel[there, there]) - explained + std**2
        return evidence, norm.logpdf(y[there], mean, np.sqrt(variance))

    evidences, densities = zip(*(given(std) for std in GRID))
    log_weights = np.array(evidences) + norm.logpdf(np.log(GRID), np.log(0.5), 1)
    learned = logsumexp(np.array(densities) + (log_weights - logsumexp(log_weights))[:, None], axis=0)
    return float((learned - given(0.1)[1]).mean())
