"""Share of the probability, over 300 digits, of a posterior draw's top class, after 100 labels under a collapsed prior.

A network 64-16-10 with ReLU in plain PyTorch, all weights N(0, 1), under which a draw gives most of its probability to
one class. Hamiltonian Monte Carlo from the definition, 8 chains; each value is the mean of their last 40 draws.
"""

import torch
from sklearn.datasets import load_digits

SIZES, VALUES = (64 * 16, 16, 160, 10), 6


def logits(theta, x):
    w1, b1, w2, b2 = theta.split(SIZES, 1)
    h = torch.relu(torch.baddbmm(b1[:, None], x.expand(len(theta), -1, -1), w1.view(-1, 64, 16)))
    return torch.baddbmm(b2[:, None], h, w2.view(-1, 16, 10))


def value(seed):
    torch.manual_seed(seed)
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images))[:400]
    x, y = torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order[:100]]

    def density(theta):
        theta = theta.detach().requires_grad_()
        fit = logits(theta, x[:100]).log_softmax(2)[:, torch.arange(100), y].sum(1)
        log_p = fit - theta.square().sum(1) / 2
        return log_p.detach(), torch.autograd.grad(log_p.sum(), theta)[0]

    theta = torch.randn(8, sum(SIZES))
    prior = logits(theta, x[100:]).softmax(2).mean(1).amax(1).mean()
    assert prior > 0.4, "this prior does not collapse"
    eps, (log_p, gradient), shares = torch.full((8, 1), 0.003), density(theta), []
    for i in range(240):
        start = p = torch.randn_like(theta)
        new, g, e = theta, gradient, eps * (0.8 + 0.4 * torch.rand_like(eps))
        for _ in range(50):
            p = p + e / 2 * g
            new = new + e * p
            new_log_p, g = density(new)
            p = p + e / 2 * g
        gain = new_log_p - log_p + (start.square() - p.square()).sum(1) / 2
        take = torch.rand_like(gain).log() < gain
        theta, gradient = torch.where(take[:, None], new, theta), torch.where(take[:, None], g, gradient)
        log_p = torch.where(take, new_log_p, log_p)
        if i < 200:
            eps = eps * (0.1 * (gain.clamp(max=0).exp()[:, None] - 0.8)).exp()
        else:
            shares.append(logits(theta, x[100:]).softmax(2).mean(1).amax(1).mean())
    return torch.stack(shares).mean().item()
