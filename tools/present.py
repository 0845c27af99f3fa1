"""Show the lessons' live demos as pages without code: `python tools/present.py [--lesson 03]`.

Writes a notebook to build/present for each lesson that has a demo: the cells that its demos need, with their outputs
unseen, then the demos, then the words and speaker notes of their sections. Voilà serves them until Control-C. A page
starts a kernel and runs those cells first, and says so meanwhile.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
from claims_page import number_of, question
from execute_notebooks import ROOT, notebooks
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PAGES = ROOT / "build" / "present"
NOTE = "*Speaker note.*"

QUIET = "bdl.guess = bdl.answer = bdl.tally = lambda *_, **__: None  # a page asks no questions"
SHOW = """
import ipywidgets
from bdlcore.notebook.demo import registry

pages = [demo.page() for demo in registry]
ipywidgets.Tab(pages, titles=[f"Demo {i}" for i in range(1, len(pages) + 1)]) if len(pages) > 1 else pages[0]
"""


def is_demo(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and "bdl.demo(" in cell.source


def page_of(lesson: NotebookNode) -> NotebookNode | None:
    """The notebook behind a lesson's page; None where the lesson has no demo."""
    cells = lesson.cells
    if not any(map(is_demo, cells)):
        return None
    needed = cells_needed(
        [cell.source if cell.cell_type == "code" else "" for cell in cells], [*map(is_demo, cells)]
    )
    title = new_markdown_cell(f"# {question(lesson)}")
    runs = [new_code_cell(f"%%capture\n{cells[i].source}") for i in needed]
    runs.insert(1, new_code_cell(QUIET))  # the first cell that is needed imports bdlcore
    return new_notebook(
        cells=[
            title,
            *runs,
            new_code_cell(SHOW.strip()),
            new_markdown_cell(notes_of(cells)),
        ],
        metadata={"kernelspec": lesson.metadata.kernelspec},
    )


def notes_of(cells: list[NotebookNode]) -> str:
    """The words of each demo's section up to the demo, and the speaker notes in it, folded."""
    said, section = [], []
    for cell in cells:
        if cell.cell_type == "markdown":
            if re.match(r"#{1,3} ", cell.source):
                section = []
            section.append(cell.source)
        elif is_demo(cell):
            said += [text for text in section if text not in said]
    said += [cell.source for cell in cells if cell.source.startswith(NOTE) and cell.source not in said]
    return "<details><summary>Notes</summary>\n\n" + "\n\n".join(said) + "\n\n</details>"


# --- which cells a demo needs ---


def cells_needed(sources: list[str], wanted: list[bool]) -> list[int]:
    """The wanted cells and those before them that make or change a name that they use, directly or through others."""
    last = max(i for i, wish in enumerate(wanted) if wish)
    found = [names_of(source) for source in sources[: last + 1]]
    needed = {i for i in range(last + 1) if wanted[i] or "bdl.setup(" in sources[i]}
    while True:  # a function may use what a later cell makes
        names = set().union(*(found[i][1] for i in needed))
        more = {i for i, (made, _) in enumerate(found) if made & names} - needed
        if not more:
            return sorted(needed)
        needed |= more


def names_of(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell makes or changes, and all that it uses."""
    made, used = set(), set()
    for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE))):
        if isinstance(node, ast.Name):
            used.add(node.id)
            if isinstance(node.ctx, ast.Store):
                made.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            made |= owner(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            made |= owner(node.value.func)  # values.append(...) changes values
    return made, used


def owner(node: ast.AST) -> set[str]:
    """The name at the root of an attribute or item, but not that of a module such as `bdl` or `plt`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} - {"bdl", "plt", "plots", "axes", "ax", "print"} if isinstance(node, ast.Name) else set()


# --- serving them ---


def build(folder: Path = PAGES, lesson: str = "", root: Path = ROOT) -> list[Path]:
    """Write the pages' notebooks to a folder; ValueError where there is no such lesson, or it has no demo."""
    pages = {
        path.stem: page_of(nbformat.read(path, as_version=4))
        for path in notebooks("lessons", root=root)
        if lesson in ("", number_of(path))
    }
    pages = {name: page for name, page in pages.items() if page}
    if not pages:
        raise ValueError(
            f"There is no lesson {lesson!r} with a demo; a lesson's number has two digits, such as 03."
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, page in pages.items():
        nbformat.write(page, folder / f"{name}.ipynb")
    return [folder / f"{name}.ipynb" for name in pages]


def command(folder: Path, *more: str) -> list[str]:
    """Voilà on a folder, for this machine alone."""
    return [
        *(sys.executable, "-m", "voila", str(folder), "--template=course", "--show_tracebacks=True"),
        *("--Voila.ip=localhost", "--classic-tree"),
        # the kernel of a page that was closed ends, and frees its memory
        *("--MappingKernelManager.cull_interval=30", "--MappingKernelManager.cull_idle_timeout=60", *more),
    ]


def environment() -> dict[str, str]:
    """The variables with which Voilà finds the template in tools/voila."""
    paths = filter(None, [str(Path(__file__).parent), os.environ.get("JUPYTER_PATH")])
    return {**os.environ, "BDL_PROGRESS": "0", "JUPYTER_PATH": os.pathsep.join(paths)}


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lesson", default="", help="the number of one lesson, such as 03 (default: all)")
    options, more = parser.parse_known_args(arguments)
    try:
        pages = build(lesson=options.lesson)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    shown = pages[0] if options.lesson else PAGES
    try:
        return subprocess.call(command(shown, *more), env=environment())
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
