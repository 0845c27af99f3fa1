"""Where the noise of y = f + noise comes from: it is known, a parameter that is learned, or a second head.

An unknown noise is read from f itself, whose last outputs are then logarithms of the noise: those of a `NoiseHead` come
from the network and depend on x, those of `LearnedNoise` are parameters of the likelihood, the same at every x. So what
takes f (S, N, C) of a likelihood, every source, average and diagnostic, takes unknown noise as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .._support import validate
from .protocol import OwnParameter


class Noise(Protocol):
    """The scale of the noise, one per target output."""

    def own_parameters(self) -> tuple[OwnParameter, ...]:
        """What of it is learned beside the network's weights."""
        return ()

    def targets(self, outputs: int) -> int:
        """How many numbers one y has when f has `outputs`. Raises ValueError where that does not fit."""
        ...

    def split(self, f: Tensor) -> tuple[Tensor, float | Tensor]:
        """The location (..., N, C) of y and the scale of its noise, a number or broadcastable to that, from f."""
        ...

    def join(self, by_location: Tensor, by_log_scale: Callable[[], Tensor]) -> Tensor:
        """From derivatives in the location and in the log scale of each output, (..., N, C), that in f."""
        ...

    def root(self, location: Tensor, log_scale: float) -> Tensor:
        """A root of the Fisher information in f, (N, K, K), from roots per output: (N, C), and the same for all."""
        ...

    def known(self, like: Tensor) -> float | Tensor | None:
        """The scale where it is known beforehand, a number or (C,); None where it is not."""
        return None


def as_numbers(name: str, value: object, hint: str) -> float | tuple[float, ...]:
    """A positive number, or a tensor, array or list of such, as a tuple."""
    if isinstance(value, Tensor | np.ndarray | list | tuple):
        value = torch.as_tensor(value, dtype=torch.float64)
        if value.ndim > 1:
            raise ValueError(f"{name} must be a number or have shape (C,), got {tuple(value.shape)}.")
        value = tuple(value.tolist()) if value.ndim else value.item()
    for number in value if isinstance(value, tuple) else (value,):
        validate.positive(name, number, hint)
    return value


def as_noise(name: str, value: object, hint: str) -> float | tuple[float, ...] | Noise:
    """Noise as a likelihood keeps it: numbers, or what says where else it comes from."""
    return value if hasattr(value, "own_parameters") else as_numbers(name, value, hint)


def noise_of(name: str, value: float | tuple[float, ...] | Noise) -> Noise:
    """What answers the protocol."""
    return value if hasattr(value, "own_parameters") else KnownNoise(name, value)


@dataclass(frozen=True)
class KnownNoise(Noise):
    """Noise that is given: a number, or one per output.

    Attributes:
        name: what its likelihood calls it.
        scale: the number or numbers.
    """

    name: str
    scale: float | tuple[float, ...]

    def targets(self, outputs: int) -> int:
        """As many as f has."""
        if isinstance(self.scale, tuple) and len(self.scale) != outputs:
            raise ValueError(
                f"{self.name} has {len(self.scale)} values for a network of {outputs} output(s); give one per output."
            )
        return outputs

    def known(self, like: Tensor) -> float | Tensor:
        """The number, or the C numbers as a tensor (C,) beside `like`."""
        return torch.tensor(self.scale).to(like) if isinstance(self.scale, tuple) else self.scale

    def split(self, f: Tensor) -> tuple[Tensor, float | Tensor]:
        """f is the location."""
        return f, self.known(f)

    def join(self, by_location: Tensor, by_log_scale: Callable[[], Tensor]) -> Tensor:
        """That in the location."""
        return by_location

    def root(self, location: Tensor, log_scale: float) -> Tensor:
        """diag(location)."""
        return location.diag_embed()


@dataclass(frozen=True)
class LearnedNoise(Noise):
    """Noise of one unknown scale, or of one per output, with a log-normal prior of its own.

        log scale ~ N(log median, (log factor)^2)

    so that the scale lies between median / factor and median * factor with probability 0.68, and within the square of
    the factor with 0.95. It is a parameter of the likelihood beside the network's weights: a column of the stack and a
    last output of f, the same at every input, which is log scale. Where the noise falls the posterior grows stiff, so
    that `sghmc` may need a smaller step_size than the one that it chooses where it starts.

    Attributes:
        median: prior median of the scale in the units of y: a number, or a tensor, array or list of C, one per output.
        factor: spread of the prior, more than 1.
    """

    median: float | tuple[float, ...]
    factor: float = 3.0

    def __post_init__(self):
        median = as_numbers("median", self.median, "It is that of the noise's prior, in the units of y.")
        object.__setattr__(self, "median", median)
        validate.scale("factor", self.factor, hint="It is the spread of the noise's prior.")
        if self.factor <= 1:
            raise ValueError(
                f"factor must be more than 1, got {self.factor}: log scale has the std log(factor)."
            )

    def own_parameters(self) -> tuple[OwnParameter, ...]:
        """log scale, one or C values."""
        medians = self.median if isinstance(self.median, tuple) else (self.median,)
        std = math.log(self.factor)
        names = ["log_noise"] if len(medians) == 1 else [f"log_noise.{c}" for c in range(len(medians))]
        return tuple(OwnParameter(n, math.log(m), std) for n, m in zip(names, medians))

    @property
    def _count(self) -> int:
        return len(self.median) if isinstance(self.median, tuple) else 1

    def targets(self, outputs: int) -> int:
        """As many as f has beside the noise."""
        C = outputs - self._count
        if self._count not in (1, C):
            raise ValueError(
                f"median has {self._count} values for a network of {C} output(s); give a number or one per output."
            )
        return C

    def split(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """f without its last outputs, and the exponentials of these."""
        return f[..., : -self._count], f[..., -self._count :].exp()

    def join(self, by_location: Tensor, by_log_scale: Callable[[], Tensor]) -> Tensor:
        """Both side by side; one noise takes the sum over outputs."""
        slope = by_log_scale()
        return torch.cat([by_location, slope.sum(-1, keepdim=True) if self._count == 1 else slope], -1)

    def root(self, location: Tensor, log_scale: float) -> Tensor:
        """Diagonal; one noise has C times the information of one output."""
        share = location.shape[-1] / self._count
        learned = location.new_full((len(location), self._count), log_scale * math.sqrt(share))
        return torch.cat([location, learned], -1).diag_embed()


@dataclass(frozen=True)
class NoiseHead(Noise):
    """Noise that depends on x (heteroscedastic): a network of 2 C outputs says the location of y and its noise.

        location = f_1, ..., f_C,     scale = median * exp(f_C+1), ..., median * exp(f_2C)

    The prior of the scale is that of the network's functions: where those lie around 0, its median is `median`.

    Attributes:
        median: in the units of y, a number.
    """

    median: float = 1.0

    def __post_init__(self):
        validate.scale("median", self.median, hint="It is the noise, in the units of y, where its head is 0.")

    def targets(self, outputs: int) -> int:
        """Half of f's outputs."""
        if outputs % 2:
            raise ValueError(
                f"NoiseHead takes a network with two outputs per number of y, its location and its log noise; this one "
                f"has {outputs}."
            )
        return outputs // 2

    def split(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """The first half, and the exponentials of the second times the median."""
        location, log_scale = f.chunk(2, -1)
        return location, self.median * log_scale.exp()

    def join(self, by_location: Tensor, by_log_scale: Callable[[], Tensor]) -> Tensor:
        """Both side by side."""
        return torch.cat([by_location, by_log_scale()], -1)

    def root(self, location: Tensor, log_scale: float) -> Tensor:
        """Diagonal."""
        return torch.cat([location, torch.full_like(location, log_scale)], -1).diag_embed()
