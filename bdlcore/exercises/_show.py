"""How results look: HTML for notebooks and the same as text.

A state is told by symbol and word, never by colour alone.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

from ._records import Exercise, Result

# symbol and a colour of Okabe and Ito's palette that is told apart by all readers, on light and dark backgrounds
_LOOK = {"correct": ("✓", "#0072B2"), "not yet": ("◐", "#E69F00"), "not attempted": ("○", "#999999")}


class Shown(NamedTuple):
    """One output in both forms."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def show(shown: Shown, **facts: str) -> None:
    """Displays in a notebook, prints elsewhere; `facts` go into the output's metadata for tools to read."""
    from IPython.display import display

    display(shown, metadata={"bdl": facts} if facts else None)


def result(found: Result, hints: tuple[str, ...]) -> Shown:
    """One check's result, with the hints that are open."""
    exercise, state = found.exercise, found.state
    symbol, colour = _LOOK[state]
    number = found.earned or exercise.points
    points = f"{number:g} point{'s' * (number != 1)}"
    head = f"{symbol} {state} · {exercise.title}"
    if state == "correct":
        lines, facts = [f"{points} earned."], []
    elif state == "not attempted":
        lines, facts = (
            [found.message or f"Fill in your answer above, then run this cell again ({points})."],
            [],
        )
    else:
        lines, facts = [found.message], found.detail.splitlines()
        if found.right:
            names = ", ".join(name[0].lower() + name[1:] for name in found.right)
            lines.append(f"Right already, {len(found.right)} of {found.parts} parts: {names} ({points}).")
        if found.seed is not None:
            facts.append(f"For the same inputs again, give `check` the argument `seed={found.seed}`.")
    return _box(colour, head, lines, facts, _hint_lines(exercise, hints) if state == "not yet" else [])


def hints(exercise: Exercise, opened: tuple[str, ...]) -> Shown:
    """The open hints alone."""
    return _box(_LOOK["not yet"][1], f"Hints · {exercise.title}", [], [], _hint_lines(exercise, opened))


def score_card(rows: list[tuple[Exercise, Result | None]], more: str = "") -> Shown:
    """A table of exercises with state and points, the sum, and one more line."""
    if not rows:
        return _box(_LOOK["not attempted"][1], "Score card", ["Run the checks above first."], [], [])
    states = ["not attempted" if found is None else found.state for _, found in rows]
    earned = [0 if found is None else found.earned for _, found in rows]
    total = sum(exercise.points for exercise, _ in rows)
    done = states.count("correct")
    summary = f"{done} of {len(rows)} exercises correct · {sum(earned):g} of {total} points"
    table, lines = [], []
    for number, ((exercise, _), state, got) in enumerate(zip(rows, states, earned), start=1):
        symbol, colour = _LOOK[state]
        told = f'<b style="color:{colour}">{symbol}</b> {state}'
        table.append((str(number), html.escape(exercise.title), told, f"{got:g} / {exercise.points}"))
        lines.append(f"{number:3d}  {symbol} {state:13s}  {got:2g} / {exercise.points:<2d}  {exercise.title}")
    _, colour = _LOOK["correct" if done == len(rows) else "not yet" if any(earned) else "not attempted"]
    return _add_table(_box(colour, f"Score card · {summary}", [more] * bool(more), [], []), table, lines)


def variants(exercise: Exercise, rows: list[tuple[str, str, str, str]]) -> Shown:
    """A table of (variant, kind, what came of it, what the learner is told)."""
    head = tuple(f"<b>{name}</b>" for name in ("variant", "is", "reads", "the learner is told"))
    text = [f"{name} ({kind}): {state}. {told}".strip() for name, kind, state, told in rows]
    box = _box(_LOOK["correct"][1], f"Right and wrong answers · {exercise.title}", [], [], [])
    return _add_table(box, [head, *(tuple(map(_rich, row)) for row in rows)], text)


def _hint_lines(exercise: Exercise, opened: tuple[str, ...]) -> list[str]:
    total = len(exercise.hints)
    lines = [f"Hint {number} of {total}: {hint}" for number, hint in enumerate(opened, start=1)]
    if len(opened) < total:
        lines.append(f'The next try, or `check.hint("{exercise.id}")`, shows one more hint.')
    else:
        lines.append("The notebook of the same name under `solutions/` holds a worked answer.")
    return lines


def _box(colour: str, head: str, lines: list[str], facts: list[str], hints: list[str]) -> Shown:
    rows = [f"<b>{html.escape(head)}</b>", *map(_rich, lines)]
    rows += [f'<span style="opacity:.75">{_rich(fact)}</span>' for fact in facts]
    rows += [f"<i>{_rich(hint)}</i>" for hint in hints]
    style = f"border-left:6px solid {colour};padding:.3em .9em;margin:.3em 0;line-height:1.5"
    text = [head, *(f"  {line}" for part in (*lines, *facts, *hints) for line in part.splitlines())]
    return Shown(f'<div style="{style}">{"<br>".join(rows)}</div>', "\n".join(text))


def _add_table(box: Shown, rows: list[tuple[str, ...]], lines: list[str]) -> Shown:
    """A box with rows of HTML cells, and the same as lines of text."""
    cell = '<td style="text-align:left;vertical-align:top;padding:.15em 1em .15em 0">'
    body = "".join("<tr>" + "".join(f"{cell}{item}</td>" for item in row) + "</tr>" for row in rows)
    table = f'<table style="font-size:inherit">{body}</table></div>'
    return Shown(box.html.removesuffix("</div>") + table, "\n".join([box.text, *lines]))


def _rich(text: str) -> str:
    """Text as HTML: escaped, `code` marked, line breaks kept."""
    escaped = html.escape(text, quote=False).replace("\n", "<br>")
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
