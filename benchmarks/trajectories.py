"""Training networks for the motion of a double pendulum: a stack of 8 against one after another.

Counted are steps of single networks: a gradient of roll-outs of 4 times 0.03 s from 40 states, and Adam. A stack takes
8 such steps at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

import bdlcore as bdl
from bdlcore import dynamics

from .race import Contestant, race
from .report import table

TITLE = "Learning motion: roll-outs trained as a stack"
LOOP = "one after another"
MEMBERS = 8
SYSTEM = dynamics.pendulum(2)
FIELDS = {
    "CHNN": lambda: dynamics.ConstrainedHamiltonian(SYSTEM.constraints, 32),
    "HNN in angles": lambda: dynamics.AngleHamiltonian(SYSTEM.coordinates, 23),
}


def contestants(field: str, steps: int) -> dict[str, Contestant]:
    """The same 8 networks on 8 data sets, trained together or one by one."""
    network = dynamics.RollOut(FIELDS[field](), 0.03, 4)
    model = bdl.Model(network, bdl.GaussianPrior(1.0, fan_in=True), bdl.Gaussian(0.1))
    motion = SYSTEM.simulate(SYSTEM.start(MEMBERS * 40, 0), 0.03 * torch.arange(6).double(), 1e-7)
    x, y = (part.float().unflatten(0, (MEMBERS, 40)) for part in dynamics.chunks(motion, 4, 0))

    def train(x: torch.Tensor, y: torch.Tensor) -> None:
        dynamics.train_each(model, x, y, steps=steps, lr=0.1, batch_size=40)

    def together() -> int:
        train(x, y)
        return MEMBERS * steps

    def alone() -> int:
        for a, b in zip(x, y, strict=True):
            train(a[None], b[None])
        return MEMBERS * steps

    return {LOOP: alone, "bdlcore, a stack of 8": together}


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Race the two ways for a constrained network and one in angles."""
    steps, rounds, seconds = (1, 1, 0.01) if quick else (4, 4, 1.0)
    cases = {
        name: race(contestants(name, steps), rounds=rounds, seconds=seconds, clock=clock) for name in FIELDS
    }
    rows, text = table(cases, base=LOOP)
    text += (
        "\n\nSteps of single networks per second. In brackets: how many times the loop's speed, median of "
        f"{rounds} rounds taken in turns."
    )
    return {"title": TITLE, "rows": rows, "text": text}
