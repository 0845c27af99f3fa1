"""Fair timing of several ways to do the same work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

# What takes part: something that works for a while and returns how much it did, or the reason why it is missing.
Contestant = Callable[[], float] | str


def race(
    contestants: Mapping[str, Contestant], *, rounds: int, seconds: float, clock: Callable[[], float]
) -> dict[str, list[float] | str]:
    """Speed (work per second) of each contestant in each round.

    Contestants take turns in one process, so that whatever else the machine does hits all of them alike: their
    ratio within a round means more than their speeds.

    Args:
        contestants: name -> what to call, or why it is missing (passed through).
        rounds: turns of each contestant.
        seconds: about how long a turn lasts; a contestant is called as often as fits, at least once.
        clock: `time.process_time` for one core, `time.perf_counter` where several cores share the work.
    """
    repeats = {name: _repeats(run, seconds) for name, run in contestants.items() if callable(run)}
    speeds = {name: [] if callable(run) else run for name, run in contestants.items()}
    for _ in range(rounds):
        for name, count in repeats.items():
            start = clock()
            work = sum(contestants[name]() for _ in range(count))
            speeds[name].append(work / (clock() - start))
    return speeds


def _repeats(run: Callable[[], float], seconds: float) -> int:
    """Calls that fill a turn, after warming up (caches, compilation, allocator)."""
    run()
    count, took = 0, 0.0
    while took < 0.2 * seconds:
        start = time.perf_counter()
        run()
        count, took = count + 1, took + time.perf_counter() - start
    return max(1, round(count * seconds / took))


def best(speeds: list[float]) -> float:
    """Speed in the best round, the one least disturbed."""
    return max(speeds)


def ratio(speeds: list[float], base: list[float]) -> float:
    """How many times faster than `base`: the median over rounds, each round compared with itself."""
    return statistics.median(s / b for s, b in zip(speeds, base, strict=True))
