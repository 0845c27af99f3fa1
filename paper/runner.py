"""Run an experiment cell by cell; a run that was stopped goes on with the cells that are missing."""

from __future__ import annotations

from pathlib import Path

import torch

from bdlcore._support.environment import progress_shown
from bdlcore._support.progress import noting_interrupts

from . import results
from .experiment import Experiment
from .measure import Cost, machine


def missing(experiment: Experiment, size: str, folder: Path = results.FOLDER) -> list[dict]:
    """The cells that are not stored. Raises OtherSettings where stored ones were computed otherwise."""
    stored = results.done(results.read(experiment, size, folder))
    return [cell for cell in experiment.cells(size) if cell not in stored]


def run(experiment: Experiment, size: str, device: torch.device, folder: Path = results.FOLDER) -> dict:
    """Compute the missing cells, each stored as soon as it is finished; returns all results.

    Ctrl-C loses the cell that it comes in, and nothing else.
    """
    from tqdm.auto import tqdm

    todo, where = missing(experiment, size, folder), machine(device)
    total = len(experiment.cells(size))
    bar = tqdm(
        todo, desc=experiment.name, initial=total - len(todo), total=total, disable=not progress_shown()
    )
    for cell in bar:
        bar.set_postfix(cell)
        if cell not in missing(experiment, size, folder):  # another run, started meanwhile, was faster
            continue
        with noting_interrupts() as interrupted, Cost(device) as cost:
            records = experiment.run(experiment.settings(size), cell, device)
        if interrupted:  # a method returned what it had: no result of these settings
            raise KeyboardInterrupt
        results.add(experiment, size, folder, where, cell, records, cost)
    return results.read(experiment, size, folder)
