"""The cell that makes a notebook of the course run where the package is not installed, on Colab say.

    python tools/colab_cell.py [ADDRESS]     print it; ADDRESS is that of the repository, by default CITATION.cff's

First in a notebook it does nothing where bdlcore is there. Elsewhere it installs the package and only what is missing:
a PyTorch that is new enough stays, with its drivers. `make site` puts it into the notebooks that its pages link to.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from execute_notebooks import ROOT
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

CELL = """import importlib.util

if importlib.util.find_spec("bdlcore") is None:
    %pip install --quiet "bdlcore @ git+{address}"
"""


def repository(root: Path = ROOT) -> str:
    """The public address of the course without a slash at its end; empty where CITATION.cff does not name it."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    return str(citation.get("repository-code", "")).rstrip("/")


def cell(address: str) -> str:
    """The source of the cell for the course at an address; ValueError if there is none."""
    if not address:
        raise ValueError(
            "Where is the course? Give its address, or write it into CITATION.cff (repository-code)."
        )
    return CELL.format(address=address)


def put_into(notebook: NotebookNode, address: str) -> None:
    """Make the cell the notebook's first of code."""
    cells = notebook.cells
    first = next(place for place, one in enumerate(cells) if one.cell_type == "code")
    cells.insert(first, new_code_cell(cell(address).rstrip(), id="install"))


if __name__ == "__main__":
    try:
        print(cell(sys.argv[1] if sys.argv[1:] else repository()), end="")
    except ValueError as problem:
        sys.exit(str(problem))
