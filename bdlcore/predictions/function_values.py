"""Values f (S, N, C) of S functions at N inputs, evaluated as many inputs at a time as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .._support import memory, validate


class FunctionValues:
    """What a likelihood makes a predictive of: f (S, N, C), all at once or some inputs at a time.

    Args:
        evaluate: rows of the inputs, a slice, to f (S, n, C) there.
        shape: (S, N, C).
        chunk_size: inputs at a time; when None, as many of N as `memory.WORKSPACE` bytes allow, in float32.
    """

    def __init__(
        self, evaluate: Callable[[slice], Tensor], shape: tuple[int, int, int], chunk_size: int | None = None
    ):
        S, N, C = self.shape = shape
        self.evaluate = evaluate
        if chunk_size is None:
            chunk_size = max(1, min(N, memory.WORKSPACE // (4 * S * C)))
        self.chunk_size = validate.count("chunk_size", chunk_size)

    @classmethod
    def of(cls, f: Tensor) -> FunctionValues:
        """Values that are there already, (S, N, C)."""
        return cls(lambda at: f[:, at], tuple(f.shape), f.shape[1])

    @property
    def fits(self) -> bool:
        """Whether all values may be held at once."""
        return self.shape[1] <= self.chunk_size

    def values(self) -> Tensor:
        """All of them, (S, N, C), whether they fit or not."""
        parts = [f for _, f in self.chunks()]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """(rows of the inputs, f (S, n, C) there) over all inputs, evaluated anew at every pass."""
        for start in range(0, self.shape[1], self.chunk_size):
            at = slice(start, min(start + self.chunk_size, self.shape[1]))
            yield at, self.evaluate(at)
