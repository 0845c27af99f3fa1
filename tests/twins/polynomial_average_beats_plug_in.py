"""Log density of new targets between two groups of data: the average over polynomials of degree 9 minus their mode.

Each seed draws a target function (five sines with random frequencies and phases), 20 noisy points on both sides of a
gap, and Chebyshev coefficients with a N(0, 1) prior, whose posterior is the textbook's: A = I + X'X / s^2.
"""

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from scipy.stats import norm

NOISE, DEGREE = 0.1, 9
VALUES = 40  # differences of log densities have heavy tails


def value(seed):
    rng = np.random.default_rng(seed)
    frequency, phase, size = rng.uniform(1, 5, 5), rng.uniform(0, 2 * np.pi, 5), rng.normal(0, 0.4, 5)

    def target(x):
        return np.sin(np.outer(x, frequency) + phase) @ size

    x = np.concatenate([rng.uniform(-1, -0.4, 10), rng.uniform(0.4, 1, 10)])
    y = target(x) + NOISE * rng.normal(size=20)
    X = chebvander(x, DEGREE)
    A = np.eye(DEGREE + 1) + X.T @ X / NOISE**2
    mode = np.linalg.solve(A, X.T @ y) / NOISE**2  # of a Gaussian: the most probable setting is the mean

    new = np.linspace(-0.35, 0.35, 50)
    Z = chebvander(new, DEGREE)
    t = target(new) + NOISE * rng.normal(size=50)
    spread = np.einsum("nd,dn->n", Z, np.linalg.solve(A, Z.T))
    average = norm.logpdf(t, Z @ mode, np.sqrt(spread + NOISE**2))
    plug_in = norm.logpdf(t, Z @ mode, NOISE)
    return (average - plug_in).mean()
