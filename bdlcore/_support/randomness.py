"""Randomness that does not depend on how rows are grouped.

Every row of a stack (a chain, a member, a draw) has its own generator, seeded from (seed, row). A stacked run
of S rows therefore equals S runs of one row, on one device or on many, and row 7 of 8 equals row 7 of 1,000.
Numbers are drawn on the CPU and moved, so a CPU and a GPU run see the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def as_seed(seed: int | torch.Generator) -> int:
    """An integer seed, drawn from the generator when one is given. Never touches the global state."""
    if isinstance(seed, torch.Generator):
        return int(torch.randint(2**62, (), generator=seed, device=seed.device))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer or a torch.Generator, got {seed!r}.")
    return int(seed)


def generator(seed: int | torch.Generator, *stream: int) -> torch.Generator:
    """A CPU generator for the given seed and stream; different streams are independent."""
    return torch.Generator().manual_seed(derived(as_seed(seed), *stream))


def derived(seed: int, *stream: int) -> int:
    """The seed of a stream; different streams are independent."""
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of PyTorch (on the CPU), NumPy and `random` start at a seed, and afterwards are as before.

    For code of others that knows no other randomness, such as the transforms of images.
    """
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


class RowRandom:
    """One generator per row: `normal(D)` gives (S, D), `uniform()` gives (S,).

    `stream` separates uses of the same seed (initial values, momenta, ...), so that they do not share numbers.
    """

    def __init__(
        self,
        seed: int | torch.Generator,
        rows: Iterable[int],
        stream: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        seed = as_seed(seed)
        self.generators = [generator(seed, stream, row) for row in rows]
        self.dtype, self.device = dtype, device

    @property
    def state(self) -> Tensor:
        """Where each generator is, (S, bytes), for `restore`."""
        return torch.stack([g.get_state() for g in self.generators])

    def restore(self, state: Tensor) -> None:
        """Go on from a state."""
        for g, own in zip(self.generators, state.cpu(), strict=True):
            g.set_state(own.clone())  # a view of a larger tensor would crash it

    def normal(self, size: int) -> Tensor:
        """Standard normal numbers, shape (S, size)."""
        out = torch.empty(len(self.generators), size, dtype=self.dtype)
        for row, g in zip(out, self.generators, strict=True):
            row.normal_(generator=g)
        return out.to(self.device)

    def uniform(self) -> Tensor:
        """Uniform numbers in [0, 1), shape (S,)."""
        out = torch.empty(len(self.generators), dtype=self.dtype)
        for row, g in zip(out, self.generators, strict=True):
            row.uniform_(generator=g)
        return out.to(self.device)
