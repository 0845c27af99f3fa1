"""Test errors of two Gaussian processes on digits: the RBF's minus those of a convolutional network's.

The network: two layers of 3 x 3 filters with ReLU, means over 2 x 2 windows, a dense output, all infinitely wide. The
covariance of two pixels p and p + d of two images goes through a layer as the mean over the filter's offsets, which
keep d, then through the arc-cosine kernel. Targets are one-hot minus 0.1; noise, and the RBF's length scale, are those
with the largest evidence on a grid. Each seed splits the images anew.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.datasets import load_digits

TRAIN, TEST = 150, 300


def layer(maps):
    """Mean over a zero-padded 3 x 3 window, plus the variance of a bias."""
    p = np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(1, 1), (1, 1)])
    return sum(p[..., i : i + 8, j : j + 8] for i in range(3) for j in range(3)) / 9 + 0.01


def shifted(maps, di, dj):
    """maps at p + d, and 0 where that lies outside."""
    p = np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(1, 1), (1, 1)])
    return p[..., 1 + di : 9 + di, 1 + dj : 9 + dj]


def convolutional(a, b):
    K = np.zeros((len(a), len(b)))
    window = np.arange(8) // 2
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            inside = [
                window[k] == np.pad(window, 1, constant_values=-1)[k + 1 + d]
                for d in (di, dj)
                for k in range(8)
            ]
            mask = np.outer(inside[:8], inside[8:])
            va, vb = a**2, b**2
            c = a[:, None] * shifted(b, di, dj)
            for _ in range(2):
                va, vb, c = layer(va), layer(vb), layer(c)
                scale = np.sqrt(va[:, None] * shifted(vb, di, dj)) + 1e-12
                cosine = np.clip(c / scale, -1, 1)
                t = np.arccos(cosine)
                c = scale * (np.sqrt(1 - cosine**2) + (np.pi - t) * cosine) / np.pi  # filters have variance 2
            K += (c * mask).sum((2, 3))
    return K


def error(kernels, y, labels):
    """Test error of the (train, cross) kernel and noise with the largest evidence."""
    best = (-np.inf, None)
    for K, cross in kernels:
        scale = K.diagonal().mean()
        for noise in (0.003, 0.01, 0.03, 0.1):
            factor = cho_factor(K / scale + noise * np.eye(TRAIN))
            weights = cho_solve(factor, y)
            amplitude = (y * weights).sum() / y.size  # the best output variance, in closed form
            evidence = -0.5 * y.size * np.log(amplitude) - y.shape[1] * np.log(factor[0].diagonal()).sum()
            if evidence > best[0]:
                best = evidence, (cross / scale @ weights).argmax(1)
    return (best[1] != labels).mean()


def value(seed):
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))[: TRAIN + TEST]
    x, labels = images[order] / 16, labels[order]
    y, test = np.eye(10)[labels[:TRAIN]] - 0.1, labels[TRAIN:]
    pictures = x.reshape(-1, 8, 8)
    K = convolutional(pictures, pictures[:TRAIN])
    squares = ((x[:, None] - x[None, :TRAIN]) ** 2).sum(2)
    rbf = [np.exp(-squares / (2 * length**2)) for length in (1, 1.5, 2, 3, 4)]
    return error([(k[:TRAIN], k[TRAIN:]) for k in rbf], y, test) - error([(K[:TRAIN], K[TRAIN:])], y, test)
