"""The checks of the exercises, one module per lesson, named like it."""

from __future__ import annotations

from .._trial import Trial

# A check may draw its inputs again until they tell all mistakes apart, but no more often than this. It goes on with the
# last ones then: a right answer is right on these too, though a wrong one may be told of a mistake that is not its own.
REDRAWS = 1000


def swapped(trial: Trial, got: tuple[object, object], want: tuple[object, object]) -> bool:
    """Whether two answers are each other's; not where, by chance, they are right in their own places as well."""
    first, second = want
    in_place = trial.is_close(got[0], first) and trial.is_close(got[1], second)
    return not in_place and trial.is_close(got[0], second) and trial.is_close(got[1], first)
