"""One figure that bounds what a computation holds beside its data and its result, and a word before a result that
does not fit.

A pass through a network holds the activations of every layer; `PASS` bounds the widest of them, for all rows and data
of the pass together. What is kept between passes to be summed or averaged, such as function values or Jacobians, may
take all of `WORKSPACE`. Neither changes a result beyond rounding.
"""

from __future__ import annotations

import psutil
import torch
from torch import Tensor

WORKSPACE = 2**26  # bytes, 64 MB
PASS = WORKSPACE // 8  # larger passes leave the processor's cache, smaller ones are many


def values_in(size: int, like: Tensor) -> int:
    """How many values of this dtype `size` bytes hold."""
    return max(1, size // like.element_size())


def available(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def is_small(count: int, like: Tensor) -> bool:
    """Whether `count` values of this dtype may be kept beside everything else: in a quarter of what is free."""
    return count * like.element_size() <= max(WORKSPACE, available(like.device) // 4)


def must_fit(count: int, like: Tensor, what: str, advice: str) -> None:
    """Raise MemoryError when `count` values of this dtype do not fit, before the work that would fill them.

    A process that takes more than there is gets killed by the system, with everything that it has computed.

    Args:
        count: of values.
        like: a tensor of their dtype, on their device.
        what: they are, for the message, such as "400 draws of 1,000,000 weights".
        advice: how to need fewer.
    """
    needed = count * like.element_size()
    if needed <= WORKSPACE:
        return
    free = available(like.device)
    if needed > free:
        raise MemoryError(
            f"{what} take {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free on {like.device}. {advice}"
        )
