"""How well SWAG predicts under priors of different scale (Wilson & Izmailov 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table
from ..networks import classifier
from ..training import halves, scores


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Scores on test images of one member's SWAG, and of the member trained to the end."""
    seed, std = cell["seed"], cell["std"]
    data = inputs.labelled(settings["data"], settings["n"], settings["n_test"], seed, device)
    classes = int(data.y.max()) + 1
    model = classifier(settings["network"], data.x, classes, settings["width"], std)
    # under every prior from the same weights: a start that grew with the prior would be compared instead of it
    usual = bdl.Model(model.network, bdl.GaussianPrior(2**0.5, fan_in=True), model.likelihood)
    drawn = usual.sample_prior(1, seed=seed, device=device)
    initial = bdl.Stack.from_state_dicts(drawn.state_dicts(), model.layout)
    # Adam moves theta, weights in units of the prior's std: lr is in units of the weights, the same for every prior
    adapted = {**settings, "lr": settings["lr"] / std}
    trained, wandered = halves(model, data.x, data.y, adapted, 1, seed, initial)
    network = scores(bdl.predict(model, trained, data.x_test), data.y_test)
    swag = scores(bdl.predict(model, wandered, data.x_test), data.y_test)
    return [
        {
            "std": std,
            "swag_nll": swag["nll"],
            "swag_error": swag["error"],
            "network_nll": network["nll"],
            "network_error": network["error"],
        }
    ]


EXPERIMENT = Experiment(
    name="prior_std",
    lesson="04",
    question="How much does the scale of the prior matter for predictions after training?",
    source="Wilson and Izmailov (2020, section 5, figure on the effects of the prior variance)",
    published=(
        "They score 20 draws of SWAG against $a^2$, for LeNet-5 on MNIST and for PreResNet-20 and VGG-16 on CIFAR-10: "
        "too small an $a$ costs much, too large a one little. The curves have no printed numbers."
    ),
    differences=(
        "Networks are trained by Adam, half-way to SWAG; theirs by SGD with a schedule, on shifted and mirrored "
        "copies. Whatever the prior, they begin at weights of variance 2 over the inputs of a unit and take Adam's "
        "steps of the same size. Only LeNet-5 on MNIST."
    ),
    sizes={
        "tiny": {
            "data": "digits", "n": 60, "n_test": 40, "network": "lenet-5", "width": 1, "stds": [0.1, 1.0],
            "steps": 8, "lr": 0.001, "batch": 20, "snapshots": 4, "rank": 3, "draws": 3, "seeds": [0, 1],
        },
        "hour": {
            "data": "mnist", "n": 1000, "n_test": 2000, "network": "lenet-5", "width": 4,
            "stds": [0.01, 0.03, 0.05, 0.1, 0.3, 1.0, 3.0], "steps": 400, "lr": 0.001, "batch": 125,
            "snapshots": 20, "rank": 10, "draws": 20, "seeds": [0, 1, 2],
        },
        "full": {
            "data": "mnist", "n": 60_000, "n_test": 10_000, "network": "lenet-5", "width": 10,
            "stds": [0.01, 0.03, 0.05, 0.1, 0.3, 1.0, 3.0], "steps": 23_400, "lr": 0.001, "batch": 128,
            "snapshots": 25, "rank": 20, "draws": 20, "seeds": [0, 1, 2],
        },
    },
    grid={"std": "stds", "seed": "seeds"},
    run=run,
    table=Table(
        rows=("std",),
        values={
            "swag_nll": "SWAG, NLL",
            "swag_error": "SWAG, error in %",
            "network_nll": "one network, NLL",
            "network_error": "one network, error in %",
        },
    ),
    scaled={"steps": 40},
)  # fmt: skip
