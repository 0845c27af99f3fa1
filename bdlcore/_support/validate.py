"""Early, readable errors: what was wrong, what was expected, what to do."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor


def positive(name: str, value: float | Tensor, hint: str = "") -> None:
    """Require a finite number > 0, or a tensor of such numbers."""
    if isinstance(value, bool) or not isinstance(value, Real | Tensor):
        raise TypeError(f"{name} must be a positive number, got {value!r}. {hint}".strip())
    good = (
        bool((torch.isfinite(value) & (value > 0)).all())
        if isinstance(value, Tensor)
        else 0 < value < math.inf
    )
    if not good:
        raise ValueError(f"{name} must be positive and finite, got {value}. {hint}".strip())


def number(name: str, value: float | Tensor, hint: str = "") -> None:
    """Require one number: Python's, or a tensor of one element (with gradients or not).

    A tensor of several is refused: it would broadcast along whatever axis happens to have its length.
    """
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(
            f"{name} must be one number, got a tensor of shape {tuple(value.shape)}. {hint}".strip()
        )
    if isinstance(value, bool) or not isinstance(value, Real | Tensor):
        raise TypeError(f"{name} must be a number, got {value!r}. {hint}".strip())


def scale(name: str, value: float | Tensor, zero: bool = False, hint: str = "") -> None:
    """Require one finite number > 0, or >= 0 with `zero`."""
    number(name, value, hint)
    if not (0 <= value if zero else 0 < value) or not value < math.inf:
        wanted = "at least 0 and finite" if zero else "positive and finite"
        raise ValueError(f"{name} must be {wanted}, got {value}. {hint}".strip())


def numbers(name: str, value: Tensor, whole: bool = False) -> Tensor:
    """Require a finite tensor with something in it, (N, ...): of floating-point numbers, or `whole` ones as well."""
    tensor(name, value)
    if not whole:
        floating(name, value)
    nonempty(name, value)
    if value.ndim == 0:
        raise ValueError(f"{name} must have shape (N, ...), got a single number. Use {name}[None].")
    if value.is_floating_point():
        finite(name, value)
    return value


def nonempty(name: str, value: Tensor) -> Tensor:
    """Require a tensor with at least one number in it."""
    if value.numel() == 0:
        raise ValueError(
            f"{name} is empty: shape {tuple(value.shape)}. Give at least one datum and one feature."
        )
    return value


def path(name: str, value: str | PathLike) -> Path:
    """Require the name of a file or folder."""
    if not isinstance(value, str | PathLike):
        raise TypeError(f"{name} must be a path, a str or pathlib.Path, got {type(value).__name__}.")
    return Path(value)


def count(name: str, value: int, minimum: int = 1, hint: str = "") -> int:
    """Require an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}. {hint}".strip())
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}. {hint}".strip())
    return int(value)


def rows(name: str, value: int | range) -> range:
    """A number of rows, or the range of rows to compute (so that a run can be split over devices)."""
    if isinstance(value, range):
        if len(value) == 0 or value.step != 1 or value.start < 0:
            raise ValueError(
                f"{name} as a range must be non-empty with step 1, like range(8, 16); got {value}."
            )
        return value
    return range(count(name, value, hint=f"Ask for one or more {name}."))


def finite(name: str, value: Tensor) -> None:
    """Require a tensor without NaN or infinity."""
    bad = ~torch.isfinite(value)
    if bad.any():
        first = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{name} contains {int(bad.sum())} NaN or infinite value(s), the first at index {first}. "
            "Remove or impute those rows before fitting."
        )


def tensor(name: str, value: Tensor) -> Tensor:
    """Require a tensor; the remedy depends on what it is instead."""
    if not isinstance(value, Tensor):
        remedy = f"Use torch.as_tensor({name})."
        if hasattr(value, "__iter__") and not hasattr(value, "__len__") or hasattr(value, "dataset"):
            remedy = f"Put its batches together: torch.cat([x for x, _ in {name}]) and the same for y."
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}. {remedy}")
    return value


def floating(name: str, x: Tensor) -> Tensor:
    """Require a tensor of floating-point numbers."""
    if not tensor(name, x).is_floating_point():
        raise TypeError(f"{name} must have a floating-point dtype, got {x.dtype}. Use {name}.float().")
    return x


def inputs(name: str, x: Tensor, integers: bool = False) -> Tensor:
    """Require a non-empty, finite tensor with the data axis first; whole numbers (tokens) only if `integers`."""
    tensor(name, x)
    if not integers:
        floating(name, x)
    if x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers, got {x.dtype}. Use {name}.float().")
    if x.ndim < 2:
        raise ValueError(
            f"{name} must have shape (N, D) or (N, channels, height, width), got {tuple(x.shape)}. "
            f"For one feature per datum use {name}[:, None]."
        )
    if x.shape[0] == 0:
        raise ValueError(f"{name} is empty: shape {tuple(x.shape)}. Give at least one datum.")
    if x.is_floating_point():
        finite(name, x)
    return x


def per_row(name: str, value: float | Tensor, rows: int) -> None:
    """Require a number, or a tensor with one value per row."""
    if isinstance(value, Tensor) and value.shape not in ((), (rows,)):
        raise ValueError(
            f"{name} must be a number or have one value per row, shape ({rows},); got {tuple(value.shape)}."
        )


def picture(name: str, value: Tensor, drawn: bool = False) -> Tensor:
    """Require (..., channels, height, width) floating-point pixels of the scale [0, 1]; noise may leave it.

    A picture that is nowhere brighter than the darkest grey of a file, yet not black, was divided by 255 twice. Only
    what a network has `drawn` may be that dark.
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor of shape (channels, height, width), got {type(value).__name__}. "
            "bdl.load_image reads a file, and bdl.photo gives one of scikit-image's."
        )
    if not value.is_floating_point():
        raise TypeError(
            f"{name} must hold floating-point pixels in [0, 1], got {value.dtype}: divide by 255."
        )
    if value.ndim < 3 or value.shape[-3] not in (1, 3):
        raise ValueError(
            f"{name} must have shape (..., channels, height, width) with 1 or 3 channels, got {tuple(value.shape)}. "
            "Use .permute(2, 0, 1) for an image whose channels come last, and leave out a fourth, transparent one."
        )
    if value.numel() == 0:
        raise ValueError(f"{name} is empty: shape {tuple(value.shape)}.")
    finite(name, value)
    low, high = float(value.min()), float(value.max())
    if low < -2 or high > 3:
        raise ValueError(
            f"{name} must hold pixels of the scale [0, 1] (with noise, a little beyond), got {low:.3g} to {high:.3g}: "
            "divide by 255."
        )
    if not drawn and 0 < max(high, -low) < 1.01 / 255:
        raise ValueError(
            f"{name} is almost black: no pixel is beyond {max(high, -low):.2g}, on a scale from 0 to 1. Was it divided "
            "by 255 twice? Pixels of bdl.load_image, bdl.photo and torchvision's ToTensor lie in [0, 1] already."
        )
    return value


def targets(y: Tensor, inputs: int, outputs: int, like: Tensor) -> Tensor:
    """Require finite numbers (N,), taken as one output, or (N, C); returns (N, C) in the dtype and place of `like`."""
    if not isinstance(y, Tensor) or not y.is_floating_point():
        kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(
            f"y must be a floating-point torch.Tensor where the likelihood is of real numbers, got {kind}."
        )
    y = y[:, None] if y.ndim == 1 else y
    same_length(y, inputs)
    if y.shape[1:] != (outputs,):
        raise ValueError(
            f"y must have shape (N, {outputs}) to match the network's outputs, got {tuple(y.shape)}."
        )
    finite("y", y)
    return y.to(like)


def labels(y: Tensor, inputs: int, classes: int, like: Tensor) -> Tensor:
    """Require integer labels (N,) from 0 to classes - 1; returns them as int64 on the device of `like`."""
    if not isinstance(y, Tensor) or y.is_floating_point() or y.dtype == torch.bool:
        kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"y must be a tensor of integer labels for a Categorical likelihood, got {kind}.")
    if y.ndim != 1:
        raise ValueError(f"y must have shape (N,) holding class labels, got {tuple(y.shape)}.")
    same_length(y, inputs)
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(f"y holds label {wrong}; of {classes} classes labels must lie in 0..{classes - 1}.")
    return y.to(device=like.device, dtype=torch.long)


def same_length(y: Tensor, inputs: int) -> None:
    """Require as many targets as inputs."""
    if y.ndim == 0 or len(y) != inputs:
        raise ValueError(
            f"x and y must have the same length, got {inputs} inputs and {len(y) if y.ndim else 'no'} targets."
        )


def per_output(name: str, y: float | Tensor, like: Tensor) -> Tensor:
    """Numbers to hold against `like` (N, C): one, (N,) where C = 1, (C,), or anything that broadcasts to (N, C)."""
    y = torch.as_tensor(y, dtype=like.dtype, device=like.device)
    if y.ndim == 1 and like.shape[1] == 1:
        y = y[:, None]
    try:
        return y.expand(like.shape)
    except RuntimeError:
        raise ValueError(
            f"{name} must be a number or have shape {tuple(like.shape)}, got {tuple(y.shape)}."
        ) from None


def choice(name: str, value: object, options: Collection[str]) -> None:
    """Require one of some words."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}.")


def between(name: str, value: float, low: float, high: float) -> None:
    """Require a number strictly between two others."""
    if not low < value < high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}, got {value}.")
