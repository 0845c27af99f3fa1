"""Test error, on true labels, of an RBF process with which every random labelling of its 700 images can be fitted.

One-hot targets, noise std 0.1, length scale 1.5 for pixels in [0, 1]; 700 digits to learn from, the rest to test.
"""

import numpy as np
from sklearn.datasets import load_digits


def value(seed):
    rng = np.random.default_rng(seed)
    x, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(x))
    x, labels = x[order] / 16, labels[order]
    squares = ((x[:, None] - x[None, :700]) ** 2).sum(2)
    K = np.exp(-squares / (2 * 1.5**2))
    A = K[:700] + 0.01 * np.eye(700)
    random = rng.integers(0, 10, 700)
    assert ((K[:700] @ np.linalg.solve(A, np.eye(10)[random])).argmax(1) == random).all()
    predicted = (K[700:] @ np.linalg.solve(A, np.eye(10)[labels[:700]] - 0.1)).argmax(1)
    return (predicted != labels[700:]).mean()
