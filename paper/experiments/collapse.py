"""Class collapse: what single draws of the prior, and their average, say of images (Wilson & Izmailov 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table
from ..networks import classifier


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Shares of classes over images, of draws of the prior with one std."""
    seed, std = cell["seed"], cell["std"]
    data = inputs.labelled(settings["data"], settings["n"], 1, seed, device)
    classes = int(data.y.max()) + 1
    model = classifier(settings["network"], data.x, classes, settings["width"], std)
    found = bdl.collapse(model.functions(model.prior_like(settings["draws"], seed, data.x), data.x))
    return [
        {
            "std": std,
            "top_share": found.top_share.mean().item(),
            "confidence": found.confidence.mean().item(),
            "pooled": found.pooled_entropy.mean().item() / math.log(classes),
        }
    ]


EXPERIMENT = Experiment(
    name="collapse",
    lesson="04",
    question="How much of the images does one class take in a draw of the prior, and in the average of draws?",
    source="Wilson and Izmailov (2020, section 5, figure on the effects of the prior variance)",
    published=(
        "They show, for PreResNet-20 on CIFAR-10, draws that give nearly all images one class when $a^2$ is large and "
        "spread them when it is small, while the average over 200 draws stays near uniform; no numbers are printed."
    ),
    differences="GroupNorm stands for their BatchNorm, with which an image's outputs depend on the other images.",
    sizes={
        "tiny": {
            "data": "patches",
            "n": 16,
            "network": "preresnet-20",
            "width": 2,
            "draws": 8,
            "stds": [0.1, 3.0],
            "seeds": [0, 1],
        },
        "hour": {
            "data": "mnist",
            "n": 200,
            "network": "lenet-5",
            "width": 4,
            "draws": 100,
            "stds": [0.01, 0.03, 0.05, 0.1, 0.3, 1.0, 3.0],
            "seeds": [0, 1, 2, 3, 4],
        },
        "full": {
            "data": "cifar10",
            "n": 200,
            "network": "preresnet-20",
            "width": 16,
            "draws": 500,
            "stds": [0.03, 0.1, 0.3, 0.55, 1.0, 3.16],
            "seeds": [0, 1, 2, 3, 4],
        },
    },
    grid={"std": "stds", "seed": "seeds"},
    run=run,
    table=Table(
        rows=("std",),
        values={
            "top_share": "share of a draw's favourite class",
            "confidence": "confidence of a draw",
            "pooled": "entropy of the average, of its largest",
        },
    ),
    scaled={"draws": 2},
)
