"""A stack of weights: S settings of one network as the rows of a matrix.

Rows are *prior-whitened*: with the prior w_d ~ N(0, s_d^2) a row holds theta_d = w_d / s_d, so theta ~ N(0, I)
whatever the prior. Every source (prior draws, HMC, ensembles, ...) makes such a matrix and every user
(predictions, correlations, plots) takes one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from .._support import files, validate


@dataclass(frozen=True)
class Layout:
    """What each column of a stack is: parameter names, shapes and prior standard deviations, in order.

    Attributes:
        names: parameter names as in `network.state_dict()`.
        shapes: their shapes.
        stds: their prior standard deviations; a weight is theta times its std.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    stds: tuple[float, ...]

    @cached_property
    def sizes(self) -> list[int]:
        """Number of values in each parameter."""
        return [math.prod(shape) for shape in self.shapes]

    @cached_property
    def dim(self) -> int:
        """D, the number of weights of one network."""
        return sum(self.sizes)

    def record(self) -> dict:
        """The layout as plain JSON types."""
        return {"names": self.names, "shapes": self.shapes, "stds": self.stds}

    @classmethod
    def from_record(cls, record: dict) -> Layout:
        """The inverse of `record`."""
        shapes = tuple(tuple(shape) for shape in record["shapes"])
        return cls(tuple(record["names"]), shapes, tuple(record["stds"]))

    def scale(self, like: Tensor) -> Tensor:
        """Prior standard deviation of every weight, shape (D,), on the device and in the dtype of `like`."""
        return _scale(self, like.dtype, like.device)

    def unflatten(self, weights: Tensor) -> dict[str, Tensor]:
        """Split (S, D) weights into a mapping from name to (S, *shape)."""
        parts = weights.split(self.sizes, dim=1)
        return {n: p.reshape(-1, *shape) for n, shape, p in zip(self.names, self.shapes, parts, strict=True)}


@lru_cache(maxsize=64)
def _scale(layout: Layout, dtype: torch.dtype, device: torch.device) -> Tensor:
    stds = torch.tensor(layout.stds, dtype=dtype, device=device)
    return stds.repeat_interleave(torch.tensor(layout.sizes, device=device))


@dataclass(frozen=True, eq=False)
class Stack:
    """S weight settings of one network.

    Attributes:
        theta: (S, D) whitened weights, theta = w / prior std.
        layout: what the D columns are.
    """

    theta: Tensor
    layout: Layout

    def __post_init__(self):
        if self.theta.ndim != 2 or self.theta.shape[1] != self.layout.dim:
            raise ValueError(
                f"theta must have shape (S, {self.layout.dim}) for this layout, got {tuple(self.theta.shape)}. "
                "A stack belongs to the network and prior that made it."
            )

    @property
    def weights(self) -> Tensor:
        """(S, D) weights in the network's own units, w = theta * prior std."""
        return self.theta * self.layout.scale(self.theta)

    def named(self) -> dict[str, Tensor]:
        """Mapping from parameter name to its (S, *shape) weights."""
        return self.layout.unflatten(self.weights)

    def __len__(self) -> int:
        return self.theta.shape[0]

    def __getitem__(self, rows: int | slice | Tensor | list[int]) -> Stack:
        """A stack of the chosen rows; an integer gives a stack of one row."""
        if isinstance(rows, int):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of a stack of {len(self)}")
            rows = [rows]
        return Stack(self.theta[rows], self.layout)

    def __iter__(self) -> Iterator[Stack]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        s, d = self.theta.shape
        return f"Stack(S={s} settings, D={d} weights, {self.theta.dtype}, {self.theta.device})"

    def to(self, *args, **kwargs) -> Stack:
        """Move or convert, as `torch.Tensor.to`."""
        return Stack(self.theta.to(*args, **kwargs), self.layout)

    def state_dicts(self) -> list[dict[str, Tensor]]:
        """One `state_dict` per row, for `network.load_state_dict`."""
        named = self.named()
        return [{name: value[s].clone() for name, value in named.items()} for s in range(len(self))]

    @classmethod
    def from_state_dicts(cls, state_dicts: Iterable[Mapping[str, Tensor]], layout: Layout) -> Stack:
        """The inverse of `state_dicts`. Raises ValueError when names or shapes do not match the layout."""
        rows = []
        for state in state_dicts:
            found = {name: tuple(value.shape) for name, value in state.items()}
            wanted = dict(zip(layout.names, layout.shapes, strict=True))
            if found != wanted:
                wrong = sorted(set(found.items()) ^ set(wanted.items()))
                raise ValueError(f"state_dict does not fit the network; differing entries: {wrong}.")
            rows.append(torch.cat([state[name].reshape(-1) for name in layout.names]))
        if not rows:
            raise ValueError("state_dicts is empty; give at least one.")
        weights = torch.stack(rows)
        return cls(weights / layout.scale(weights), layout)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file; nothing is left behind if writing fails."""
        files.save(path, "stack", {"theta": self.theta}, self.layout.record())

    @classmethod
    def load(cls, path: str | Path) -> Stack:
        """Read what `save` wrote. Raises FileNotFoundError or ValueError."""
        tensors, facts = files.load(path, "stack")
        return cls(tensors["theta"], Layout.from_record(facts))


def concatenate(stacks: Iterable[Stack]) -> Stack:
    """All rows of several stacks of the same network and prior, in order (a mixture of posteriors)."""
    stacks = list(stacks)
    if not stacks:
        raise ValueError("concatenate needs at least one stack.")
    if any(stack.layout != stacks[0].layout for stack in stacks):
        raise ValueError("These stacks belong to different networks or priors and cannot be concatenated.")
    return Stack(torch.cat([stack.theta for stack in stacks]), stacks[0].layout)


def check_stack(stack: Stack, layout: Layout, x: Tensor) -> None:
    """Require that the stack belongs to the model and shares dtype and device with x."""
    validate.inputs("x", x)
    if not isinstance(stack, Stack):
        raise TypeError(
            f"stack must be a bdlcore Stack, got {type(stack).__name__}. model.sample_prior(S) makes one."
        )
    if stack.layout != layout:
        raise ValueError(
            f"This stack (D={stack.layout.dim}) does not belong to this model (D={layout.dim}): parameter names, "
            "shapes or prior stds differ. Use the model that made the stack."
        )
    if stack.theta.dtype != x.dtype or stack.theta.device != x.device:
        raise ValueError(
            f"x is {x.dtype} on {x.device} but the stack is {stack.theta.dtype} on {stack.theta.device}. "
            "Convert one of them, for example stack.to(x)."
        )
