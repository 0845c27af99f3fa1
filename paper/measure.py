"""Where an experiment ran, how long it took and how much memory it needed."""

from __future__ import annotations

import os
import platform
import threading
import time
from importlib import metadata

import psutil
import torch

from bdlcore._support import processor

PACKAGES = ("bdlcore", "torch", "torchvision", "numpy", "scikit-learn", "scikit-image")


def choose_device(name: str) -> torch.device:
    """The device called `name`, or with "auto" the first GPU, or else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(
            f"There is no device {name!r} here ({said}). Use auto, cpu, or cuda with a GPU."
        ) from error
    return device


def machine(device: torch.device) -> dict[str, object]:
    """What a reader needs to know of the machine to read seconds and values."""
    found = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor.name(),
        "kind": device.type,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }
    return found | {package: metadata.version(package) for package in PACKAGES}


class Cost:
    """`with Cost(device) as cost:` measures what is done inside.

    Attributes:
        seconds: wall time.
        cpu_seconds: time that this process computed, over all its cores.
        megabytes: the most memory that the process held, and on a GPU what its tensors took there beside that.
    """

    every = 0.02  # seconds from one look at the memory to the next

    def __init__(self, device: torch.device):
        self.device, self.process = device, psutil.Process()
        self.seconds = self.cpu_seconds = self.megabytes = 0.0

    def __enter__(self) -> Cost:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        self.done = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self._look()
        self.watcher.start()
        self.started, self.computed = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds = time.perf_counter() - self.started
        self.cpu_seconds = time.process_time() - self.computed
        self.done.set()
        self.watcher.join()
        self._look()
        if self.device.type == "cuda":
            self.megabytes += torch.cuda.max_memory_allocated(self.device) / 1e6

    def _look(self) -> None:
        self.megabytes = max(self.megabytes, self.process.memory_info().rss / 1e6)

    def _watch(self) -> None:
        while not self.done.wait(self.every):
            self._look()
