"""Slope of log (kurtosis - 3) against log width, for one hidden layer of ReLU units with weights N(0, 1/width).

400,000 networks a width, evaluated at one input that each seed draws. In theory the excess is 15 / width.
"""

import numpy as np


def value(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=3)
    widths, excess = np.array([2, 4, 8, 16]), []
    for H in widths:
        f = np.zeros(400_000)
        for _ in range(H):
            f += rng.normal(size=f.size) * np.maximum(rng.normal(size=f.size) * np.linalg.norm(x), 0)
        excess.append(np.mean((f - f.mean()) ** 4) / f.var() ** 2 - 3)
    return np.polyfit(np.log(widths), np.log(excess), 1)[0]
