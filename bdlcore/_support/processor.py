"""What processor this is."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch


@cache
def name() -> str:
    """Its name where the system tells it, else its kind."""
    return _told("model name") or platform.processor() or platform.machine()


@cache
def vector_functions_are_slow() -> bool:
    """Whether PyTorch's tanh takes ten times as long as it needs, on a processor that is not Intel's.

    PyTorch leaves tanh, exp, log, sin and erf of floats to Intel's MKL where it was built with it, whose code of these
    is slow on other makers' processors. What PyTorch computes itself, such as the sigmoid, is fast on all.
    """
    maker = _told("vendor_id") or platform.processor()
    return torch.backends.mkl.is_available() and "GenuineIntel" not in maker


def _told(key: str) -> str:
    """What Linux tells of the first core, or nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
