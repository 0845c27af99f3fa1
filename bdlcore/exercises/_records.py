"""What is known of an exercise, and what a check found: plain records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ._trial import Trial

CORRECT, NOT_YET, NOT_ATTEMPTED = "correct", "not yet", "not attempted"


@dataclass(frozen=True)
class Exercise:
    """One registered exercise; `lesson` is the name of the module that holds its check."""

    id: str
    lesson: str
    points: int
    hints: tuple[str, ...]
    trials: int
    run: Callable[[object, Trial], None]

    @property
    def title(self) -> str:
        """The id as words."""
        return self.id.replace("-", " ").capitalize()


@dataclass(frozen=True)
class Result:
    """What a check found: the state, the message naming the likely mistake, and facts beside it."""

    exercise: Exercise
    state: str
    message: str = ""
    detail: str = ""
    seed: int | None = None  # repeats the failing trial; None where nothing was random
    right: tuple[str, ...] = ()  # parts of an answer that is not yet right as a whole
    parts: int = 0  # how many there are

    @property
    def earned(self) -> float:
        """The points: all for a correct answer, else the share of its parts that are right."""
        if self.state == CORRECT:
            return self.exercise.points
        return round(self.exercise.points * len(self.right) / self.parts, 2) if self.right else 0

    @property
    def text(self) -> str:
        """Everything that the learner is told, without hints."""
        return "\n".join(part for part in (self.message, self.detail) if part)
