"""Slope of log error against log J, for averages of J sampled probabilities against the integral by quadrature.

Each seed draws 30 Gaussians N(m, s^2) for the logit of a class; the quantity is the average of 1 / (1 + exp(-logit)).
"""

import numpy as np
from scipy.special import expit


def value(seed):
    rng = np.random.default_rng(seed)
    m, s = rng.normal(0, 2, 30), rng.uniform(0.5, 3, 30)
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    exact = expit(m + s * nodes[:, None]).T @ weights / weights.sum()
    sizes, errors = 2 ** np.arange(2, 11), []
    for J in sizes:
        draws = expit(m + s * rng.normal(size=(200, J, 30)))
        errors.append(np.sqrt(np.mean((draws.mean(1) - exact) ** 2)))
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]
