"""Reading solutions notebooks: which cells make which exercise, what must not be handed out, and running the cells.

An exercise is a solution cell (with a region between `### BEGIN SOLUTION` and `### END SOLUTION`), a check cell that
calls `check("its-id", ...)` and a variants cell that calls `variants("its-id")`, in this order.
"""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import nbformat

ROOT = Path(__file__).resolve().parents[1]
BEGIN, STUB, END = "### BEGIN SOLUTION", "### STUB", "### END SOLUTION"
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


def lessons(root: Path) -> list[Lesson]:
    """All notebooks under `root`/solutions."""
    source = root / "solutions"
    paths = sorted(path.relative_to(source) for path in source.rglob("*.ipynb"))
    return [read_lesson(root, path) for path in paths if ".ipynb_checkpoints" not in path.parts]


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
                + (f" for the one in cell {waiting[0][1] + 1}" if waiting else "")
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


def run_cells(path: Path, stand_ins: Mapping[str, object]) -> str:
    """Runs a notebook's code cells in order in this process; says which cell failed and how, or "".

    The stand-ins replace names of `bdlcore.exercises` that the cells import.
    """
    notebook = nbformat.read(path, as_version=4)
    namespace: dict[str, object] = {"__name__": "__main__"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.multiple("bdlcore.exercises", **stand_ins))
        stack.enter_context(contextlib.chdir(path.parent))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(_close_figures)
        for position, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            source, name = plain_python(cell.source), f"<{path.name} cell {position + 1}>"
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            try:
                exec(compile(source, name, "exec"), namespace)
            except Exception as error:
                return f"{place(notebook, position)}: {type(error).__name__}: {error}"
    return ""


def _close_figures() -> None:
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def plain_python(source: str) -> str:
    """A cell without IPython's own lines."""
    return "\n".join("pass" if re.match(r"\s*[%!]", line) else line for line in source.splitlines())


def calls(cell: nbformat.NotebookNode) -> dict[str, list[str]]:
    """First arguments of the calls of check, variants and score_card in a cell."""
    found: dict[str, list[str]] = {}
    try:
        tree = ast.parse(plain_python(cell.source)) if cell.cell_type == "code" else ast.Module([], [])
    except SyntaxError:
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("check", "variants", "score_card"):
                first = node.args[0] if node.args else None
                found.setdefault(node.func.id, []).append(
                    first.value if isinstance(first, ast.Constant) else ""
                )
    return found


def nbgrader_of(cell: nbformat.NotebookNode) -> dict:
    """A cell's nbgrader metadata."""
    return cell.metadata.get("nbgrader", {})


def _roles(notebook: nbformat.NotebookNode) -> Iterator[tuple[int, str, str]]:
    """(position, role, exercise id) of the cells that belong to exercises."""
    for position, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        called = calls(cell)
        if nbgrader_of(cell).get("solution") or BEGIN in cell.source:
            yield position, "solution", nbgrader_of(cell).get("grade_id", "")
        elif "check" in called:
            yield position, "check", called["check"][0]
        elif "variants" in called:
            yield position, "variants", called["variants"][0]


def _essence(line: str) -> str:
    """A line without spaces, comment and `return`; empty for lines that say nothing about a solution."""
    line = re.sub(r"^return\b", "", re.sub(r"\s+#.*$|^#.*$", "", line.strip())).strip()
    return "" if re.match(r"(import|from|def|class)\b|@", line) else _squeeze(line)


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text)
