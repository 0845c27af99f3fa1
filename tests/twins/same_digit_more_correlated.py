"""Correlation of a class's logit over draws of the prior: pairs of one digit minus pairs of different digits.

500 draws of a small convolutional network with weights N(0, 2 / fan-in) at 60 digits that each seed picks.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits


def value(seed):
    rng, g = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    data = load_digits()
    chosen = rng.permutation(len(data.target))[:60]
    x = torch.tensor(data.images[chosen], dtype=torch.float32)[:, None] / 16
    f = []
    for _ in range(500):
        w1, w2, w3 = (torch.randn(s, generator=g) for s in ((8, 1, 3, 3), (16, 8, 3, 3), (1, 256)))
        h = F.relu(F.conv2d(x, w1 * (2 / 9) ** 0.5, padding=1))
        h = F.relu(F.conv2d(h, w2 * (2 / 72) ** 0.5, padding=1, stride=2))
        f.append((h.flatten(1) @ w3.T)[:, 0] / 16)
    correlation = np.corrcoef(torch.stack(f).numpy().T)
    same = data.target[chosen][:, None] == data.target[chosen]
    pairs = ~np.eye(60, dtype=bool)
    return correlation[same & pairs].mean() - correlation[~same].mean()
