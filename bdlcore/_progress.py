"""Progress bars that appear only for work that takes a while, and never in saved notebooks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator


def progress(steps: int, description: str) -> Iterator[int]:
    """Iterate over range(steps) with a bar once two seconds have passed. BDL_PROGRESS=0 turns bars off.

    Work in a thread beside the main one has no bar: there is no cell that it would belong to.
    """
    from tqdm.auto import tqdm

    beside = threading.current_thread() is not threading.main_thread()
    disable = beside or os.environ.get("BDL_PROGRESS", "1") == "0"
    return iter(tqdm(range(steps), desc=description, leave=False, delay=2, disable=disable))
