"""Run the papers' experiments: `python -m paper [NAME ...] [--size tiny|hour|full] [--estimate]`.

A name is an experiment, the number of a lesson (all of its experiments) or `all`. Without one they are listed. What a
run will take is measured before it starts; each finished cell is stored, and the same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from . import experiments, results, tables
from .estimate import duration, estimate
from .experiment import SIZES, Experiment
from .measure import choose_device
from .runner import missing, run

PROBLEMS = (RuntimeError, ValueError, OSError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and do what it says; exits with 1 where an experiment could not be run."""
    parser = argparse.ArgumentParser(prog="python -m paper", description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, numbers of lessons, or all")
    parser.add_argument(
        "--size", choices=SIZES, help="full where there is a GPU and hour where not, by default"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--estimate", action="store_true", help="say what it will take, and do not run it")
    parser.add_argument("--write", action="store_true", help="write what is stored into the lessons")
    parser.add_argument(
        "--folder", type=Path, default=results.FOLDER, help="where results are stored; %(default)s"
    )
    given = parser.parse_args(arguments)
    try:
        chosen = choose(given.names)
        device = choose_device(given.device)
        size = given.size or ("hour" if device.type == "cpu" else "full")
        if size == "full" and device.type == "cpu" and given.device == "auto" and not given.estimate:
            raise ValueError(
                "There is no GPU here, and full sizes are made for one. Use --size hour, what two cores do in an "
                "hour, or insist with --device cpu; --estimate says how long it would take."
            )
    except ValueError as error:
        parser.error(str(error))
    if given.write:
        from . import lessons  # what only they need is not everywhere installed

        for path in lessons.write(folder=given.folder):
            print(f"{path.relative_to(lessons.ROOT)} is up to date now.")
    elif not chosen:
        print(listing(given.folder))
    failed = [each.name for each in chosen if not _attempt(each, size, device, given)]
    if failed:
        sys.exit(1)


def choose(names: Sequence[str]) -> list[Experiment]:
    """The experiments of these names, in the order of the lessons. Raises ValueError for a name that is none."""
    every = [experiments.load(name) for name in experiments.NAMES]
    for name in names:
        if name != "all" and not any(name in (each.name, each.lesson) for each in every):
            units = ", ".join(dict.fromkeys(each.lesson for each in every))
            raise ValueError(
                f"Unknown experiment {name!r}; choose from {', '.join(experiments.NAMES)}, all, "
                f"or a lesson's number ({units})."
            )
    return [each for each in every if {"all", each.name, each.lesson} & {*names}]


def listing(folder: Path = results.FOLDER) -> str:
    """What there is, and what is stored of it."""
    lines = []
    for each in map(experiments.load, experiments.NAMES):
        lines.append(f"{each.name}, lesson {each.lesson}: {each.question}\n    {each.source}.")
        for size in SIZES:
            cells, stored = each.cells(size), results.read(each, size, folder)["cells"]
            took = sum(cell["seconds"] for cell in stored)
            known = f", {len(stored)} stored, which took {duration(took)}" if stored else ""
            lines.append(f"    {size:5} {len(cells)} cell{'s' * (len(cells) != 1)}{known}")
    lines.append(
        "\npython -m paper NAME runs one, --estimate measures what it will take, --size says how large."
    )
    return "\n".join(lines)


def _attempt(experiment: Experiment, size: str, device: torch.device, given: argparse.Namespace) -> bool:
    """Estimate and run one experiment; whether it could be. The others go on where one cannot."""
    try:
        cells = missing(experiment, size, given.folder)
        total = len(experiment.cells(size))
        said = f"{experiment.name}, size {size} on {device}: {len(cells)} of {total} cells to do"
        if cells or given.estimate:
            print(f"{said}; measuring a short run ...", flush=True)
            expected = estimate(experiment, size, device, cells or experiment.cells(size))
            print(f"{said}, {expected}, by a short run of {duration(expected.spent)}.", flush=True)
        if not given.estimate:
            print(tables.table(experiment, run(experiment, size, device, given.folder)), "\n", flush=True)
    except KeyboardInterrupt:
        sys.exit(f"\nStopped. Finished cells of {experiment.name} are stored: the same command goes on.")
    except PROBLEMS as error:
        embedded = "" if size == "tiny" else " (--size tiny needs no data that are not embedded.)"
        missing_data = "BDL_DATA" in str(error)
        print(f"{experiment.name}: {error}{embedded * missing_data}", file=sys.stderr, flush=True)
        return False
    return True


if __name__ == "__main__":
    main()
