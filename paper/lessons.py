"""What is stored, in the lessons: a Markdown cell per experiment, after the cell that has *At full scale*.

A cell's text stands between `<!-- paper:NAME -->` and `<!-- /paper:NAME -->` and is written by `python -m paper
--write`, never by hand. No code cell is touched, so that confirmations stay valid.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from . import experiments, results, tables
from .experiment import Experiment

ROOT = Path(__file__).resolve().parents[1]
HEADING = "### At full scale"
SHOWN = ("full", "hour")  # sizes, the largest first; what tests run is not shown


def text(experiment: Experiment, folder: Path = results.FOLDER) -> str:
    """The cell of an experiment, as the stored results give it."""
    found = {size: results.read(experiment, size, folder) for size in SHOWN}
    body = tables.section(experiment, {size: result for size, result in found.items() if result["cells"]})
    return f"<!-- paper:{experiment.name} -->\n{body}\n<!-- /paper:{experiment.name} -->"


def lesson_of(experiment: Experiment, root: Path = ROOT) -> Path:
    """The lesson that shows it."""
    (path,) = (root / "lessons").glob(f"*/{experiment.lesson}_*.ipynb")
    return path


def written(path: Path, folder: Path = results.FOLDER) -> NotebookNode:
    """The lesson with the cells of its experiments as they should be."""
    notebook = nbformat.read(path, as_version=4)
    mine = [each for each in map(experiments.load, experiments.NAMES) if path.name.startswith(each.lesson)]
    cells = [cell for cell in notebook.cells if not cell.source.startswith("<!-- paper:")]
    (after,) = (k for k, cell in enumerate(cells) if cell.cell_type == "markdown" and HEADING in cell.source)
    new = [
        new_markdown_cell(
            text(each, folder), id=f"paper-{each.name}", metadata={"slideshow": {"slide_type": "skip"}}
        )
        for each in mine
    ]
    notebook.cells = cells[: after + 1] + new + cells[after + 1 :]
    return notebook


def lessons(root: Path = ROOT) -> list[Path]:
    """The lessons that show an experiment."""
    return list(dict.fromkeys(lesson_of(experiments.load(name), root) for name in experiments.NAMES))


def write(root: Path = ROOT, folder: Path = results.FOLDER) -> list[Path]:
    """Bring all lessons up to date; returns those that changed."""
    changed = []
    for path in lessons(root):
        notebook = written(path, folder)
        if notebook != nbformat.read(path, as_version=4):
            nbformat.validate(notebook)
            nbformat.write(notebook, path)
            changed.append(path)
    return changed
