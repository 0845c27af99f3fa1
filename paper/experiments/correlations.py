"""How alike an image and its corrupted copy are a priori, to a network and to two controls (Wilson & Izmailov 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table
from ..networks import classifier

LINEAR_STD, RBF_LENGTH = (
    0.3,
    15_000,
)  # theirs, the second for exp(-distance^2 / length^2), pixels from 0 to 255


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Correlations of clean images with each other, and of each with its corrupted copies."""
    seed = cell["seed"]
    data = inputs.labelled(settings["data"], settings["n"], 1, seed, device)
    x, clean = data.x, _bytes(data.x)
    model = classifier(settings["network"], clean, settings["outputs"], settings["width"], settings["std"])
    stack = model.prior_like(settings["draws"], seed, clean)
    f = model.functions(stack, clean)
    kernels = {
        "linear": bdl.LinearKernel(LINEAR_STD, LINEAR_STD),
        "RBF": bdl.RBF(RBF_LENGTH / math.sqrt(2)),
    }
    among = {"network": _apart(bdl.prior_correlation(f))}
    among |= {name: _apart(_correlation(k(clean), k(clean), k(clean))) for name, k in kernels.items()}
    records = [
        {"corruption": "none, other image", "level": 0.0, "prior": p, "rho": r} for p, r in among.items()
    ]
    for corruption, levels in settings["levels"].items():
        for level in levels:
            copies = _bytes(_corrupted(x, corruption, level, seed))
            g = model.functions(stack, copies)
            found = {"network": bdl.prior_correlation(f, g, paired=True).mean().item()}
            for name, k in kernels.items():
                rho = _correlation(k(clean, copies), k(clean), k(copies))
                found[name] = rho.diagonal().mean().item()
            records += [
                {"corruption": corruption, "level": level, "prior": p, "rho": r} for p, r in found.items()
            ]
    return records


def _bytes(x: Tensor) -> Tensor:
    """Pixels from 0 to 255, as theirs are."""
    low, high = (-1.0, 1.0) if x.abs().max() <= 1 else (x.min(), x.max())
    return (x.clamp(low, high) - low) * (255 / (high - low))


def _corrupted(x: Tensor, corruption: str, level: float, seed: int) -> Tensor:
    """Copies with noise of a std in shares of the range of pixels, blurred by pixels, or moved by pixels."""
    if corruption == "noise":
        return bdl.corruptions.noise(x, level * (x.max() - x.min()).item(), seed).clamp(x.min(), x.max())
    if corruption == "blur":
        return bdl.corruptions.blur(x, level)
    return bdl.corruptions.shift(x, int(level), int(level), fill=x.min().item())


def _correlation(between: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return between / (first.diagonal()[:, None] * second.diagonal()).sqrt()


def _apart(rho: Tensor) -> float:
    """The mean over pairs of different images."""
    return ((rho.sum() - rho.diagonal().sum()) / (len(rho) * (len(rho) - 1))).item()


EXPERIMENT = Experiment(
    name="correlations",
    lesson="04",
    question="How fast does the prior correlation of an image with its corrupted copy fall?",
    source="Wilson and Izmailov (2020, section 5 and appendix)",
    published=(
        "Their PreResNet-20 (100 draws, 100 images of CIFAR-10, $a = 1$) mostly falls more slowly under 20 corruptions "
        "than a linear model with std 0.3 and an RBF process, notably under shifts; among clean images the code prints "
        "mean correlations of 0.902, 0.838 and 0.892."
    ),
    differences=(
        "Three kinds of corruption of theirs; shifts are the mean ones of their random crops. GroupNorm stands for "
        "BatchNorm, and correlations are averaged over all logits."
    ),
    sizes={
        "tiny": {
            "data": "patches", "n": 8, "outputs": 2, "network": "preresnet-20", "width": 2, "std": 1.0, "draws": 6,
            "levels": {"blur": [0.6], "noise": [0.1], "shift": [1]}, "seeds": [0, 1],
        },
        "hour": {
            "data": "cifar10", "n": 100, "outputs": 10, "network": "preresnet-20", "width": 8, "std": 1.0,
            "draws": 100, "levels": {"blur": [0.4, 0.6, 1.0], "noise": [0.04, 0.08, 0.1], "shift": [1, 3, 5]},
            "seeds": [0, 1, 2],
        },
        "full": {
            "data": "cifar10", "n": 100, "outputs": 10, "network": "preresnet-20", "width": 16, "std": 1.0,
            "draws": 100, "levels": {
                "blur": [0.4, 0.6, 0.7, 0.8, 1.0], "noise": [0.04, 0.06, 0.08, 0.09, 0.1], "shift": [1, 2, 3, 4, 5]
            }, "seeds": [0, 1, 2, 3, 4],
        },
    },
    grid={"seed": "seeds"},
    run=run,
    table=Table(rows=("corruption", "level"), values={"rho": "Prior correlation"}, columns="prior"),
    paper={("none, other image", 0.0): "0.902, 0.838, 0.892"},
    scaled={"draws": 3},
)  # fmt: skip
