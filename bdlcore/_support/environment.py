"""The environment variables that the course listens to, read here and nowhere else.

BDL_SCALE     "small" (default) or "paper": the size of experiments that have two
BDL_SEED      0 (default), 1, 2, ...: other random numbers for everything
BDL_DATA      folder of larger data sets; .cache/bdlcore in the user's home by default
BDL_SOLVED    file that lists the exercises solved, .bdl/solved.json in the user's home by default; 0 keeps none
BDL_PROGRESS  0 turns progress bars off
BDL_WORKERS   processes that share the seeds of an experiment; two by default, where there are two cores; 1 for none

RANK, WORLD_SIZE and TORCHELASTIC_RESTART_COUNT are torchrun's: the number of this process, from 0; how many there are;
and how often it has started them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

SCALES = ("small", "paper")


def scale() -> str:
    """BDL_SCALE."""
    value = os.environ.get("BDL_SCALE") or "small"
    if value not in SCALES:
        raise ValueError(f"The environment variable BDL_SCALE must be one of {SCALES}, got {value!r}.")
    return value


def seed_shift() -> int:
    """What is added to every seed of a lesson: 1,000 times BDL_SEED, so that no two settings share a seed."""
    value = os.environ.get("BDL_SEED") or "0"
    if not value.isdecimal():
        raise ValueError(
            f"The environment variable BDL_SEED must be a whole number, 0 or more; got {value!r}."
        )
    return 1000 * int(value)


def data_folder() -> Path:
    """Where larger data sets are looked for, and downloaded to: BDL_DATA, or .cache/bdlcore in the user's home."""
    return Path(os.environ.get("BDL_DATA") or Path.home() / ".cache" / "bdlcore")


def solved_file() -> Path | None:
    """BDL_SOLVED; None where no record is to be kept."""
    value = os.environ.get("BDL_SOLVED") or ""
    return None if value == "0" else Path(value or Path.home() / ".bdl" / "solved.json")


def workers() -> int:
    """BDL_WORKERS."""
    value = os.environ.get("BDL_WORKERS") or ""
    if not value:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(2, cores)
    if not value.isdecimal() or int(value) == 0:
        raise ValueError(
            f"The environment variable BDL_WORKERS must be a whole number, 1 or more; got {value!r}."
        )
    return int(value)


def processes() -> int:
    """WORLD_SIZE, 1 where nothing has started several processes."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def restarts() -> int:
    """TORCHELASTIC_RESTART_COUNT, 0 where torchrun has not started these processes."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0)


def first_process() -> bool:
    """Whether RANK is 0, or not set."""
    return (os.environ.get("RANK") or "0") == "0"


def progress_shown() -> bool:
    """Whether BDL_PROGRESS leaves progress bars on."""
    return os.environ.get("BDL_PROGRESS", "1") != "0"
