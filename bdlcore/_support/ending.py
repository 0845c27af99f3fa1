"""Ctrl-C, and being asked to end, as torchrun and the schedulers of clusters do: work is put away first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ASKED = [signal.SIGINT, signal.SIGTERM]


class Ending:
    """`with Ending() as ending:` the first of these signals raises KeyboardInterrupt, and further ones do nothing.

    One that comes within `with ending.held():` waits for its end. In a thread beside the main one, where Python
    delivers no signals, nothing changes.
    """

    def __enter__(self) -> Ending:
        self.asked = self.holding = False
        here = threading.current_thread() is threading.main_thread()
        self.before = {number: signal.signal(number, self._ask) for number in ASKED} if here else {}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        first, self.asked = not self.asked, True
        if first and not self.holding:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """What runs within is not interrupted."""
        before, self.holding = self.asked, True
        try:
            yield
        finally:
            self.holding = False
        if self.asked and not before:
            raise KeyboardInterrupt
