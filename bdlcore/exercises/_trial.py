"""One trial of an answer: fresh random inputs, a safe way to call the answer, and judgements (`_judgements.py`)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import numpy as np
import torch

from .._support.randomness import seeded
from ._judgements import Judgements, NotAttempted, NotYet
from ._reading import describe, does_nothing, explain, holds_ellipsis, raised_on_purpose


class Trial(Judgements):
    """What a check gets beside the answer.

    `index` counts the trials of one check from 0. Trials of equal seed and index draw equal inputs.
    """

    def __init__(self, seed: int, index: int = 0) -> None:
        super().__init__()
        self.seed, self.index = seed, index
        self.drew = False  # whether randomness was used at all: only then does the learner need the seed
        self._calls, self.returned = 0, None  # how often the answer was called, and what it gave last
        self._changed: list[str] = []  # inputs that the answer has changed in place

    # --- randomness: float64, on the CPU ---

    @functools.cached_property
    def generator(self) -> torch.Generator:
        """A torch generator of this trial alone."""
        self.drew = True
        return torch.Generator().manual_seed(self.seed * 1009 + self.index)

    def randn(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers of a shape."""
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def rand(self, *shape: int) -> torch.Tensor:
        """Uniform numbers in [0, 1) of a shape."""
        return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def randint(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Whole numbers low, ..., high - 1 of a shape, int64: labels, indices."""
        return torch.randint(low, high, shape, generator=self.generator)

    def integer(self, low: int, high: int) -> int:
        """One Python int from low to high, both included: a size."""
        return int(self.randint(low, high + 1))

    def uniform(self, low: float, high: float) -> float:
        """One Python float between low and high: a scale, a temperature."""
        return low + (high - low) * float(self.rand(1))

    # --- calling what the learner wrote ---

    def call(
        self, answer: Callable, *args: object, allow_none: bool = False, stops: str = "", **kwargs: object
    ) -> object:
        """The output of the learner's function, class or method on copies of the inputs.

        The learner is told about: no function at all, other arguments than given, an exception (with its line), a
        forgotten `return`. What a stub does (return `...` or, doing nothing, None; raise NotImplementedError) ends the
        trial as not attempted. `allow_none` is for functions that need not return anything; `stops` is what the learner
        is told first if the code raises an exception on these inputs, whose pitfall is known. That an input was changed
        in place is told at the end, by `finish`, once everything else is right.

        Global random states (torch, NumPy, random) are seeded by the trial for the call and restored after it.
        """
        if not callable(answer):
            raise NotYet(f"A function is asked for, but the answer is {describe(answer)}.")
        name = getattr(answer, "__name__", type(answer).__name__)
        self.called = f"`{name}` was called with {_listing(args, kwargs)}."
        _check_arguments(answer, name, args, kwargs)
        self._calls += 1
        given, named = _copy(args), _copy(kwargs)
        try:
            with seeded(self.seed + 7919 * self._calls + self.index):
                output = answer(*given, **named)
        except Exception as error:
            if isinstance(error, NotImplementedError) and raised_on_purpose(error):
                raise NotAttempted from None
            if "ellipsis" in str(error):
                raise NotAttempted("A `...` is still in the code where a value is needed.") from None
            what, advice = explain(error)
            facts = (what, advice, self.called) if stops else (advice, self.called)
            raise NotYet(stops or what, "\n".join(facts)) from None
        if holds_ellipsis(output):
            raise NotAttempted
        if output is None and not allow_none:
            if does_nothing(answer):
                raise NotAttempted
            raise NotYet(f"`{name}` returned None: is a `return` missing?")
        self.returned = output
        if not (_same(given, args) and _same(named, kwargs)):
            self._changed += _changed_inputs(answer, (args, kwargs), (given, named))
        return output

    def finish(self) -> None:
        """The end of a trial: no part may be wrong, and inputs must be as they were."""
        if self.wrong:
            raise self.wrong[0]
        if self._changed:
            names = ", ".join(f"`{name}`" for name in dict.fromkeys(self._changed))
            self.fail(
                f"The numbers are right, but {names} changed in place: whoever calls your function finds other numbers "
                "in it afterwards.",
                f"Make new tensors, `a = a + b` instead of `a += b`, or copy first, `{self._changed[0]}.clone()`.",
            )


def _check_arguments(answer: Callable, name: str, args: tuple, kwargs: dict) -> None:
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # some built-in functions do not tell theirs
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise NotYet(
            f"`{name}{signature}` cannot be called with {_listing(args, kwargs)}: {error}.",
            "Keep the first line of the function as it was handed out.",
        ) from None


def _listing(args: tuple, kwargs: dict) -> str:
    items = [describe(value) for value in args] + [
        f"{key}: {describe(value)}" for key, value in kwargs.items()
    ]
    return "; ".join(items) or "no arguments"


def _copy(value: object) -> object:
    """Copies of tensors and arrays, also inside containers, so that no answer can change what the check holds."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(_copy(item) for item in value)
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return value


def _same(one: object, other: object) -> bool:
    """Whether two copies of an input still hold the same numbers."""
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if type(one) in (list, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is dict:
        return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
    return True


def _changed_inputs(answer: Callable, before: tuple[tuple, dict], after: tuple[tuple, dict]) -> list[str]:
    try:
        names = list(inspect.signature(answer).bind(*before[0], **before[1]).arguments)
    except (TypeError, ValueError):
        names = []
    names += [f"argument {number}" for number in range(len(names) + 1, len(before[0]) + 1)]
    changed = [name for name, *pair in zip(names, *(args for args, _ in (before, after))) if not _same(*pair)]
    return changed + [key for key, value in before[1].items() if not _same(value, after[1].get(key))]
