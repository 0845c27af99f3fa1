"""Share of predictions that change on a walk along the flattest directions of a trained classifier.

A network 2-20-20-2 with tanh in plain PyTorch on two moons, theta ~ N(0, I) times 1.5 / root of fan-in; the exact
Hessian of the loss at the mode; 20 random directions in the span of the 400 eigenvectors with the smallest |lambda| of
522, 5 units of the prior's std far; predictions on a grid around the data. One moons a seed.
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import make_moons

SIZES = (2, 20), (20,), (20, 20), (20,), (20, 2), (2,)


def logits(t, x):
    parts = t.split([torch.Size(s).numel() for s in SIZES])
    w1, b1, w2, b2, w3, b3 = (
        1.5 * p.view(s) / (s[0] ** 0.5 if len(s) == 2 else 1) for p, s in zip(parts, SIZES)
    )
    return torch.tanh(torch.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3


def value(seed):
    g = torch.Generator().manual_seed(seed)
    x, y = make_moons(100, noise=0.1, random_state=seed)
    x, y = torch.tensor(x), torch.tensor(y)
    t = torch.randn(
        sum(torch.Size(s).numel() for s in SIZES), generator=g, dtype=torch.float64
    ).requires_grad_()
    search = torch.optim.LBFGS([t], max_iter=2000, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def loss(at):
        return F.cross_entropy(logits(at, x), y, reduction="sum")

    def step():
        search.zero_grad()
        total = loss(t) + t.square().sum() / 2
        total.backward()
        return total

    search.step(step)
    t = t.detach()
    values, vectors = torch.linalg.eigh(torch.func.hessian(loss)(t))
    flat = vectors[:, values.abs().argsort()[:400]]
    axis = torch.linspace(-1.5, 2.5, 25, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    before = logits(t, grid).argmax(1)
    changed = []
    for _ in range(20):
        direction = flat @ torch.randn(400, generator=g, dtype=torch.float64)
        changed.append(
            (logits(t + 5 * direction / direction.norm(), grid).argmax(1) != before).double().mean()
        )
    return torch.stack(changed).mean().item()
