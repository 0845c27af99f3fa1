"""Registering checks, examining answers, and what a learner calls: `check`, `check.hint` and `score_card`."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import os
import pkgutil
import random
import sys
from collections.abc import Callable
from dataclasses import replace

from .._support.progress import progress
from . import _show, _solved
from ._judgements import NotAttempted, NotYet
from ._reading import describe, holds_ellipsis
from ._records import CORRECT, NOT_ATTEMPTED, NOT_YET, Exercise, Result
from ._trial import Trial


class NotCorrect(AssertionError):
    """Raised by `check` under nbgrader, so that no points are given."""

    def _render_traceback_(self) -> list[str]:  # IPython shows this in place of our stack frames
        return [str(self)]


class UnknownExercise(LookupError):
    """No check is registered under this id."""


# decided once: a cell cannot talk its way out of being graded later
GRADING = bool(os.environ.get("NBGRADER_EXECUTION"))

_registry: dict[str, Exercise] = {}


def exercise(id: str, *, points: int = 1, hints: tuple[str, ...] = (), trials: int = 5) -> Callable:
    """Registers the decorated function `(answer, trial)` as the check of exercise `id`.

    It runs `trials` times on fresh randomness. `hints` are shown one by one, one more at each failed try: from a nudge
    to nearly the answer.
    """
    if isinstance(hints, str):
        raise TypeError(f'exercise "{id}": hints is one text; write a tuple of texts, hints=("...",)')
    if points < 1 or trials < 1:
        raise ValueError(f'exercise "{id}": points and trials must be at least 1, got {points} and {trials}')

    def register(run: Callable[[object, Trial], None]) -> Callable[[object, Trial], None]:
        lesson = run.__module__.rpartition(".")[2]
        if id in _registry and _registry[id].lesson != lesson:
            raise ValueError(f'exercise id "{id}" is used in {_registry[id].lesson} and in {lesson}')
        _registry[id] = Exercise(id, lesson, points, tuple(hints), trials, run)
        return run

    return register


def registered() -> dict[str, Exercise]:
    """All exercises by id, in order of lesson module and definition. Imports the check modules on first use."""
    checks = importlib.import_module(f"{__package__}.checks")
    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return _registry


def find(id: str) -> Exercise:
    """The exercise of this id; an error that names close ids if there is none."""
    known = _registry if id in _registry else registered()
    if id not in known:
        close = difflib.get_close_matches(str(id), known, n=3, cutoff=0.4) or sorted(known)
        listing = ", ".join(f'"{other}"' for other in close) or "none is registered"
        raise UnknownExercise(f'There is no exercise "{id}". Did you mean one of: {listing}?')
    return known[id]


def examine(id: str, answer: object, seed: int | None = None) -> Result:
    """Runs the check of an exercise on an answer; shows nothing and keeps no record.

    Whatever the answer is or does, a `Result` comes back. What it prints is shown for one trial only, the failing one,
    and on stdout: nbgrader would take all points away for a word on stderr.
    """
    found = find(id)
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    if answer is None or holds_ellipsis(answer):
        return Result(found, NOT_ATTEMPTED)
    result, printed = Result(found, CORRECT), ""
    for index in progress(found.trials, f"check of {id}"):
        words = io.StringIO()
        with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
            tried = _one_trial(found, answer, Trial(seed, index))
        if result.state == CORRECT:
            printed = words.getvalue() if tried.state != CORRECT else printed or words.getvalue()
            result = tried
        elif tried.state != CORRECT:  # what is told is of the first that failed; a part must be right in all
            result = replace(result, right=tuple(part for part in result.right if part in tried.right))
        if result.state != CORRECT and not result.right:
            break
    sys.stdout.write(printed)
    return result


def _one_trial(found: Exercise, answer: object, trial: Trial) -> Result:
    right: tuple[str, ...] = ()
    try:
        found.run(answer, trial)
        right = tuple(trial.right)  # of parts that have all been judged
        trial.finish()
    except Exception as error:
        end = trial.wrong[0] if trial.wrong else error  # what was found first is told
        seed = trial.seed if trial.drew else None
        if isinstance(end, NotAttempted):
            return Result(found, NOT_ATTEMPTED, str(end))
        if isinstance(end, NotYet):
            right = right if trial.wrong else ()
            return Result(found, NOT_YET, end.message, end.detail, seed, right, len(right) + len(trial.wrong))
        returned = trial.returned is not None
        thing = (
            f"what you return, {describe(trial.returned)}" if returned else f"your answer, {describe(answer)}"
        )
        return Result(
            found,
            NOT_YET,
            f"The check could not make sense of {thing}.",
            f"{type(error).__name__}: {str(error)[:300]}\n"
            f"Compare it with what the text asks for.\n{trial.called}",
            seed,
        )
    return Result(found, CORRECT)


class _Session:
    """What has been checked in this kernel: last results, and how many hints are open."""

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.hints: dict[str, int] = {}

    def open_hint(self, found: Exercise) -> tuple[str, ...]:
        self.hints[found.id] = min(self.hints.get(found.id, 0) + 1, len(found.hints))
        return found.hints[: self.hints[found.id]]


session = _Session()


class _Check:
    """`check(id, answer)` shows whether the answer is right: not attempted, not yet (and why), or correct.

    Fresh random inputs are drawn at each call; `seed=` repeats a call. Each failed try opens one more hint, and
    `check.hint(id)` opens one without a try. Under nbgrader anything but a correct answer raises.
    """

    def __call__(self, id: str, answer: object, *, seed: int | None = None) -> None:
        result = examine(id, answer, seed)
        session.results[id] = result
        if result.state == CORRECT and not GRADING:
            _solved.record(id, registered())
        hints = session.open_hint(result.exercise) if result.state == NOT_YET else ()
        share = {"earned": f"{result.earned:g}"} if result.right else {}
        _show.show(_show.result(result, hints), state=result.state, exercise=id, **share)
        if result.state != CORRECT and GRADING:
            raise NotCorrect(f"{id}: {result.state}. {result.message}".strip())

    def hint(self, id: str) -> None:
        """Shows one more hint."""
        found = find(id)
        _show.show(_show.hints(found, session.open_hint(found)))


check = _Check()


def score_card(lesson: str | None = None) -> None:
    """Shows the state of every exercise of this notebook, the points, and how much of the course is solved.

    The notebook is recognised by the checks that have been run; `lesson` names another one.
    """
    known = registered()
    lessons = {lesson} if lesson else {result.exercise.lesson for result in session.results.values()}
    rows = [(found, session.results.get(found.id)) for found in known.values() if found.lesson in lessons]
    _show.show(_show.score_card(rows, _solved.summary(known)), state="score card")
