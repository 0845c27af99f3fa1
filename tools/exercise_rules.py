"""The rules that a solutions notebook must keep, so that exercises and their tests can be made from it.

`problems` says in sentences which are broken, with the cell. The tests run the same rules.
"""

from __future__ import annotations

import ast
import re
from collections import Counter

import nbformat
from exercise_notebooks import BEGIN, END, STUB, Entry, Lesson, calls, nbgrader_of, place, plain_python

HEADING = re.compile(r"^### Exercise (\d+) · \S.*? +(★☆☆|★★☆|★★★) · (\d+) min\s*$", flags=re.MULTILINE)
_ALMOST_MARKER = re.compile(r"\b(begin|end)[ _-]*solution|^\s*#+\s*stub\b", flags=re.IGNORECASE)


def problems(lesson: Lesson, points: dict[str, int] | None = None) -> list[str]:
    """All reasons to refuse the notebook; `points` are those of the registered checks."""
    found = list(lesson.faults)
    cells = lesson.notebook.cells
    for position, cell in enumerate(cells):
        where = place(lesson.notebook, position)
        found += [f"{where}: {fault}" for fault in _faults_of_cell(cell)]
    ids = Counter(cell.get("id") for cell in cells)
    found += [f"the cell id {id} is used {n} times" for id, n in ids.items() if n > 1 and id is not None]
    grade_ids = Counter(nbgrader_of(cell).get("grade_id") for cell in cells)
    found += [
        f'the grade id "{id}" is used {n} times' for id, n in grade_ids.items() if n > 1 and id is not None
    ]
    for number, entry in enumerate(lesson.entries, start=1):
        found += _faults_of_entry(lesson, entry, points)
        found += _faults_of_heading(lesson, entry, number)
    if not lesson.entries:
        found.append("it has no exercise: a lesson has 4 to 8")
    elif "score_card" not in calls(cells[-1]):
        found.append(f"{place(lesson.notebook, len(cells) - 1)}: the last cell must be `score_card()`")
    return [f"solutions/{lesson.path.as_posix()}: {fault}" for fault in found]


def _faults_of_cell(cell: nbformat.NotebookNode) -> list[str]:
    faults = [] if cell.get("id") else ["has no id; save the notebook in nbformat 4.5"]
    solution = nbgrader_of(cell).get("solution")
    if BEGIN in cell.source and not solution:
        faults.append("holds a solution region but is not marked as a solution cell")
    if solution and BEGIN not in cell.source:
        faults.append(f"is marked as a solution cell but has no `{BEGIN}`")
    if cell.cell_type != "code":
        return faults
    faults += _faults_of_markers(cell.source)
    try:
        ast.parse(plain_python(cell.source))
    except SyntaxError as error:
        faults.append(f"is not Python: {error.msg} in line {error.lineno}")
    return faults


def _faults_of_markers(source: str) -> list[str]:
    faults, opened, content, stub = [], None, 0, False
    for number, line in enumerate(source.splitlines(), start=1):
        mark, indent = line.strip(), line[: len(line) - len(line.lstrip())]
        if mark not in (BEGIN, STUB, END):
            if _ALMOST_MARKER.search(line):
                faults.append(
                    f"line {number}: write the marker exactly as `{BEGIN}`, `{STUB}` or `{END}`: {mark}"
                )
            elif opened is not None and mark:
                content += 1
                if stub and not mark.startswith("#"):
                    faults.append(f"line {number}: a line of a `{STUB}` must be commented out: {mark}")
                if not indent.startswith(opened):
                    faults.append(f"line {number}: is indented less than the `{BEGIN}` above it: {mark}")
            continue
        if mark == BEGIN:
            if opened is not None:
                faults.append(f"line {number}: `{BEGIN}` within a region; regions cannot be nested")
            opened, content, stub = indent, 0, False
        elif opened is None:
            faults.append(f"line {number}: `{mark}` without `{BEGIN}` above it")
        else:
            if indent != opened:
                faults.append(f"line {number}: `{mark}` is not indented like its `{BEGIN}`")
            if not content:
                faults.append(f"line {number}: nothing stands above `{mark}` in its region")
            opened, content, stub = (None, 0, False) if mark == END else (opened, 0, True)
    return [*faults, f"`{BEGIN}` without `{END}`"] if opened is not None else faults


def _faults_of_entry(lesson: Lesson, entry: Entry, points: dict[str, int] | None) -> list[str]:
    cells, faults = lesson.notebook.cells, []
    solution, check = (nbgrader_of(cells[entry.cells[role]]) for role in ("solution", "check"))
    where = place(lesson.notebook, entry.cells["check"])
    if len(calls(cells[entry.cells["check"]])["check"]) > 1:
        faults.append(f"{where}: one check cell checks one exercise")
    if solution.get("grade_id") != entry.id:
        faults.append(
            f'{where}: check("{entry.id}") follows a solution cell with grade id "{solution.get("grade_id")}"'
        )
    if check.get("grade_id") != f"{entry.id}-check" or not (check.get("grade") and check.get("locked")):
        faults.append(f'{where}: is not marked as a locked grade cell with grade id "{entry.id}-check"')
    if points is not None and entry.id not in points:
        faults.append(f'{where}: no check is registered for "{entry.id}" in bdlcore/exercises/checks/')
    elif points is not None and check.get("points") != points[entry.id]:
        faults.append(f"{where}: has {check.get('points')} points, its registered check {points[entry.id]}")
    if "variants" in entry.cells and "variants" not in cells[entry.cells["variants"]].metadata.get(
        "tags", []
    ):
        faults.append(
            f"{place(lesson.notebook, entry.cells['variants'])}: lacks the tag `variants`; it would be handed out"
        )
    return faults


def _faults_of_heading(lesson: Lesson, entry: Entry, number: int) -> list[str]:
    cells, position = lesson.notebook.cells, entry.cells["solution"]
    texts = [
        cell.source
        for cell in cells[:position]
        if cell.cell_type == "markdown" and "### Exercise" in cell.source
    ]
    heading = HEADING.search(texts[-1]) if texts else None
    if heading and int(heading[1]) == number:
        return []
    wanted = f"### Exercise {number} · Title  ★☆☆ · 5 min"
    got = f"; the last heading before it is: {texts[-1].splitlines()[0]}" if texts else ""
    return [
        f'{place(lesson.notebook, position)}: "{entry.id}" needs a heading such as `{wanted}` above it{got}'
    ]
