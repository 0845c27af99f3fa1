"""Ensembles, SWAG and MultiSWAG on images that are more and more blurred (Wilson & Izmailov 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table
from ..networks import classifier
from ..training import halves, scores


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Scores of both ways to average, with the first members alone and with all, at each strength of blur."""
    seed, draws = cell["seed"], settings["draws"]
    data = inputs.labelled(settings["data"], settings["n"], settings["n_test"], seed, device)
    classes, std, fan_in = int(data.y.max()) + 1, settings["std"], settings["fan_in"]
    model = classifier(settings["network"], data.x, classes, settings["width"], std, fan_in)
    trained, wandered = halves(model, data.x, data.y, settings, max(settings["members"]), seed)
    records = []
    for blur in settings["blurs"]:
        x = bdl.corruptions.blur(data.x_test, blur)
        for members in settings["members"]:
            names = ("one network", "SWAG") if members == 1 else (f"{members} networks", f"{members} × SWAG")
            stacks = trained.stack[:members], wandered.stack[: members * draws]
            for name, stack in zip(names, stacks):
                found = scores(bdl.predict(model, stack, x), data.y_test)
                records.append({"blur": blur, "method": name, **found})
    return records


EXPERIMENT = Experiment(
    name="corruption",
    lesson="10",
    question="Which average bears blurred test images better, an ensemble or MultiSWAG of as many members?",
    source="Wilson and Izmailov (2020, section 4.2 and appendix)",
    published=(
        "For PreResNet-20 on CIFAR-10-C they show lower NLL of MultiSWAG at all strengths of blur with few models, and "
        "with ten at the strongest. The curves have no printed numbers."
    ),
    differences=(
        "Half of the steps are Adam's, half SGD's or again Adam's; no augmentation; the five strengths of blur of "
        "CIFAR-10-C, but no other corruption."
    ),
    sizes={
        "tiny": {
            "data": "patches", "n": 48, "n_test": 32, "network": "preresnet-20", "width": 2, "std": 0.3,
            "fan_in": False, "members": [1, 2], "blurs": [0.0, 1.0], "steps": 8, "lr": 0.01, "batch": 24,
            "snapshots": 4, "rank": 3, "draws": 3, "seeds": [0],
        },
        "hour": {
            "data": "cifar10", "n": 4000, "n_test": 2000, "network": "cnn", "width": 16, "std": 1.4,
            "fan_in": True, "members": [1, 3, 5], "blurs": [0.0, 0.4, 0.6, 0.7, 0.8, 1.0], "steps": 1200, "lr": 0.003,
            "batch": 128, "snapshots": 20, "rank": 20, "draws": 20, "seeds": [0, 1, 2],
        },
        "full": {
            "data": "cifar10", "n": 50_000, "n_test": 10_000, "network": "preresnet-20", "width": 16, "std": 0.26,
            "fan_in": False, "members": [1, 3, 5, 10], "blurs": [0.0, 0.4, 0.6, 0.7, 0.8, 1.0], "steps": 117_000,
            "lr": 0.01, "batch": 128, "snapshots": 140, "rank": 20, "draws": 20, "seeds": [0],
        },
    },
    grid={"seed": "seeds"},
    run=run,
    table=Table(
        rows=("blur",),
        values={"nll": "NLL in nats", "error": "Error in %", "calibration": "Calibration error in %"},
        columns="method",
    ),
    scaled={"steps": 280},
)  # fmt: skip
