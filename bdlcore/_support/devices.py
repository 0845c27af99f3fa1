"""What devices differ in: some have no float64 for where float32 is too coarse, and some must be waited for."""

from __future__ import annotations

import torch
from torch import Tensor

WITHOUT_DOUBLE = {"mps"}  # types of device that have no float64: Apple's
LOOKS = 50  # steps from one look at whether values are still finite to the next: each makes a GPU wait


def double(values: Tensor) -> Tensor:
    """In float64, on the same device or, where that has none, on the CPU; `.to(like)` brings results back."""
    if values.device.type in WITHOUT_DOUBLE:
        values = values.cpu()
    return values.double()


def double_zeros(*shape: int, device: torch.device) -> Tensor:
    """Zeros where `double` would put values of this device."""
    return torch.zeros(*shape, dtype=torch.float64, device="cpu" if device.type in WITHOUT_DOUBLE else device)
