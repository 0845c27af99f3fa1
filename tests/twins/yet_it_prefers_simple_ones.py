"""Probability, under a network's prior, of labelling eight points on a line with at most one change of sign.

A network 1-50-1 with tanh, first-layer weights and biases N(0, 4), outputs centred by their own bias N(0, 1); 20,000
draws. There are 16 such labellings among 256. Each seed draws the eight points.
"""

import numpy as np


def value(seed):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-1, 1, 8))
    changes = []
    for _ in range(10):
        w, b = 2 * rng.normal(size=(2, 2_000, 1, 50))
        f = (np.tanh(w * x[:, None] + b) * rng.normal(size=(2_000, 1, 50))).sum(2) / np.sqrt(50)
        sign = f + rng.normal(size=(2_000, 1)) > 0
        changes.append((sign[:, 1:] != sign[:, :-1]).sum(1))
    return (np.concatenate(changes) <= 1).mean()
