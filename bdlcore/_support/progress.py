"""Progress bars that appear only for work that takes a while, and warnings that point at the caller's line."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .environment import first_process, progress_shown

_PACKAGE = str(Path(__file__).parents[1])


def progress(steps: int, description: str) -> Iterator[int]:
    """Iterate over range(steps) with a bar once two seconds have passed. BDL_PROGRESS=0 turns bars off.

    Work in a thread beside the main one has no bar, since there is no cell that it would belong to; of several
    processes the first has one.
    """
    from tqdm.auto import tqdm

    beside = threading.current_thread() is not threading.main_thread()
    hidden = beside or not progress_shown() or not first_process()
    return iter(tqdm(range(steps), desc=description, leave=False, delay=2, disable=hidden))


def warn(message: str) -> None:
    """A warning that points at the line outside bdlcore which led here, however many calls away it is."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


_NOTED: list[list[str]] = []  # lists of whoever wants to know


@contextmanager
def noting_interrupts() -> Iterator[list[str]]:
    """What was kept at each interrupt that ended quietly within: empty where there was none."""
    noted: list[str] = []
    _NOTED.append(noted)
    try:
        yield noted
    finally:
        _NOTED.pop()


class Interruptible:
    """`with Interruptible(done):` ends quietly on KeyboardInterrupt, where `done()` says what is kept.

    `done` gives a sentence about what has been made so far, or "" for nothing: then the interrupt goes on.
    """

    def __init__(self, done: Callable[[], str]):
        self.done = done

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: object, traceback: object) -> bool:
        kept = self.done() if kind is KeyboardInterrupt else ""
        if kept:
            for noted in _NOTED:
                noted.append(kept)
            warn(f"Interrupted: {kept}")
        return bool(kept)
