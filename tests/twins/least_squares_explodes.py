"""Peak in test error of least squares on random features at as many features as data, above that at the most features.

ReLU features of 40 noisy data in five dimensions, minimum-norm solutions by the pseudo-inverse, averaged over 20 draws
of the features. Error is the share of wrong signs. Each seed draws the truth, the data and the features.
"""

import numpy as np

N, WIDTHS = 40, (5, 10, 20, 30, 40, 60, 100, 400)


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
            each.append(np.mean((b @ np.linalg.pinv(a) @ y - truth) ** 2))
        errors.append(np.mean(np.log10(each)))
    return max(errors[2:6]) - errors[-1]
