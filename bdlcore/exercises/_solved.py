"""Which exercises are solved on this computer: a small file of the learner's, and a page that shows it.

The file, `.bdl/solved.json` in the learner's home, holds the day on which each exercise was first solved. Nothing of it
is sent anywhere, and to delete it is to start over. `BDL_SOLVED` names another file, or is 0 to keep none. What keeps
the record never stands in the way of a check: a file that cannot be read or written is left as it is.
"""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from pathlib import Path

from .._support.environment import solved_file
from ._records import Exercise

COURSE = Path(__file__).parents[2] / "my_course"  # the learner's own copy, which git ignores
PAGE = "my_progress.md"  # in there, where JupyterLab shows it


def solved() -> dict[str, str]:
    """The day on which each exercise was first solved, by id; empty where no record is kept or it cannot be read."""
    try:
        return _read(solved_file())
    except (OSError, ValueError):
        return {}


def record(id: str, known: dict[str, Exercise], course: Path = COURSE) -> None:
    """Note that an exercise is solved, and write the page anew; the course's own solutions count for nothing."""
    file, notebook = solved_file(), Path(os.environ.get("JPY_SESSION_NAME") or "")
    if file is None or "solutions" in notebook.parts:
        return
    try:
        days = _read(file)
        if id not in days:
            file.parent.mkdir(parents=True, exist_ok=True)
            _replace(file, json.dumps(days | {id: datetime.date.today().isoformat()}, indent=1) + "\n")
        write_page(known, course)
    except (OSError, ValueError):
        return


def summary(known: dict[str, Exercise], course: Path = COURSE) -> str:
    """One line for the end of a notebook; empty where no record is kept."""
    file = solved_file()
    if file is None:
        return ""
    done = len(set(solved()) & set(known))
    where = PAGE if (course / PAGE).exists() else _shown(file)
    return (
        f"Solved so far on this computer: {done} of the course's {len(known)} exercises, listed in `{where}`."
    )


def write_page(known: dict[str, Exercise], course: Path = COURSE) -> None:
    """Write the page into the learner's copy of the course, if there is one and a record is kept."""
    if solved_file() is not None and (course / "exercises").is_dir():
        _replace(course / PAGE, page(known, course))


def page(known: dict[str, Exercise], course: Path = COURSE) -> str:
    """What is solved, lesson by lesson, as Markdown."""
    days, rows = solved(), []
    notebooks = {path.stem.partition("_")[2]: path for path in (course / "exercises").glob("*/*.ipynb")}
    lessons: dict[str, list[Exercise]] = {}
    for exercise in known.values():
        lessons.setdefault(exercise.lesson, []).append(exercise)
    for lesson, exercises in sorted(lessons.items(), key=lambda row: str(notebooks.get(row[0], row[0]))):
        title = lesson.replace("_", " ").capitalize()
        if path := notebooks.get(lesson):
            number = path.name.partition("_")[0]
            title = f"{number} · [{title}]({path.relative_to(course).as_posix()})"
        marks = "<br>".join(f"{'✓' if one.id in days else '○'} {one.title}" for one in exercises)
        done = sum(one.id in days for one in exercises)
        rows.append(f"| {title} | {done} of {len(exercises)} | {marks} |")
    return "\n".join(
        [
            "# What you have solved",
            "",
            f"{len(set(days) & set(known))} of {len(known)} exercises, by `{_shown(solved_file())}` on this computer. "
            "It is sent nowhere; delete it to start over.",
            "",
            "| exercises of | solved | ✓ solved, ○ not yet |",
            "|---|--:|---|",
            *rows,
            "",
        ]
    )


def _read(file: Path | None) -> dict[str, str]:
    if file is None or not file.exists():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{file} is no record of solved exercises.")
    return found


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    handle, unfinished = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with open(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        os.replace(unfinished, file)
    except BaseException:
        os.unlink(unfinished)
        raise


def _shown(file: Path | None) -> str:
    """A path with the home as ~."""
    file = file or Path()
    return f"~/{file.relative_to(Path.home()).as_posix()}" if file.is_relative_to(Path.home()) else str(file)
