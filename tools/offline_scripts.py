"""Scripts of other projects that pages load, copied beside them: no page of the course needs a network."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path


def put_mathjax(folder: Path) -> None:
    """MathJax for TeX with its fonts."""
    _put(
        "sphinx-mathjax-offline",
        "/static/mathjax/",
        folder,
        lambda inside: inside == "tex-chtml.js" or inside.startswith("output/chtml/fonts/"),
    )


def put_reveal(folder: Path) -> None:
    """reveal.js with its speaker view, without its themes."""
    wanted = {"dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js"}
    _put("sphinx-revealjs", "/_static/revealjs/", folder, wanted.__contains__)


def _put(package: str, root: str, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Copy the files below `root` of an installed package that are wanted; LookupError where there is none."""
    found = False
    for file in importlib.metadata.files(package) or []:
        inside = file.as_posix().partition(root)[2]
        if inside and wanted(inside):
            found = True
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), folder / inside)
    if not found:
        raise LookupError(f"The package {package} no longer has the scripts that pages load, below {root}.")
