"""A Gaussian process with an RBF kernel on images whose labels are partly noise (Wilson & Izmailov 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

import bdlcore as bdl
from bdlcore._support.devices import double

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Evidence, and accuracy on noisy training and clean test labels, at each share of labels drawn anew."""
    seed, noise = cell["seed"], settings["noise_std"]
    x, y, x_test, y_test = _two_classes(settings, seed, device)
    n, device = len(x), x.device
    signs = [2.0 * inputs.resampled(y, share, seed, 2) - 1 for share in settings["shares"]]
    targets = torch.stack(signs, 1).to(x)
    squared = torch.cdist(torch.cat([x, x_test]), x).square()  # all that the kernel sees of the images
    middle = squared[:n].flatten()[:: max(1, n * n // 10_000)].median().sqrt()
    stds = torch.tensor(settings["stds"], dtype=torch.float64, device=device)

    def kernel(length: float, std: float = 1.0):
        return lambda a, b: std**2 * torch.exp(-0.5 * squared[a][:, b] / (length * middle) ** 2)

    rows = torch.arange(n, device=device)
    best = [(-torch.inf, 0.0, 0.0)] * len(signs)
    for length in settings["lengths"]:
        spectrum = bdl.KernelSpectrum.of(kernel(length), rows)
        evidence = spectrum.log_evidence_per_output(targets, noise_std=noise, std=stds)  # (stds, shares)
        for k, (value, at) in enumerate(zip(*(part.tolist() for part in evidence.max(0)))):
            best[k] = max(best[k], (value / n, length, settings["stds"][at]))
    records = []
    for k, (share, (evidence, length, std)) in enumerate(zip(settings["shares"], best)):
        posterior = bdl.gaussian_process(kernel(length, std), rows, targets[:, k], noise_std=noise)
        f = posterior.mean(torch.arange(len(squared), device=device))[:, 0]
        records.append(
            {
                "share": share,
                "evidence": evidence,
                "train": (f[:n].sign() == signs[k]).double().mean().item(),
                "test": (f[n:].sign() == 2 * y_test - 1).double().mean().item(),
                "length": length,
            }
        )
    return records


def _two_classes(
    settings: Settings, seed: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images of the first two classes as rows of pixels, float64, and labels 0 and 1, where there is float64."""
    data = inputs.labelled(settings["data"], settings["pool"], settings["pool_test"], seed, device)
    mine, test = data.y < 2, data.y_test < 2
    n = settings["n"]
    if mine.sum() < n:
        raise ValueError(f"Among {settings['pool']} images {int(mine.sum())} are of two classes, not {n}.")
    x, x_test = (double(part.flatten(1)) for part in (data.x[mine][:n], data.x_test[test]))
    return x, data.y[mine][:n].to(x.device), x_test, data.y_test[test].to(x.device)


EXPERIMENT = Experiment(
    name="rbf_process",
    lesson="05",
    question="Does a process that fits every noisy label still generalise, and does its evidence see the noise?",
    source="Wilson and Izmailov (2020, section 6)",
    published=(
        "They take airplanes against automobiles, 10,000 images of CIFAR-10 and an RBF kernel: it fits altered "
        "labels as well as true ones, and its evidence falls as more are altered. Their figure has no numbers."
    ),
    differences=(
        "Theirs is a variational process with a Bernoulli likelihood, and labels are flipped; ours is the exact "
        "one for labels as numbers, −1 and 1, and labels are drawn anew, half of which change."
    ),
    sizes={
        "tiny": {
            "data": "patches", "pool": 160, "pool_test": 80, "n": 40, "shares": [0.0, 1.0], "noise_std": 0.1,
            "lengths": [0.3, 1.0], "stds": [1.0, 3.0], "seeds": [0, 1],
        },
        "hour": {
            "data": "cifar10", "pool": 11_000, "pool_test": 10_000, "n": 2000,
            "shares": [0.0, 0.1, 0.25, 0.5, 0.75, 1.0], "noise_std": 0.1,
            "lengths": [0.02, 0.1, 0.2, 0.3, 0.5, 1.0], "stds": [0.3, 0.55, 1.0, 1.8, 3.0], "seeds": [0, 1, 2],
        },
        "full": {
            "data": "cifar10", "pool": 50_000, "pool_test": 10_000, "n": 10_000,
            "shares": [0.0, 0.1, 0.25, 0.5, 0.75, 1.0], "noise_std": 0.1,
            "lengths": [0.02, 0.1, 0.2, 0.3, 0.5, 1.0], "stds": [0.3, 0.55, 1.0, 1.8, 3.0], "seeds": [0, 1, 2],
        },
    },
    grid={"seed": "seeds"},
    run=run,
    table=Table(
        rows=("share",),
        values={
            "evidence": "log evidence per image",
            "train": "accuracy on the labels that it saw",
            "test": "accuracy on clean test labels",
            "length": "length scale, in median distances",
        },
    ),
    scaled={"n": 20},
    seconds=(0, 2, 3),
    memory=(0, 2),
)  # fmt: skip
