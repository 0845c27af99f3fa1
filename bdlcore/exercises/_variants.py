"""Right and wrong answers beside each exercise: they prove that its check tells the one from the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from . import _show
from ._machine import examine, find
from ._records import CORRECT, NOT_YET, Result

_NOT_GIVEN = object()


@dataclass(frozen=True)
class Variant:
    """One answer: right when `fragment` is None, else wrong and to be told something that contains the fragment."""

    name: str
    answer: object
    fragment: str | None

    def judge(self, id: str, seed: int) -> tuple[Result, str]:
        """The result of checking it, and what is wrong with that ("" if all is well)."""
        result = examine(id, self.answer, seed)
        told = f'it reads "{result.state}" at seed {seed}; the learner is told: {result.text!r}'
        if self.fragment is None:
            return (
                result,
                "" if result.state == CORRECT else f"right answer {self.name} must pass, but {told}",
            )
        if result.state != NOT_YET:
            return result, f"wrong answer {self.name} must fail, but {told}"
        if _plain(self.fragment) not in _plain(result.text):
            return result, f"wrong answer {self.name} must be told {self.fragment!r}, but {told}"
        return result, ""


class Variants:
    """The variants of one exercise; see `variants`."""

    def __init__(self, id: str) -> None:
        self.exercise = find(id)
        self.items: list[Variant] = []

    def right(self, answer: object = _NOT_GIVEN, *, value: object = _NOT_GIVEN, name: str = "") -> object:
        """A right answer: `@v.right` above a function, or `v.right(value=..., name=...)`."""
        return self._add(answer if value is _NOT_GIVEN else value, name, None)

    def wrong(self, fragment: str, *, value: object = _NOT_GIVEN, name: str = "") -> Callable | object:
        """A wrong answer that must be told `fragment`: `@v.wrong("...")`, or `v.wrong("...", value=..., name=...)`."""
        if not isinstance(fragment, str) or len(fragment.strip()) < 4:
            raise ValueError(
                f'variants("{self.exercise.id}"): wrong(...) starts with a part of the message that this mistake '
                f"must get, at least 4 letters; got {fragment!r}"
            )
        if value is not _NOT_GIVEN:
            return self._add(value, name, fragment)
        return lambda answer: self._add(answer, name, fragment)

    def show(self, seed: int = 0) -> None:
        """A table of the variants: verdict, and what the learner is told. Raises if a verdict is not as promised."""
        with warnings.catch_warnings(
            action="ignore"
        ):  # what a wrong answer makes a library say is beside the point
            judged = [(variant, *variant.judge(self.exercise.id, seed)) for variant in self.items]
        rows = [
            (v.name, "right" if v.fragment is None else "wrong", r.state, r.message) for v, r, _ in judged
        ]
        _show.show(_show.variants(self.exercise, rows))
        problems = [problem for *_, problem in judged if problem]
        if problems:
            raise AssertionError(f"{self.exercise.id}: " + "; ".join(problems))

    def _add(self, answer: object, name: str, fragment: str | None) -> object:
        if answer is _NOT_GIVEN:
            raise TypeError(f'variants("{self.exercise.id}"): give a function to decorate, or value=...')
        name = name or getattr(answer, "__name__", "") or repr(answer)[:40]
        if name in {variant.name for variant in self.items}:
            raise ValueError(f'variants("{self.exercise.id}"): two variants are named {name}')
        self.items.append(Variant(name, answer, fragment))
        return answer


def variants(id: str) -> Variants:
    """Collects right and wrong answers to an exercise, in a cell of the solutions notebook tagged `variants`.

        v = variants("average-probabilities")
        @v.right
        def loops_over_samples(logits): ...
        @v.wrong("averaged the logits")     # part of the message that this mistake must get
        def averages_logits(logits): ...
        v.show()

    Two right and three wrong answers at least; the tests run each on several seeds. The generator leaves the cell out
    of the exercise notebook.
    """
    return Variants(id)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
