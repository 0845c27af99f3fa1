"""Show the lessons' live demos as pages without code: `python tools/present.py [--lesson 03]`.

Writes a notebook to build/present for each lesson that has a demo: the cells that its demos need, with their outputs
unseen, then the demos, then the words and speaker notes of their sections. Voilà serves them until Control-C. A page
starts a kernel and runs those cells first, and says so meanwhile.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
from cells_needed import cells_needed
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
ipywidgets.Tab(pages, titles={titles}) if len(pages) > 1 else pages[0]
"""


def is_demo(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and "bdl.demo(" in cell.source


def page_of(lesson: NotebookNode) -> NotebookNode | None:
    """The notebook behind a lesson's page; None where the lesson has no demo."""
    cells = lesson.cells
    demos = [i for i, cell in enumerate(cells) if is_demo(cell)]
    if not demos:
        return None
    sources = [cell.source if cell.cell_type == "code" else "" for cell in cells]
    sizes = [i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", ())]
    setup = [i for i, code in enumerate(sources) if "bdl.setup(" in code]
    needed = cells_needed(sources, sorted({*setup, *sizes, *demos}))
    runs = [new_code_cell(f"%%capture\n{sources[i]}") for i in needed]
    runs.insert(1, new_code_cell(QUIET))  # the first cell that is needed imports bdlcore
    sections = [section_of(cells[:i]) for i in demos]
    titles = [re.sub(r"^#+ ", "", section.partition("\n")[0]) for section in sections]
    return new_notebook(
        cells=[
            new_markdown_cell(f"# {question(lesson)}"),
            *runs,
            new_code_cell(SHOW.format(titles=titles).strip()),
            new_markdown_cell(notes_of(cells, sections)),
        ],
        metadata={"kernelspec": lesson.metadata.kernelspec},
    )


def section_of(cells: list[NotebookNode]) -> str:
    """The words of the section in which a cell below these lies, with its heading."""
    words = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown" and not is_note(cell))
    return re.split(r"^(?=#{1,3} )", words, flags=re.MULTILINE)[-1].strip()


def is_note(cell: NotebookNode) -> bool:
    return cell.source.startswith(NOTE)


def notes_of(cells: list[NotebookNode], sections: list[str]) -> str:
    """The speaker notes of a lesson, then the words of its demos' sections, folded."""
    notes = [cell.source for cell in cells if is_note(cell)]
    return "\n\n".join(["<details><summary>Notes</summary>", *notes, *dict.fromkeys(sections), "</details>"])


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


def command(folder: Path, *more: str, idle: int = 60) -> list[str]:
    """Voilà on a folder, for this machine alone; the kernel of a page ends that was closed for `idle` seconds."""
    return [
        *(sys.executable, "-m", "voila", str(folder), "--template=course", "--show_tracebacks=True"),
        *("--Voila.ip=localhost", "--classic-tree"),
        f"--MappingKernelManager.cull_interval={idle // 2}",
        f"--MappingKernelManager.cull_idle_timeout={idle}",
        *more,
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
