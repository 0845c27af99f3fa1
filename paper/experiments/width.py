"""Test error and likelihood against width, with noisy labels, for one network and for averages."""

from __future__ import annotations

from collections.abc import Mapping

import torch

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table
from ..networks import classifier
from ..training import halves, scores


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Scores on clean test labels of networks of one width, trained on labels of which some are wrong."""
    seed, width, draws = cell["seed"], cell["width"], settings["draws"]
    data = inputs.labelled(settings["data"], settings["n"], settings["n_test"], seed, device)
    classes, std, fan_in = int(data.y.max()) + 1, settings["std"], settings["fan_in"]
    y = inputs.resampled(data.y, settings["noisy"], seed, classes)
    model = classifier(settings["network"], data.x, classes, width, std, fan_in)
    trained, wandered = halves(model, data.x, y, settings, settings["members"], seed)
    test, one = (data.x_test, data.y_test), trained.stack[:1]
    ways = {
        "one network": (one, test),
        "SWAG": (wandered.stack[:draws], test),
        "ensemble": (trained.stack, test),
        "MultiSWAG": (wandered.stack, test),
        "one network, labels it saw": (one, (data.x, y)),
    }
    return [
        {"width": width, "method": name, **scores(bdl.predict(model, stack, images), labels)}
        for name, (stack, (images, labels)) in ways.items()
    ]


EXPERIMENT = Experiment(
    name="width",
    lesson="11",
    question="Does test error rise where networks begin to memorise noisy labels, and does it for averages?",
    source="Wilson and Izmailov (2020, section 7); Maddox, Benton and Wilson (2020) for widths",
    published=(
        "With 20 % of the labels of CIFAR-100 drawn anew, ResNet-18s trained by SGD have a bump, SWAG a smaller one "
        "and MultiSWAG with ten members none; the curves have no printed numbers. On *clean* labels the published logs "
        "of the second paper have a test loss of 1.62 at width 7, 2.31 at 19 and 1.48 at 64, and an accuracy that "
        "rises throughout, from 58.5 to 74.2 %."
    ),
    differences="CIFAR-10 for CIFAR-100, three members for ten, GroupNorm for BatchNorm, no augmentation.",
    sizes={
        "tiny": {
            "data": "patches", "n": 48, "n_test": 32, "noisy": 0.2, "network": "resnet-18", "widths": [1, 2],
            "std": 0.45, "fan_in": False, "members": 2, "steps": 8, "lr": 0.01, "batch": 24, "snapshots": 4,
            "rank": 3, "draws": 3, "seeds": [0],
        },
        "hour": {
            "data": "mnist", "n": 1000, "n_test": 2000, "noisy": 0.2, "network": "cnn", "widths": [1, 2, 3, 4, 8, 16],
            "std": 3.0, "fan_in": True, "members": 3, "steps": 1600, "lr": 0.01, "batch": 125, "snapshots": 20,
            "rank": 10, "draws": 20, "seeds": [0, 1, 2],
        },
        "full": {
            "data": "cifar10", "n": 50_000, "n_test": 10_000, "noisy": 0.2, "network": "resnet-18",
            "widths": [4, 8, 12, 20, 32, 64], "std": 0.45, "fan_in": False, "members": 3, "steps": 78_000, "lr": 0.003,
            "batch": 128, "snapshots": 100, "rank": 20, "draws": 20, "seeds": [0],
        },
    },
    grid={"width": "widths", "seed": "seeds"},
    run=run,
    table=Table(
        rows=("width",),
        values={"error": "Error in %, on clean test labels but for the last column", "nll": "NLL in nats"},
        columns="method",
    ),
    scaled={"steps": 200},
    kinds=("width",),
)  # fmt: skip
