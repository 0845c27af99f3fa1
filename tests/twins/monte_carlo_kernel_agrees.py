"""Slope of log error against log S of E[relu(w.x) relu(w.x')] over S units, against the arc-cosine kernel.

k(x, x') = |x| |x'| (sin t + (pi - t) cos t) / (2 pi), t the angle between x and x' (Cho & Saul 2009, n = 1).
"""

import numpy as np


def value(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6, 4))
    length = np.linalg.norm(x, axis=1)
    cosine = np.clip(x @ x.T / np.outer(length, length), -1, 1)
    t = np.arccos(cosine)
    exact = np.outer(length, length) * (np.sin(t) + (np.pi - t) * cosine) / (2 * np.pi)
    sizes, errors = 2 ** np.arange(4, 12), []
    for S in sizes:
        h = np.maximum(rng.normal(size=(60, S, 4)) @ x.T, 0)
        errors.append(np.sqrt(np.mean((np.einsum("rsi,rsj->rij", h, h) / S - exact) ** 2)))
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]
