"""What a solutions notebook must look like, so that an exercise notebook and its tests can be made from it.

`read_lesson` finds the exercises of a notebook, `problems` says in sentences what is wrong with it, `mark` writes the
nbgrader metadata, `leaks` looks for solution lines in a generated notebook. Nothing here runs a cell.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

BEGIN, STUB, END = "### BEGIN SOLUTION", "### STUB", "### END SOLUTION"
HEADING = re.compile(r"### Exercise (\d+) · (\S.*?) +(★☆☆|★★☆|★★★) · (\d+) min\s*$", flags=re.MULTILINE)
_ALMOST_MARKER = re.compile(r"\b(begin|end)[ _-]*solution|^\s*#+\s*stub\b", flags=re.IGNORECASE)
_ROLES = {"solution": "a solution cell", "check": "a check cell", "variants": "a variants cell"}


@dataclass
class Entry:
    """One exercise: its cells' positions in the notebook."""

    id: str
    cells: dict[str, int] = field(default_factory=dict)  # role -> position


@dataclass
class Lesson:
    """A solutions notebook and its exercises in order; `path` is relative to solutions/."""

    path: Path
    notebook: nbformat.NotebookNode
    entries: list[Entry]
    faults: list[str]

    @property
    def name(self) -> str:
        """The name of its check module: the file name without its number."""
        return re.sub(r"^\d+_", "", self.path.stem)


def read_lesson(root: Path, path: Path) -> Lesson:
    """A notebook under `root`/solutions with its exercises: solution cell, check cell, variants cell, in this order."""
    notebook = nbformat.read(root / "solutions" / path, as_version=4)
    lesson = Lesson(path, notebook, [], [])
    waiting: list[tuple[str, int]] = []  # the roles of the exercise being read
    for position, role, id in _roles(notebook):
        where = place(notebook, position)
        expected = ("solution", "check", "variants")[len(waiting)]
        if role != expected:
            lesson.faults.append(
                f"{where}: here stands {_ROLES[role]}, but {_ROLES[expected]} must come first"
                + (f" for the one in cell {waiting[-1][1] + 1}" if waiting else "")
                + "; each exercise is a solution cell, a check cell and a variants cell, in this order"
            )
            waiting = [(role, position)] if role == "solution" else []
            continue
        if role == "check":
            lesson.entries.append(Entry(id, {"solution": waiting[0][1], "check": position}))
        elif role == "variants":
            entry = lesson.entries[-1]
            entry.cells["variants"] = position
            if id != entry.id:
                lesson.faults.append(
                    f'{where}: variants("{id}") follows check("{entry.id}"); the ids must be equal'
                )
        waiting = [*waiting, (role, position)] if role != "variants" else []
    if waiting:
        missing = "variants" if len(waiting) == 2 else "check"
        lesson.faults.append(f"{place(notebook, waiting[0][1])}: {_ROLES[missing]} is missing after it")
    return lesson


def place(notebook: nbformat.NotebookNode, position: int) -> str:
    """How messages name a cell."""
    return f"cell {position + 1} (id {notebook.cells[position].get('id', 'missing')})"


def mark(lesson: Lesson, points: dict[str, int]) -> int:
    """Writes nbgrader metadata and tags into the cells of every exercise; returns how many cells changed."""
    changed = 0
    for entry in lesson.entries:
        for role, position in entry.cells.items():
            metadata = lesson.notebook.cells[position].metadata
            before = dict(metadata)
            if role == "variants":
                metadata["tags"] = sorted({*metadata.get("tags", []), "variants"})
            else:
                graded = role == "check"
                metadata["nbgrader"] = {
                    "grade": graded,
                    "grade_id": f"{entry.id}-check" if graded else entry.id,
                    "locked": graded,
                    **({"points": points[entry.id]} if graded and entry.id in points else {}),
                    "schema_version": 3,
                    "solution": not graded,
                    "task": False,
                }
            changed += dict(metadata) != before
    return changed


def problems(lesson: Lesson, points: dict[str, int] | None = None) -> list[str]:
    """All reasons to refuse the notebook; `points` are those of the registered checks."""
    found = list(lesson.faults)
    cells = lesson.notebook.cells
    for position, cell in enumerate(cells):
        where = place(lesson.notebook, position)
        found += [f"{where}: {fault}" for fault in _faults_of_cell(cell)]
    ids = Counter(cell.get("id") for cell in cells)
    found += [f"the cell id {id} is used {n} times" for id, n in ids.items() if n > 1 and id is not None]
    grade_ids = Counter(_nbgrader(cell).get("grade_id") for cell in cells)
    found += [
        f'the grade id "{id}" is used {n} times' for id, n in grade_ids.items() if n > 1 and id is not None
    ]
    for entry in lesson.entries:
        found += _faults_of_entry(lesson, entry, points)
    if not lesson.entries:
        found.append("it has no exercise: a lesson has 4 to 8")
    elif "score_card" not in _calls(cells[-1]):
        found.append(f"{place(lesson.notebook, len(cells) - 1)}: the last cell must be `score_card()`")
    return [f"solutions/{lesson.path.as_posix()}: {fault}" for fault in found]


def leaks(lesson: Lesson, exercises: nbformat.NotebookNode) -> list[str]:
    """Solution lines, and variants, that the exercise notebook shows."""
    shown = _squeeze("\n".join(cell.source for cell in exercises.cells))
    shown += _squeeze(
        str([(cell.metadata, cell.get("outputs"), cell.get("attachments")) for cell in exercises.cells])
    )
    where = f"exercises/{lesson.path.as_posix()}"
    found = [
        f'{where}: shows a line of the solution of "{entry.id}": {line.strip()}'
        for entry in lesson.entries
        for line in solution_lines(lesson.notebook.cells[entry.cells["solution"]].source)
        if len(_essence(line)) >= 12 and _essence(line) in shown
    ]
    if re.search(
        r"\bvariants\(|@v\.(right|wrong)|v\.show\(", "\n".join(cell.source for cell in exercises.cells)
    ):
        found.append(f"{where}: shows a variants cell")
    return found


def solution_lines(source: str) -> list[str]:
    """The lines within solution regions, without those of a `### STUB`."""
    lines, inside = [], False
    for line in source.splitlines():
        mark = line.strip()
        if mark in (BEGIN, STUB, END):
            inside = mark == BEGIN
        elif inside:
            lines.append(line)
    return lines


def _essence(line: str) -> str:
    """A line without spaces, comment and `return`; empty for lines that say nothing about a solution."""
    line = re.sub(r"^return\b", "", re.sub(r"\s+#.*$|^#.*$", "", line.strip())).strip()
    return "" if re.match(r"(import|from|def|class)\b|@", line) else _squeeze(line)


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _roles(notebook: nbformat.NotebookNode) -> Iterator[tuple[int, str, str]]:
    """(position, role, exercise id) of the cells that belong to exercises."""
    for position, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        calls = _calls(cell)
        if _nbgrader(cell).get("solution") or BEGIN in cell.source:
            yield position, "solution", _nbgrader(cell).get("grade_id", "")
        elif "check" in calls:
            yield position, "check", calls["check"][0]
        elif "variants" in calls:
            yield position, "variants", calls["variants"][0]


def _faults_of_cell(cell: nbformat.NotebookNode) -> list[str]:
    faults = [] if cell.get("id") else ["has no id; save the notebook in nbformat 4.5"]
    solution = _nbgrader(cell).get("solution")
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
    solution, check = (_nbgrader(cells[entry.cells[role]]) for role in ("solution", "check"))
    where = place(lesson.notebook, entry.cells["check"])
    if len(_calls(cells[entry.cells["check"]])["check"]) > 1:
        faults.append(f"{where}: one check cell checks one exercise")
    if solution.get("grade_id") != entry.id:
        faults.append(
            f'{where}: check("{entry.id}") follows a solution cell with grade id "{solution.get("grade_id")}"'
        )
    if check.get("grade_id") != f"{entry.id}-check" or not (check.get("grade") and check.get("locked")):
        faults.append(f'{where}: is not marked as a locked grade cell with grade id "{entry.id}-check"')
    if points is not None and entry.id not in points:
        faults.append(f'{where}: no check is registered for "{entry.id}" in bdlcore/exercises/')
    elif points is not None and check.get("points") != points[entry.id]:
        faults.append(f"{where}: has {check.get('points')} points, its registered check {points[entry.id]}")
    if "variants" in entry.cells and "variants" not in cells[entry.cells["variants"]].metadata.get(
        "tags", []
    ):
        faults.append(
            f"{place(lesson.notebook, entry.cells['variants'])}: lacks the tag `variants`; it would be handed out"
        )
    return faults


def plain_python(source: str) -> str:
    """A cell without IPython's own lines."""
    return "\n".join("pass" if re.match(r"\s*[%!]", line) else line for line in source.splitlines())


def _calls(cell: nbformat.NotebookNode) -> dict[str, list[str]]:
    """First arguments of the calls of check, variants and score_card in a cell."""
    calls: dict[str, list[str]] = {}
    try:
        tree = ast.parse(plain_python(cell.source)) if cell.cell_type == "code" else ast.Module([], [])
    except SyntaxError:
        return calls
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("check", "variants", "score_card"):
                first = node.args[0] if node.args else None
                calls.setdefault(node.func.id, []).append(
                    first.value if isinstance(first, ast.Constant) else ""
                )
    return calls


def _nbgrader(cell: nbformat.NotebookNode) -> dict:
    return cell.metadata.get("nbgrader", {})
