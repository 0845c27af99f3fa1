"""Evidence of a network against the share of corrupted labels or images (Wilson & Izmailov 2020; Zhang et al. 2017)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table
from ..networks import classifier


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Laplace's evidence at a trained network, and its errors, with a share of the labels or images corrupted."""
    seed, share, what = cell["seed"], cell["share"], cell["corrupted"]
    data = inputs.labelled(settings["data"], settings["n"], settings["n_test"], seed, device)
    x, y, classes = data.x, data.y, int(data.y.max()) + 1
    if what == "labels":
        y = inputs.resampled(y, share, seed, classes)
    else:
        x = shuffled(x, share, seed)
    std, fan_in = settings["std"], settings["fan_in"]
    model = classifier(settings["network"], x, classes, settings["width"], std, fan_in)
    trained = bdl.ensemble(
        model,
        x,
        y,
        members=1,
        steps=settings["steps"],
        lr=settings["lr"],
        batch_size=settings["batch"],
        seed=seed,
    )
    with warnings.catch_warnings():  # minibatches end near a mode: how near is in the table
        warnings.filterwarnings("ignore", message="(?s).*mode")
        posterior = bdl.laplace(model, x, y, structure=settings["structure"], modes=trained.stack, seed=seed)
    return [
        {
            "share": share,
            "corrupted": what,
            "evidence": posterior.log_marginal_likelihood().item() / len(x),
            "train": 100 * (1 - bdl.predict(model, trained, x).accuracy(y)),
            "test": 100 * (1 - bdl.predict(model, trained, data.x_test).accuracy(data.y_test)),
            "excess": posterior.excess.item() / len(x),
        }
    ]


def shuffled(x: Tensor, share: float, seed: int) -> Tensor:
    """Images of which a share, chosen at random, have their pixels in a random order, another one for each."""
    g = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(x), generator=g)[: round(share * len(x))]
    orders = torch.rand(len(chosen), x[0, 0].numel(), generator=g).argsort(1).to(x.device)
    flat = x.flatten(2).clone()
    mine = flat[chosen.to(x.device)]
    flat[chosen.to(x.device)] = mine.gather(2, orders[:, None].expand_as(mine))
    return flat.view_as(x)


EXPERIMENT = Experiment(
    name="evidence",
    lesson="05",
    question="Does a network's evidence fall as labels or images lose their structure, while it still fits all labels?",
    source="Wilson and Izmailov (2020, section 6); corrupted images after Zhang et al. (2017)",
    published=(
        "They show, for PreResNet-20 on CIFAR-10 with 0 to 50,000 labels drawn anew, a Laplace evidence that falls "
        "with the number of altered labels. The figure has no printed numbers, and in the public code labels drawn "
        "from the model take the place of those trained on."
    ),
    differences=(
        "Our evidence uses the labels that were trained on, with all constants; no augmentation; 100 epochs of Adam."
    ),
    sizes={
        "tiny": {
            "data": "patches", "n": 40, "n_test": 24, "network": "preresnet-20", "width": 2, "std": 0.3,
            "fan_in": False, "structure": "diagonal",
            "corrupted": ["labels", "images"], "shares": [0.0, 1.0], "steps": 6, "lr": 0.01,
            "batch": 20, "seeds": [0],
        },
        "hour": {
            "data": "mnist", "n": 1000, "n_test": 2000, "network": "cnn", "width": 8, "std": 1.4, "fan_in": True,
            "structure": "kron", "corrupted": ["labels", "images"], "shares": [0.0, 0.25, 0.5, 1.0], "steps": 800,
            "lr": 0.01, "batch": 250, "seeds": [0, 1, 2],
        },
        "full": {
            "data": "cifar10", "n": 50_000, "n_test": 10_000, "network": "preresnet-20", "width": 16, "std": 0.26,
            "fan_in": False, "structure": "diagonal", "corrupted": ["labels", "images"],
            "shares": [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0], "steps": 39_000, "lr": 0.01, "batch": 128, "seeds": [0],
        },
    },
    grid={"corrupted": "corrupted", "share": "shares", "seed": "seeds"},
    run=run,
    table=Table(
        rows=("corrupted", "share"),
        values={
            "evidence": "log evidence per image",
            "train": "training error in %",
            "test": "error on clean test images in %",
            "excess": "nats per image from the mode",
        },
    ),
    scaled={"steps": 4},
)  # fmt: skip
