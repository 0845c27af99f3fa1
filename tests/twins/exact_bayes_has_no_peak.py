"""Rise of test error at as many random features as data, by the exact posterior mean with prior and noise by evidence.

As for least squares on ReLU features of 40 noisy data, but with w ~ N(0, a^2 I): a and the noise maximise the evidence,
by L-BFGS on their logarithms. The value is the largest rise of the error as features are added, in units of the
targets' variance: 0 where it only falls.
"""

import numpy as np
from scipy.optimize import minimize

N, WIDTHS = 40, (5, 10, 20, 30, 40, 60, 100, 400)


def predict(a, b, y):
    values, V = np.linalg.eigh(a @ a.T)
    z = (V.T @ y) ** 2

    def loss(logs):
        variances = np.exp(2 * logs[0]) * values.clip(0) + np.exp(2 * logs[1])
        return 0.5 * (z / variances + np.log(variances)).sum()

    log_a, log_noise = minimize(loss, [-1.0, -1.0], bounds=[(-9, 3), (-5, 2)]).x
    K = np.exp(2 * log_a) * a @ a.T + np.exp(2 * log_noise) * np.eye(N)
    return np.exp(2 * log_a) * b @ a.T @ np.linalg.solve(K, y)


def value(seed):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=5)
    x, new = rng.normal(size=(N, 5)), rng.normal(size=(2000, 5))
    y, truth = (np.tanh(at @ w) + 0.5 * rng.normal(size=len(at)) for at in (x, new))
    errors = []
    for width in WIDTHS:
        each = []
        for _ in range(20):
            filters, bias = rng.normal(size=(5, width)), rng.normal(size=width)
            a, b = (np.maximum(at @ filters + bias, 0) for at in (x, new))
            each.append(np.mean((predict(a, b, y) - truth) ** 2))
        errors.append(np.mean(each) / truth.var())
    return max(late - early for i, early in enumerate(errors) for late in errors[i:])
