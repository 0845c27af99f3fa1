"""Laplace's log evidence per image of a network on digits: true labels minus shuffled ones, both fitted perfectly.

A network 64-20-10 with tanh in plain PyTorch; theta ~ N(0, I), weights theta times 10 / root of fan-in; mode by L-BFGS
in float64. log p(D) = log p(D | t*) - |t*|^2 / 2 - log |I + J' L J| / 2, with J the Jacobian of all logits
and L = diag(p) - p p' the curvature of the softmax: |I + J' L J| = |I + R J J' R'| over data and classes, R' R = L.
"""

import torch
from sklearn.datasets import load_digits

N, H, A = 100, 20, 10.0
SHAPES = (64, H), (H,), (H, 10), (10,)


def logits(t, x):
    parts = t.split([64 * H, H, H * 10, 10])
    w1, b1, w2, b2 = (p.view(s) for p, s in zip(parts, SHAPES))
    return torch.tanh(x @ w1 * (A / 8) + A * b1) @ w2 * (A / H**0.5) + A * b2


def evidence(x, y, g):
    t = (0.3 * torch.randn(64 * H + H + H * 10 + 10, generator=g, dtype=torch.float64)).requires_grad_()
    options = {"max_iter": 1000, "tolerance_grad": 1e-7, "tolerance_change": 1e-12, "history_size": 30}
    search = torch.optim.LBFGS([t], line_search_fn="strong_wolfe", **options)

    def loss():
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(logits(t, x), y, reduction="sum") + t.square().sum() / 2
        value.backward()
        return value

    search.step(loss)
    t = t.detach()
    f = logits(t, x)
    assert (f.argmax(1) == y).all(), "the labels are not fitted"
    J = torch.func.jacrev(logits)(t, x)
    p = f.softmax(1)
    values, vectors = torch.linalg.eigh(torch.diag_embed(p) - p[:, :, None] * p[:, None])
    R = values.clamp(min=0).sqrt()[:, :, None] * vectors.mT
    B = (R @ J).flatten(0, 1)
    log_det = torch.linalg.slogdet(torch.eye(len(B), dtype=B.dtype) + B @ B.mT)[1]
    fit = -torch.nn.functional.cross_entropy(f, y, reduction="sum")
    return (fit - t.square().sum() / 2 - log_det / 2).item()


def value(seed):
    g = torch.Generator().manual_seed(seed)
    images, labels = load_digits(return_X_y=True)
    chosen = torch.randperm(len(images), generator=g)[:N]
    x, y = torch.tensor(images)[chosen] / 16, torch.tensor(labels)[chosen]
    return (evidence(x, y, g) - evidence(x, y[torch.randperm(N, generator=g)], g)) / N
