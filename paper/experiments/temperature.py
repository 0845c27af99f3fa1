"""Predictions of cold posteriors against their temperature (Wenzel et al. 2020; Izmailov et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table
from ..networks import classifier
from ..training import scores

PROBE = 20  # test images at which chains of one temperature are compared


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """Scores at each temperature, all chains of all temperatures being rows of one stack."""
    seed, chains = cell["seed"], settings["chains"]
    data = inputs.labelled(settings["data"], settings["n"], settings["n_test"], seed, device)
    classes, std, fan_in = int(data.y.max()) + 1, settings["std"], settings["fan_in"]
    model = classifier(settings["network"], data.x, classes, settings["width"], std, fan_in)
    temperatures = torch.tensor(settings["temperatures"], device=device)
    posterior = bdl.sghmc(
        model,
        data.x,
        data.y,
        chains=chains * len(temperatures),
        draws=settings["draws"],
        warmup=settings["warmup"],
        thinning=settings["thinning"],
        initial_steps=settings["initial_steps"],
        batch_size=settings["batch"] or None,
        temperature=temperatures.repeat_interleave(chains),
        probe=data.x[:1],  # over all temperatures R-hat means nothing
        seed=seed,
    )
    rows = chains * settings["draws"]
    records = []
    for k, temperature in enumerate(settings["temperatures"]):
        stack = posterior.stack[k * rows : (k + 1) * rows]
        f = model.functions(stack, data.x_test[:PROBE]).unflatten(0, (chains, -1)).flatten(2)
        records.append(
            {
                "temperature": temperature,
                **scores(bdl.predict(model, stack, data.x_test), data.y_test),
                "rhat": max(bdl.rhat(f[..., i]).item() for i in range(f.shape[2])),
            }
        )
    return records


EXPERIMENT = Experiment(
    name="temperature",
    lesson="09",
    question="At which temperature does the posterior of a network predict best, without augmentation?",
    source="Wenzel et al. (2020); Izmailov et al. (2021)",
    published=(
        "The first report, for ResNet-20 on CIFAR-10 with augmentation, predictions that improve as $T$ falls well "
        "below 1; the second, by full-batch HMC without augmentation, that $T = 1$ is near the best. Both show curves."
    ),
    differences=(
        "SGHMC with a constant step, PreResNet-20 with GroupNorm, no augmentation; Wenzel et al. use cycles, Izmailov "
        "et al. HMC on 512 processors."
    ),
    sizes={
        "tiny": {
            "data": "patches", "n": 32, "n_test": 24, "network": "preresnet-20", "width": 2, "std": 1.0,
            "fan_in": False, "temperatures": [0.1, 1.0], "chains": 2, "draws": 4, "warmup": 4, "thinning": 1,
            "initial_steps": 4, "batch": 16, "seeds": [0],
        },
        "hour": {
            "data": "mnist", "n": 500, "n_test": 2000, "network": "cnn", "width": 4, "std": 1.4,
            "fan_in": True, "temperatures": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0], "chains": 2, "draws": 40, "warmup": 1500,
            "thinning": 25, "initial_steps": 200, "batch": 0, "seeds": [0, 1, 2],
        },
        "full": {
            "data": "cifar10", "n": 50_000, "n_test": 10_000, "network": "preresnet-20", "width": 16, "std": 1.0,
            "fan_in": False, "temperatures": [0.001, 0.01, 0.03, 0.1, 0.3, 1.0], "chains": 2, "draws": 50,
            "warmup": 60_000, "thinning": 1200, "initial_steps": 400, "batch": 128, "seeds": [0],
        },
    },
    grid={"seed": "seeds"},
    run=run,
    table=Table(
        rows=("temperature",),
        values={
            "nll": "NLL in nats",
            "error": "error in %",
            "calibration": "calibration error in %",
            "rhat": "largest R-hat of functions",
        },
    ),
    scaled={"warmup": 20, "thinning": 1},
)  # fmt: skip
