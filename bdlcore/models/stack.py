"""A stack of weights: S settings of one network as the rows of a matrix.

Rows are *prior-whitened*: with the prior w_d ~ N(m_d, s_d^2) a row holds theta_d = (w_d - m_d) / s_d, so
theta ~ N(0, I) whatever the prior. (m_d is 0 but for the gains of normalisation layers.) Every source (prior
draws, HMC, ensembles, ...) makes such a matrix and every user (predictions, correlations, plots) takes one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from numbers import Integral
from pathlib import Path

import torch
from torch import Tensor

from .._support import files, memory, validate
from ..likelihoods.protocol import OwnParameter

CENTRES = "centre."  # begins the name of a prior mean in a file
LIKELIHOODS = "likelihood."  # begins the name of a parameter that is the likelihood's and not the network's


@dataclass(frozen=True)
class Layout:
    """What each column of a stack is: parameter names, shapes, prior means and standard deviations, in order.

    Attributes:
        names: parameter names as in `network.state_dict()`.
        shapes: their shapes.
        stds: their prior standard deviations; a weight is its prior mean plus theta times its std.
        means: their prior means; 0 when left out.
        centres: prior means that are tensors, by name, in place of these numbers, such as trained weights.
        digest: of the centres, by which layouts with different ones differ.
        constants: what else belongs to the network's `state_dict`, frozen parameters and buffers; not part of equality
            and not written to files.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    stds: tuple[float, ...]
    means: tuple[float, ...] = ()
    centres: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    digest: str = field(default="", repr=False)
    constants: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self):
        if not self.means:
            object.__setattr__(self, "means", (0.0,) * len(self.names))
        if self.centres and not self.digest:
            digest = hashlib.sha256()
            for name in sorted(self.centres):
                digest.update(self.centres[name].double().cpu().contiguous().numpy().tobytes())
            object.__setattr__(self, "digest", digest.hexdigest())

    def beside(self, parameters: Iterable[OwnParameter]) -> Layout:
        """With the own parameters of a likelihood as last columns, "likelihood." before their names."""
        parameters = list(parameters)
        return replace(
            self,
            names=self.names + tuple(f"{LIKELIHOODS}{p.name}" for p in parameters),
            shapes=self.shapes + ((),) * len(parameters),
            stds=self.stds + tuple(p.std for p in parameters),
            means=self.means + tuple(p.mean for p in parameters),
        )

    @cached_property
    def sizes(self) -> list[int]:
        """Number of values in each parameter."""
        return [math.prod(shape) for shape in self.shapes]

    @cached_property
    def dim(self) -> int:
        """D, the number of weights of one network."""
        return sum(self.sizes)

    def must_fit(self, rows: int, like: Tensor, what: str, advice: str) -> None:
        """Raise MemoryError, before any work, when so many rows of weights do not fit in memory."""
        memory.must_fit(rows * self.dim, like, f"{rows:,} {what} of {self.dim:,} weights", advice)

    def record(self) -> dict:
        """The layout as plain JSON types."""
        facts = {"names": self.names, "shapes": self.shapes, "stds": self.stds, "means": self.means}
        return facts | {"digest": self.digest}

    @classmethod
    def from_record(cls, record: dict) -> Layout:
        """The inverse of `record`, but for tensors: centres and constants."""
        shapes = tuple(tuple(shape) for shape in record["shapes"])
        return cls(
            tuple(record["names"]),
            shapes,
            tuple(record["stds"]),
            tuple(record.get("means", ())),
            digest=record.get("digest", ""),
        )

    def scale(self, like: Tensor) -> Tensor:
        """Prior standard deviation of every weight, shape (D,), on the device and in the dtype of `like`."""
        return _repeated(self.stds, tuple(self.sizes), like.dtype, like.device)

    def weights(self, theta: Tensor) -> Tensor:
        """Weights (S, D) in the network's own units, w = prior mean + prior std * theta."""
        weights, mean = theta * self.scale(theta), self.mean(theta)
        return weights if mean is None else weights + mean

    def whitened(self, weights: Tensor) -> Tensor:
        """The inverse of `weights`."""
        mean = self.mean(weights)
        return (weights if mean is None else weights - mean) / self.scale(weights)

    def mean(self, like: Tensor) -> Tensor | None:
        """Prior mean of every weight, (D,), beside `like`; None where all are 0."""
        if not self.centres:
            return (
                _repeated(self.means, tuple(self.sizes), like.dtype, like.device) if any(self.means) else None
            )
        key = like.dtype, like.device
        if key not in self._means:
            parts = zip(self.names, self.shapes, self.means, strict=True)
            with torch.inference_mode(False):
                row = [
                    self.centres.get(n, torch.tensor(m)).to(like).expand(shape).flatten()
                    for n, shape, m in parts
                ]
                self._means[key] = torch.cat(row)
        return self._means[key]

    @cached_property
    def _means(self) -> dict[tuple[torch.dtype, torch.device], Tensor]:
        """What `mean` has made."""
        return {}

    def unflatten(self, weights: Tensor) -> dict[str, Tensor]:
        """Split (S, D) weights into a mapping from name to (S, *shape)."""
        parts = weights.split(self.sizes, dim=1)
        return {n: p.reshape(-1, *shape) for n, shape, p in zip(self.names, self.shapes, parts, strict=True)}


@lru_cache(maxsize=64)
def _repeated(
    values: tuple[float, ...], sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Each value as often as its parameter has weights, (D,)."""
    with torch.inference_mode(
        False
    ):  # a tensor made in inference mode could never take part in autograd again
        row = torch.tensor(values, dtype=dtype, device=device)
        return row.repeat_interleave(torch.tensor(sizes, device=device))


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
        """(S, D) weights in the network's own units, w = prior mean + prior std * theta."""
        return self.layout.weights(self.theta)

    def named(self) -> dict[str, Tensor]:
        """Mapping from parameter name to its (S, *shape) weights."""
        return self.layout.unflatten(self.weights)

    def __len__(self) -> int:
        return self.theta.shape[0]

    def __getitem__(self, rows: int | slice | Tensor | list[int]) -> Stack:
        """A stack of the chosen rows; an integer gives a stack of one row."""
        if isinstance(rows, Integral):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of a stack of {len(self)}")
            rows = [int(rows)]
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
        """One `state_dict` per row, for `network.load_state_dict`: its weights, and the network's constants.

        A parameter that belongs to the likelihood is one more entry, "likelihood." and its name, which
        `load_state_dict(..., strict=False)` passes over.
        """
        constants = {name: value.clone() for name, value in self.layout.constants.items()}
        named = self.named()
        return [
            constants | {name: value[s].clone() for name, value in named.items()} for s in range(len(self))
        ]

    @classmethod
    def from_state_dicts(cls, state_dicts: Iterable[Mapping[str, Tensor]], layout: Layout) -> Stack:
        """The inverse of `state_dicts`; constants may be left out, and for their prior means a likelihood's parameters.

        Raises ValueError when names or shapes do not match the layout, or a constant has another value.
        """
        rows, wanted = [], dict(zip(layout.names, layout.shapes, strict=True))
        own = {n: m for n, m in zip(layout.names, layout.means, strict=True) if n.startswith(LIKELIHOODS)}
        for state in state_dicts:
            state = {name: torch.tensor(mean) for name, mean in own.items()} | dict(state)
            found = {n: tuple(value.shape) for n, value in state.items() if n not in layout.constants}
            if found != wanted:
                wrong = sorted(set(found.items()) ^ set(wanted.items()))
                raise ValueError(f"state_dict does not fit the network; differing entries: {wrong}.")
            for name, value in layout.constants.items():
                if name in state and not torch.equal(state[name].to(value), value):
                    raise ValueError(
                        f"state_dict has another {name} than the model's network, where it is a constant (a buffer or "
                        "a frozen parameter). Load one state_dict into the network before making the model."
                    )
            like = state[layout.names[0]]
            rows.append(torch.cat([state[name].to(like).reshape(-1) for name in layout.names]))
        if not rows:
            raise ValueError("state_dicts is empty; give at least one.")
        return cls(layout.whitened(torch.stack(rows)), layout)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file; nothing is left behind if writing fails."""
        centres = {f"{CENTRES}{name}": value for name, value in self.layout.centres.items()}
        files.save(path, "stack", {"theta": self.theta} | centres, self.layout.record())

    @classmethod
    def load(cls, path: str | Path) -> Stack:
        """Read what `save` wrote. Raises FileNotFoundError or ValueError."""
        tensors, facts = files.load(path, "stack")
        centres = {n.removeprefix(CENTRES): tensors.pop(n) for n in list(tensors) if n.startswith(CENTRES)}
        return cls(tensors["theta"], replace(Layout.from_record(facts), centres=centres))


def concatenate(stacks: Iterable[Stack]) -> Stack:
    """All rows of several stacks of the same network and prior, in order (a mixture of posteriors)."""
    stacks = list(stacks)
    if not stacks:
        raise ValueError("concatenate needs at least one stack.")
    if any(stack.layout != stacks[0].layout for stack in stacks):
        raise ValueError("These stacks belong to different networks or priors and cannot be concatenated.")
    return Stack(torch.cat([stack.theta for stack in stacks]), stacks[0].layout)


def check_stack(stack: Stack, layout: Layout, x: Tensor) -> None:
    """Require that the stack belongs to the model and shares dtype and device with x; values of x are not looked at."""
    validate.tensor("x", x)
    if not isinstance(stack, Stack):
        raise TypeError(
            f"stack must be a bdlcore Stack, got {type(stack).__name__}. model.sample_prior(S) makes one."
        )
    if stack.layout != layout:
        raise ValueError(
            f"This stack (D={stack.layout.dim}) does not belong to this model (D={layout.dim}): parameter names, "
            "shapes or prior means and stds differ. Use the model that made the stack."
        )
    other_dtype = x.is_floating_point() and stack.theta.dtype != x.dtype
    if other_dtype or stack.theta.device != x.device:
        raise ValueError(
            f"x is {x.dtype} on {x.device} but the stack is {stack.theta.dtype} on {stack.theta.device}. "
            "Convert one of them, for example stack.to(x)."
        )


def float_like(x: Tensor) -> Tensor:
    """x, or for whole numbers (tokens) an empty tensor of its length, in the floating-point dtype of weights for it."""
    return x if x.is_floating_point() else torch.empty(len(x), 0, device=x.device)
