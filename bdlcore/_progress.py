"""Progress bars that appear only for work that takes a while, and never in saved notebooks."""

from __future__ import annotations

import os
from collections.abc import Iterator


def progress(steps: int, description: str) -> Iterator[int]:
    """Iterate over range(steps) with a bar once two seconds have passed. BDL_PROGRESS=0 turns bars off."""
    from tqdm.auto import tqdm

    disable = os.environ.get("BDL_PROGRESS", "1") == "0"
    return iter(tqdm(range(steps), desc=description, leave=False, delay=2, disable=disable))
