"""HMC on the last layer of a ResNet-18: 11 million weights that stay, and 5,130 that are sampled.

The frozen part sees every image once. Its random weights stand in for trained ones, which changes nothing about the
work; the labels are drawn from a softmax of its features, so that there is something to learn.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import torch
from torchvision.models import resnet18

import bdlcore as bdl

TITLE = "HMC on the last layer of a ResNet-18"
CHAINS, WARMUP, LEAPFROG = 8, 100, 4


def problem(N: int) -> tuple[bdl.Model, torch.Tensor, torch.Tensor, float]:
    """The model, N images of 3 x 32 x 32 with their classes, and the seconds that their features took."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = resnet18(num_classes=10).eval()
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, 3, 32, 32, generator=g) + torch.randn(N, 3, 1, 1, generator=g)
    model = bdl.Model(network, bdl.GaussianPrior(0.3), bdl.Categorical(), trainable="fc")
    start = time.perf_counter()
    features = model.features(x)
    seconds = time.perf_counter() - start
    contrast = (features - features.mean(0)) / (features.std(0) + features.std())
    logits = contrast @ torch.randn(512, 10, generator=g)
    return model, x, logits.softmax(1).multinomial(1, generator=g)[:, 0], seconds


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
        ("features of the frozen part, once", f"{features:.0f} s"),
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
