"""Training K networks: members trained per second in one stack, against a loop over members and against vmap.

All take Adam steps with weight decay (the Gaussian prior) on minibatches of 64. Counted are member steps: K members
taking one step each make K.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bdlcore as bdl
from bdlcore.inference.optimise import optimise

from .race import Contestant, race
from .report import table

TITLE = "Training deep ensembles: member steps per second (Adam, batches of 64)"
MEMBERS = (1, 5, 20, 50)
BATCH, SETTINGS = 64, {"lr": 1e-3, "weight_decay": 1e-3}
LOOP = "loop over members"

# name -> network, shape of one input, number of classes (None: regression)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int | None]] = {
    "MLP 1-50-50-1": (lambda: bdl.nets.mlp(1, 50, 50, 1), (1,), None),
    "MLP 64-50-10": (lambda: bdl.nets.mlp(64, 50, 10, activation="relu"), (64,), 10),
    "MLP 784-100-10": (lambda: bdl.nets.mlp(784, 100, 10, activation="relu"), (784,), 10),
    "CNN 8×8 digits": (lambda: bdl.nets.cnn((1, 8, 8)), (1, 8, 8), 10),
    "CNN 28×28": (lambda: bdl.nets.cnn((1, 28, 28), (6, 16), 84), (1, 28, 28), 10),
}


def data(shape: tuple[int, ...], classes: int | None) -> tuple[Tensor, Tensor]:
    """320 random inputs and targets: speed does not depend on what they are."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5 * BATCH, *shape, generator=g)
    if classes is None:
        return x, torch.randn(len(x), 1, generator=g)
    return x, torch.randint(classes, (len(x),), generator=g)


def contestants(name: str, members: int, steps: int) -> dict[str, Contestant]:
    """Ways to take `steps` steps with every member."""
    make, shape, classes = NETWORKS[name]
    x, y = data(shape, classes)
    loss = F.mse_loss if classes is None else F.cross_entropy
    return {
        LOOP: _loop(make, members, steps, x, y, loss, fused=None),
        "loop, fused Adam": _loop(make, members, steps, x, y, loss, fused=True),
        "torch.func.vmap": _vmap(make, members, steps, x, y, loss),
        "bdlcore": _ours(make, members, steps, x, y, classes),
    }


def _batches(x: Tensor, y: Tensor, steps: int) -> list[tuple[Tensor, Tensor]]:
    pairs = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    return [pairs[i % len(pairs)] for i in range(steps)]


def _loop(make, members, steps, x, y, loss, fused) -> Contestant:
    """One network and one optimiser per member, as without any library."""
    networks = [make() for _ in range(members)]
    optimisers = [torch.optim.Adam(network.parameters(), **SETTINGS, fused=fused) for network in networks]

    def train() -> int:
        for a, b in _batches(x, y, steps):
            for network, optimiser in zip(networks, optimisers, strict=True):
                optimiser.zero_grad()
                loss(network(a), b).backward()
                optimiser.step()
        return members * steps

    return train


def _vmap(make, members, steps, x, y, loss) -> Contestant:
    """Stacked parameters, vmapped forward pass, one backward pass, one fused optimiser."""
    networks = [make() for _ in range(members)]
    parameters, _ = torch.func.stack_module_state(networks)
    skeleton = copy.deepcopy(networks[0]).to("meta")
    optimiser = torch.optim.Adam(parameters.values(), **SETTINGS, fused=True)

    def one(p: dict[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
        return loss(torch.func.functional_call(skeleton, p, (a,)), b)

    every = torch.func.vmap(one, in_dims=(0, None, None))

    def train() -> int:
        for a, b in _batches(x, y, steps):
            optimiser.zero_grad()
            every(parameters, a, b).sum().backward()
            optimiser.step()
        return members * steps

    return train


def _ours(make, members, steps, x, y, classes) -> Contestant:
    likelihood = bdl.Gaussian(1.0) if classes is None else bdl.Categorical()
    model = bdl.Model(make(), bdl.GaussianPrior(1.0, fan_in=True), likelihood)
    density, theta = bdl.LogPosterior(model, x, y), model.sample_prior(members, seed=0).theta
    shuffle = torch.Generator().manual_seed(0)

    def train() -> int:
        optimise(density, theta, steps, SETTINGS["lr"], BATCH, shuffle=shuffle)
        return members * steps

    return train


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Race the ways of training for every network and number of members."""
    tables, rows = [], []
    rounds, seconds = (1, 0.01) if quick else (4, 0.5)
    for name in list(NETWORKS)[:1] if quick else NETWORKS:
        cases = {}
        for members in MEMBERS[:2] if quick else MEMBERS:
            steps = 2 if quick else max(4, int((20 if "CNN" in name else 100) / members**0.5))
            field = contestants(name, members, steps)
            cases[f"K = {members}"] = race(field, rounds=rounds, seconds=seconds, clock=clock)
        found, text = table(cases, base=LOOP)
        rows += [{"network": name, **row} for row in found]
        tables.append(text.replace("| |", f"| {name} |", 1))
    text = "\n\n".join(tables)
    text += (
        f"\n\nIn brackets: how many times the loop's speed, median of {rounds} rounds taken in turns. Stacking pays "
        "where a network is so small that calling the operations costs more than doing them. At 28 × 28 pixels it does "
        "not: a CPU goes member by member there, as the loop does."
    )
    return {"title": TITLE, "rows": rows, "text": text}
