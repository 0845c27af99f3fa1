"""Results as one JSON file per experiment and size, which grows by a cell at a time.

    {"experiment", "size", "settings", "machines": [...], "cells": [{"cell", "records", "machine", "date",
     "seconds", "cpu_seconds", "megabytes"}, ...]}

`machine` is a place in `machines`: a run may be stopped on one and go on on another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bdlcore._support import files

from .experiment import Experiment, Record
from .measure import Cost

FOLDER = Path(__file__).parent / "results"


class OtherSettings(ValueError):
    """What is stored was computed with other settings than the present ones."""


def path_of(name: str, size: str, folder: Path = FOLDER) -> Path:
    """Where results are stored."""
    return folder / f"{name}_{size}.json"


def read(experiment: Experiment, size: str, folder: Path = FOLDER) -> dict:
    """What is stored, or an empty result. Raises OtherSettings, or ValueError for a file that is something else."""
    path, settings = path_of(experiment.name, size, folder), _plain(experiment.settings(size))
    if not path.exists():
        return {
            "experiment": experiment.name,
            "size": size,
            "settings": settings,
            "machines": [],
            "cells": [],
        }
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        stored = result["settings"]
        result["machines"], result["cells"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} does not hold results of an experiment ({type(error).__name__}: {error}). Remove it."
        ) from error
    if stored != settings:
        names = [name for name in stored.keys() | settings.keys() if stored.get(name) != settings.get(name)]
        changed = ", ".join(
            f"{name}: {stored.get(name)!r} there, {settings.get(name)!r} now" for name in sorted(names)
        )
        raise OtherSettings(
            f"{path} holds results of other settings ({changed}), with which new ones are not mixed. Move or remove "
            "the file to start anew, or put the settings back to go on."
        )
    return result


def done(result: Mapping) -> list[dict]:
    """The cells that are stored."""
    return [each["cell"] for each in result["cells"]]


def add(
    experiment: Experiment,
    size: str,
    folder: Path,
    machine: Mapping,
    cell: Mapping,
    records: list[Record],
    cost: Cost,
) -> dict:
    """Store a finished cell beside those that are there by now; returns all of them."""
    result = read(experiment, size, folder)
    if machine not in result["machines"]:
        result["machines"].append(machine)
    entry = {
        "cell": dict(cell),
        "records": [{name: _finite(value) for name, value in record.items()} for record in records],
        "machine": result["machines"].index(machine),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(cost.seconds, 2),
        "cpu_seconds": round(cost.cpu_seconds, 2),
        "megabytes": round(cost.megabytes),
    }
    order = [*map(_plain, experiment.cells(size))]
    cells = [each for each in result["cells"] if each["cell"] != entry["cell"]] + [entry]
    result["cells"] = sorted(cells, key=lambda each: order.index(each["cell"]))
    folder.mkdir(parents=True, exist_ok=True)
    files.save_json(path_of(experiment.name, size, folder), result)
    return result


def _finite(value: object) -> object:
    """JSON has no NaN and no infinity: null, which tables show as a dash. Five digits of numbers are enough."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _plain(value: object) -> object:
    """As it comes back from JSON."""
    return json.loads(json.dumps(value))
