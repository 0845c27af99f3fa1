"""Distance to the posterior of a network's functions: mean-field variational inference minus a deep ensemble.

A network 1-20-1 with tanh in plain PyTorch, weights theta ~ N(0, I) times 2 / root of fan-in, data in two groups. The
reference is Hamiltonian Monte Carlo, 12 chains. Ten members maximise the posterior from draws of the prior; the
variational Gaussian maximises the evidence lower bound. Distance: root mean square over inputs of the 2-Wasserstein
distance between normals of the same mean and std as f(x), in units of the reference's std averaged over inputs.
"""

import torch

H, NOISE, VALUES = 20, 0.1, 12
SCALE = torch.tensor([2.0] * 2 * H + [2 / H**0.5] * H + [2.0], dtype=torch.float64)


def functions(theta, x):
    w = theta * SCALE
    h = torch.tanh(w[:, None, :H] * x[:, None] + w[:, None, H : 2 * H])
    return (h * w[:, None, 2 * H : 3 * H]).sum(2) + w[:, 3 * H :]


def density(theta, x, y):
    theta = theta.detach().requires_grad_()
    value = -(y - functions(theta, x)).square().sum(1) / (2 * NOISE**2) - theta.square().sum(1) / 2
    return value.detach(), torch.autograd.grad(value.sum(), theta)[0]


def adam(start, gradient, steps, lr):
    at = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([at], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        at.grad = -gradient(at.detach())
        optimiser.step()
        schedule.step()
    return at.detach()


def hmc(theta, x, y, draws=150, warmup=200, steps=40):
    eps, (value, gradient), kept = theta.new_full((len(theta), 1), 0.02), density(theta, x, y), []
    for i in range(warmup + draws):
        start = p = torch.randn_like(theta)
        new, g, e = theta, gradient, eps * (0.8 + 0.4 * torch.rand_like(eps))
        for _ in range(steps):
            p = p + e / 2 * g
            new = new + e * p
            new_value, g = density(new, x, y)
            p = p + e / 2 * g
        gain = new_value - value + (start.square() - p.square()).sum(1) / 2
        take = torch.rand_like(gain).log() < gain
        theta, gradient = torch.where(take[:, None], new, theta), torch.where(take[:, None], g, gradient)
        value = torch.where(take, new_value, value)
        if i < warmup:
            eps = eps * (0.1 * (gain.clamp(max=0).exp()[:, None] - 0.8)).exp()
        else:
            kept.append(theta)
    return torch.cat(kept)


def value(seed):
    torch.manual_seed(seed)
    x = torch.cat([torch.rand(10).double() * 0.6 - 1, torch.rand(10).double() * 0.6 + 0.4])
    frequency, phase = 2 + 2 * torch.rand(1).double(), 6.28 * torch.rand(1).double()
    y = torch.sin(frequency * x + phase) + NOISE * torch.randn(20).double()
    grid = torch.linspace(-1.2, 1.2, 49, dtype=torch.float64)
    members = adam(torch.randn(12, 3 * H + 1).double(), lambda t: density(t, x, y)[1], 1500, 0.02)
    reference = functions(hmc(members, x, y), grid)

    def elbo(q):  # its gradient in mean and log std, reparameterised, from eight samples
        eps = torch.randn(8, 3 * H + 1).double()
        g = density(q[0] + q[1].exp() * eps, x, y)[1]
        return torch.stack([g.mean(0), (g * eps).mean(0) * q[1].exp() + 1])

    q = adam(torch.stack([members[0], torch.full_like(members[0], -3.0)]), elbo, 4000, 0.01)
    variational = functions(q[0] + q[1].exp() * torch.randn(500, 3 * H + 1).double(), grid)

    def distance(f):
        squares = (f.mean(0) - reference.mean(0)) ** 2 + (f.std(0) - reference.std(0)) ** 2
        return (squares.mean().sqrt() / reference.std(0).mean()).item()

    return distance(variational) - distance(functions(members[:10], grid))
