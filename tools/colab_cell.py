"""The cell that makes a notebook of the course run where the package is not installed, on Colab say.

    python tools/colab_cell.py [ADDRESS]     print it; ADDRESS is that of the repository, by default CITATION.cff's

Put first in a notebook it does nothing where bdlcore is there. Elsewhere it installs the package and only what is
missing: a PyTorch that is new enough stays, with its drivers.
"""

from __future__ import annotations

import sys

from build_site import repository

CELL = """import importlib.util

if importlib.util.find_spec("bdlcore") is None:
    %pip install --quiet "bdlcore @ git+{address}"
"""


def cell(address: str) -> str:
    """The source of the cell for the course at an address; ValueError if there is none."""
    if not address:
        raise ValueError(
            "Where is the course? Give its address, or write it into CITATION.cff (repository-code)."
        )
    return CELL.format(address=address)


if __name__ == "__main__":
    try:
        print(cell(sys.argv[1] if sys.argv[1:] else repository()), end="")
    except ValueError as problem:
        sys.exit(str(problem))
