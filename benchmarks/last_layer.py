"""HMC on the last layer of a ResNet-18: 11 million weights that stay, and 5,130 that are sampled.

The frozen part sees every image once. Its random weights stand in for trained ones, which changes nothing about the
work; the labels are drawn from a softmax of its features, so that there is something to learn. The features of a
network correlate strongly (on these ones as they are, chains of four leapfrog steps do not meet: R-hat 3.5), so the
frozen part ends by whitening them.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn
from torchvision.models import resnet18

import bdlcore as bdl

TITLE = "HMC on the last layer of a ResNet-18"
CHAINS, WARMUP, LEAPFROG = 8, 50, 5
PRIOR = bdl.GaussianPrior(0.05)  # of white features' weights: logits of std 1.1


def problem(N: int) -> tuple[bdl.Model, torch.Tensor, torch.Tensor, float]:
    """The model, N images of 3 x 32 x 32 with their classes, and the seconds that their features took."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = resnet18(num_classes=10).eval()
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, 3, 32, 32, generator=g) + torch.randn(N, 3, 1, 1, generator=g)
    start = time.perf_counter()
    features = bdl.Model(network, PRIOR, bdl.Categorical(), trainable="fc").features(x)
    network.fc = nn.Sequential(OrderedDict(whitening=whitening(features), head=nn.Linear(512, 10)))
    model = bdl.Model(network, PRIOR, bdl.Categorical(), trainable="fc.head")
    white = model.features(x)
    seconds = time.perf_counter() - start
    logits = white @ (PRIOR.std * torch.randn(512, 10, generator=g))
    return model, x, logits.softmax(1).multinomial(1, generator=g)[:, 0], seconds


def whitening(features: torch.Tensor) -> nn.Linear:
    """The layer after which features (N, D) have mean 0 and, but for what is almost constant, covariance I."""
    mean, C = features.mean(0), features.T.cov()
    scale, directions = torch.linalg.eigh(C + 1e-3 * C.diagonal().mean() * torch.eye(len(C)))
    layer = nn.Linear(len(C), len(C))
    with torch.no_grad():
        layer.weight.copy_((directions / scale.sqrt()).T)
        layer.bias.copy_(-layer.weight @ mean)
    return layer


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Cache the features, sample, and say what it took."""
    N, draws = (40, 10) if quick else (5000, 500)
    model, x, y, features = problem(N)
    start = clock()
    posterior = bdl.hmc(
        model, x, y, chains=CHAINS, draws=draws, warmup=WARMUP, leapfrog_steps=LEAPFROG, probe=x[:20]
    )
    seconds = clock() - start
    unit = 2**20 if sys.platform == "darwin" else 2**10
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    frozen = sum(p.numel() for p in model.network.parameters()) - model.layout.dim
    rows = [
        ("features of the frozen part, to whiten them and once more to keep them", f"{features:.0f} s"),
        (f"{CHAINS} chains of {WARMUP} + {draws} draws, {LEAPFROG} leapfrog steps each", f"{seconds:.0f} s"),
        ("gradient of all chains", f"{1e3 * seconds / ((WARMUP + draws) * LEAPFROG):.0f} ms"),
        ("most memory held, Python and PyTorch included", f"{megabytes:,.0f} MB"),
        ("acceptance", f"{posterior.acceptance.mean():.2f}"),
        ("largest R-hat of 20 images' outputs", f"{posterior.rhat.max():.3f}"),
        ("smallest ESS of these", f"{posterior.ess.min():,.0f}"),
    ]
    lines = [f"| {model.layout.dim:,} weights sampled, {frozen:,} frozen, {N:,} images | |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    return {"title": TITLE, "rows": [list(row) for row in rows], "text": "\n".join(lines)}
