"""Predict first: a question keeps the reader's guess, and the answer shows it beside what was measured.

Guesses live in the kernel alone: nothing is written, no cell waits for one, and a saved notebook keeps plain text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real

import ipywidgets as widgets
from IPython.display import DisplayHandle, Markdown, display

VIEW = "application/vnd.jupyter.widget-view+json"  # by hand, since ipywidgets 7, which Colab has, gives none to add to
NEAR = 2.0  # a guessed number counts as near if it is within this factor of the measured one


@dataclass
class Question:
    """A question, what the reader guessed, and, once it was measured, the answer."""

    text: str
    choices: tuple[str, ...]  # empty: a number is asked for
    unit: str
    guessed: str | float | None = None
    measured: str | float | None = None
    explanation: str = ""
    shown: list[DisplayHandle] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """The guessed choice is the measured one; the guessed number has its sign and is within a factor of 2."""
        guessed, measured = self.guessed, self.measured
        if guessed is None or measured is None or self.choices:
            return guessed is not None and guessed == measured
        if not guessed or not measured:
            return guessed == measured
        return 1 / NEAR <= guessed / measured <= NEAR

    def quantity(self, value: str | float) -> str:
        text = value if isinstance(value, str) else f"{value:.3g}".replace("-", "−")
        return f"{text} {self.unit}".strip()

    def answer(self) -> str:
        """The answer as Markdown, with the guess before it if there is one."""
        yours = ""
        if self.guessed is not None:
            yours = f"{'✔' if self.right else '✘'} You guessed: {self.quantity(self.guessed)}. "
        return f"{yours}Measured: **{self.quantity(self.measured)}**. {self.explanation}".strip()


_questions: dict[str, Question] = {}
_tallies: list[DisplayHandle] = []


def guess(name: str, question: str, *, choices: Sequence[str] | None = None, unit: str = "") -> None:
    """Ask the reader to predict a result, and keep the guess until `answer` is called with the same name.

    Args:
        name: what `answer` calls the question; asking again under a name forgets the earlier guess.
        question: one sentence.
        choices: at least two texts to choose from; without them a number is asked for.
        unit: shown behind a number.

    Raises:
        ValueError: fewer than two choices, the same choice twice, or a unit beside choices.
    """
    options = () if choices is None else tuple(choices)
    if isinstance(choices, str) or any(not isinstance(option, str) for option in options):
        raise ValueError(f"choices must be a list of texts, such as ['more', 'less']; got {choices!r}.")
    if choices is not None and (len(options) < 2 or len(set(options)) < len(options)):
        raise ValueError(f"A question needs at least two different choices; got {list(options)}.")
    if options and unit:
        raise ValueError(f"unit={unit!r} belongs to a number; write it into the choices instead.")
    asked = _questions[name] = Question(question, options, unit)
    hint = widgets.HTML()
    control = _choice(options) if options else _number(unit)

    def keep(change: dict) -> None:
        try:
            value = change["new"] if options else _parse(change["new"])
        except ValueError as error:
            hint.value = str(error)
            return
        hint.value = "" if value is None else "Your guess is kept; read on."
        asked.guessed = value
        _refresh(asked)

    control.observe(keep, names="value")
    box = widgets.VBox([widgets.HTML(f"<b>Predict first.</b> {question}"), control, hint])
    reply = " / ".join(options) if options else f"a number{f' ({unit})' if unit else ''}"
    shown = {
        "text/plain": repr(box),
        VIEW: {"version_major": 2, "version_minor": 0, "model_id": box.model_id},
        "text/markdown": f"**Predict first.** {question} *Your guess:* {reply}",
    }
    display(shown, raw=True)


def answer(name: str, measured: str | float, explanation: str = "") -> None:
    """Show what was measured beside the reader's guess; a guess that is made or changed later appears here too.

    Args:
        name: the question's name.
        measured: one of the question's choices, or a finite number.
        explanation: a sentence that is shown behind the result.

    Raises:
        ValueError: `guess` did not ask this question, or `measured` is not an answer to it.
    """
    asked = _questions.get(name)
    if asked is None:
        known = ", ".join(map(repr, _questions)) or "none yet"
        raise ValueError(
            f"No question is called {name!r}; run the cell with bdl.guess first. Asked: {known}."
        )
    if asked.choices:
        if measured not in asked.choices:
            raise ValueError(f"measured must be one of {list(asked.choices)}; got {measured!r}.")
        asked.measured = measured
    else:
        if isinstance(measured, str) or not math.isfinite(float(measured)):
            raise ValueError(f"{name!r} asks for a number, but measured is {measured!r}.")
        asked.measured = measured if isinstance(measured, Real) else float(measured)
    asked.explanation = explanation
    asked.shown = [display(Markdown(asked.answer()), display_id=True)]
    _refresh_tallies()


def tally() -> None:
    """Show how many of this notebook's predictions came true, so far."""
    _tallies[:] = [display(Markdown(_tally()), display_id=True)]


def _choice(options: tuple[str, ...]) -> widgets.Widget:
    return widgets.RadioButtons(options=options, value=None, layout=widgets.Layout(width="auto"))


def _number(unit: str) -> widgets.Widget:
    return widgets.Text(
        placeholder="your number, then Enter",
        description=unit,
        continuous_update=False,
        style={"description_width": "initial"},
    )


def _parse(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text.strip().replace("−", "-").replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("A number, please, such as 3 or 0.5.")
    return value


def _tally() -> str:
    """The tally as Markdown."""
    asked = list(_questions.values())
    guessed = [q for q in asked if q.guessed is not None and q.measured is not None]
    if not guessed:
        return f"**Your predictions:** none of the {len(asked)} questions has a guess of yours."
    marks = "\n".join(
        f"- {'✔' if q.right else '✘'} {q.text} You: {q.quantity(q.guessed)}. Measured: {q.quantity(q.measured)}."
        for q in guessed
    )
    right = sum(q.right for q in guessed)
    near = "" if all(q.choices for q in guessed) else f" (a number is right within a factor of {NEAR:.0f})"
    return f"**Your predictions:** {right} of {len(guessed)} came true{near}.\n\n{marks}"


def _refresh(asked: Question) -> None:
    for handle in asked.shown:
        handle.update(Markdown(asked.answer()))
    _refresh_tallies()


def _refresh_tallies() -> None:
    for handle in _tallies:
        handle.update(Markdown(_tally()))
