"""What every notebook's set-up cell needs: device, scale, seeds and plot style in one call."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits

from .. import data
from .._support import environment, validate
from .._support.side_by_side import Result, Value, side_by_side


@dataclass(frozen=True)
class Setup:
    """Where and at what scale a notebook runs.

    Attributes:
        device: "cuda" when there is a GPU and the scale is "paper", else "cpu": small networks are faster
            there.
        scale: "small" (a laptop, the default) or "paper"; see `bdlcore._support.environment`.
        seed_shift: added to every seed.
    """

    device: torch.device
    scale: str
    seed_shift: int

    def seeds(self, n: int) -> list[int]:
        """The n seeds that a claim is measured over."""
        return [self.seed_shift + i for i in range(n)]

    def each(self, function: Callable[[Value], Result], values: Iterable[Value]) -> list[Result]:
        """[function(value) for value in values], on two cores at once where there are: the seeds of an experiment.

        The results are the same. Each core has a process of its own, which copies the function and what it refers to,
        and takes as much memory as a small lesson; the environment variable BDL_WORKERS says how many there may be. On
        a GPU there are none.
        """
        if self.device.type == "cpu":
            return side_by_side(function, values)
        return [function(value) for value in values]

    def images(self, n: int, seed: int, flatten: bool = False) -> data.Split:
        """n handwritten digits, and others to test on: scikit-learn's (`data.digits`), at paper scale MNIST's."""
        source = data.mnist if self.scale == "paper" else data.digits
        return source(n, seed, flatten=flatten)

    @property
    def image_side(self) -> int:
        """Pixels along a side of `images`."""
        return 28 if self.scale == "paper" else 8

    @property
    def image_set(self) -> str:
        """What `images` are, in the words of a claim's regime."""
        return "MNIST" if self.scale == "paper" else "8×8 digits"

    @property
    def same_images(self) -> str:
        """What stays fixed where a claim speaks about splits of `images`."""
        return "the images of MNIST" if self.scale == "paper" else "the same 1,797 images"

    def __repr__(self) -> str:
        threads = torch.get_num_threads()
        shift = f", seeds shifted by {self.seed_shift}" if self.seed_shift else ""
        return f"PyTorch {torch.__version__} on {self.device}, {threads} CPU thread(s), scale {self.scale!r}{shift}"


def setup(threads: int | None = 1) -> Setup:
    """Read BDL_SCALE and BDL_SEED, choose the device, set the plot style, let the allocator keep freed memory.

    Args:
        threads: of PyTorch, and of the BLAS of NumPy and SciPy, at small scale; None leaves them their own choice,
            which is faster where networks convolve pictures. Where tensors are small a second thread waits for the
            first more than it computes: with two, a lesson of 91 seconds has taken 407. Cores then are for
            `Setup.each`.
    """
    from . import plots

    if threads is not None:
        validate.count("threads", threads)

    scale, shift = environment.scale(), environment.seed_shift()
    plots.use_style()
    _keep_freed_memory()
    if scale == "small" and threads is not None:
        torch.set_num_threads(threads)
        threadpool_limits(threads)
        for library in ("OPENBLAS", "OMP", "MKL"):  # for those that are loaded later: SciPy's, scikit-learn's
            os.environ.setdefault(f"{library}_NUM_THREADS", str(threads))
    device = torch.device("cuda" if scale == "paper" and torch.cuda.is_available() else "cpu")
    return Setup(device, scale, shift)


def _keep_freed_memory() -> None:
    """With glibc, keep freed blocks instead of returning them to the system.

    A sampler frees and allocates the same few megabytes at every step; without this the kernel hands out
    zeroed pages each time, which costs HMC on a small network about a quarter of its time.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt, trim_threshold, mmap_threshold = ctypes.CDLL(None).mallopt, -1, -3
        mallopt(trim_threshold, 2**28)
        mallopt(mmap_threshold, 2**25)
