"""How long will it take, and how much memory? Measured on a short run of the same code, before the long one.

A cell is run with a small share s of the work: those of its settings that the time grows with (`Experiment.scaled`)
are scaled down together, and all others, such as the network and its data, stay. The share grows until such a run
takes a second, and twice as long as the smallest one: what grows would be lost in noise before. What else a machine
does only adds to a run, so that each is made twice and the shorter counts. To them

    seconds(s) = sum_k c_k s^k,   c_k >= 0,   with the powers k of `Experiment.seconds`,

is fitted by least squares of relative errors, and seconds(1) is what the cell takes; memory likewise. Cells that
differ only in what does not change their cost (`Experiment.kinds`) are measured once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .experiment import Experiment
from .measure import Cost

ENOUGH = 1.0  # seconds of the longest short run
GROWN = 2.0  # times what the first one costs: below that the slope may be noise
LONGER = 3.0  # times the work of the run before
FIRST_ENOUGH = 30.0  # seconds of a first run after which there is no second


@dataclass(frozen=True)
class Estimate:
    """What cells are expected to take together.

    Attributes:
        seconds, cpu_seconds: wall time, and computing time over all cores.
        megabytes: the most memory that the process needs at a time.
        spent: seconds that measuring took.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float
    spent: float

    def __str__(self) -> str:
        return f"about {duration(self.seconds)} and {self.megabytes / 1000:.1f} GB"


def estimate(
    experiment: Experiment,
    size: str,
    device: torch.device,
    cells: Sequence[Mapping],
    *,
    enough: float = ENOUGH,
) -> Estimate:
    """What these cells take on this device. Runs short ones, and stores nothing."""
    kinds: dict[tuple, Mapping] = {}
    counts = Counter(experiment.kind(cell) for cell in cells)
    for cell in cells:
        kinds.setdefault(experiment.kind(cell), cell)
    seconds = cpu_seconds = megabytes = 0.0
    started = time.perf_counter()
    for kind, cell in kinds.items():
        shares, costs = _short_runs(experiment, size, device, cell, enough)
        seconds += counts[kind] * _whole(shares, [cost.seconds for cost in costs], experiment.seconds)
        cpu_seconds += counts[kind] * _whole(shares, [cost.cpu_seconds for cost in costs], experiment.seconds)
        megabytes = max(
            megabytes, _whole(shares, [cost.megabytes for cost in costs], experiment.memory, kept=True)
        )
    return Estimate(seconds, cpu_seconds, megabytes, time.perf_counter() - started)


def _short_runs(
    experiment: Experiment, size: str, device: torch.device, cell: Mapping, enough: float
) -> tuple[list[float], list[Cost]]:
    """Shares and costs of runs of a cell, from the smallest that there is."""
    settings = experiment.settings(size)
    least = {name: min(low, settings[name]) for name, low in experiment.scaled.items()}
    share = max(low / settings[name] for name, low in least.items())
    shares, costs = [], []
    while True:
        part = {name: max(low, round(share * settings[name])) for name, low in least.items()}
        twice = []
        if not costs:  # the first run of all loads data and libraries, and does not count
            experiment.run({**settings, **part}, cell, device)
        for _ in range(2):
            with Cost(device) as cost:
                experiment.run({**settings, **part}, cell, device)
            twice.append(cost)
            if cost.seconds > FIRST_ENOUGH:
                break
        cost = min(twice, key=lambda each: each.cpu_seconds)
        costs.append(cost)
        shares.append(float(np.mean([part[name] / settings[name] for name in part])))
        grown = cost.seconds >= max(enough, GROWN * costs[0].seconds)
        if share >= 1 or cost.seconds > FIRST_ENOUGH or (grown and len(costs) > 1):
            return shares, costs
        share = min(1.0, LONGER * share)


def _whole(
    shares: Sequence[float], costs: Sequence[float], powers: Sequence[int], kept: bool = False
) -> float:
    """The cost at share 1, by the last two runs; from a single run as if all of it grew, or, with `kept`, nothing."""
    from scipy.optimize import nnls

    s, y = np.array(shares[-2:]), np.maximum(costs[-2:], 1e-6)
    if s[-1] >= 1 or (len(s) == 1 and kept):
        return float(y[-1])
    if len(s) == 1:
        return float(y[-1] / s[-1] ** max(powers))
    design = s[:, None] ** np.array(powers)
    return float(nnls(design / y[:, None], np.ones(len(y)))[0].sum())


def duration(seconds: float) -> str:
    """In the unit that suits it."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
