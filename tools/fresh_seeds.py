"""The cell in which a lesson says what became of its verdicts on other seeds.

It is written by `make readme`, from the stored claims and their confirmation, and stands before the cell about the
lesson's weak points. A lesson that is not confirmed, or has changed since, has none.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from claims_page import OutOfDate, Row, one_line

CELL = "fresh-seeds"  # its id, by which it is found again
BEFORE = ("## Where it is weak", "## Where this is weak")
PAGE = "../../CLAIMS.md"


def with_cell(notebook: dict, rows: Sequence[Row]) -> dict:
    """The notebook with its cell for the claims in `rows`, written anew, or without one."""
    notebook = copy.deepcopy(notebook)
    cells = [cell for cell in notebook["cells"] if cell.get("id") != CELL]
    if rows and all(row.enough for row in rows):
        places = [i for i, cell in enumerate(cells) if "".join(cell["source"]).startswith(BEFORE)]
        if len(places) != 1:
            raise OutOfDate(f"{rows[0].path.name} must have one cell that begins with {BEFORE[0]!r}.")
        source = text(rows).splitlines(keepends=True)
        unshown = {"slideshow": {"slide_type": "skip"}}  # on slides, where a long list would not fit
        cells.insert(places[0], {"cell_type": "markdown", "id": CELL, "metadata": unshown, "source": source})
    notebook["cells"] = cells
    return notebook


def text(rows: Sequence[Row]) -> str:
    """What fresh seeds say about the claims of one lesson, all of them confirmed."""
    others = [row for row in rows if row.verdict != row.claim.verdict]
    same, sets = len(rows) - len(others), min(row.confirmed.sets for row in rows)
    verdicts = f"{same} of {len(rows)} verdicts are the same there"
    ending = "." if not others else ", but not this:" if len(others) == 1 else ", but not these:"
    opening = (
        f"What stands above is one run. The whole lesson was run on {sets} more sets of seeds, which had no part in "
        f"writing it, and [the page of all claims]({PAGE}) publishes what their values say together. "
    )
    lines = ["## On other seeds", "", f"{opening}{verdicts}{ending}"]
    return "\n".join([*lines, *([""] if others else []), *map(line, others)])


def line(row: Row) -> str:
    """One claim of which the page says something else than the lesson's own run."""
    found = row.confirmed
    values = f"all {found.overall.independent} values together"
    ends = [caveat for caveat in found.overall.caveats.split("; ") if "grid" in caveat]
    numbers = "; ".join([found.overall.number, *ends])
    said = (
        f"{row.verdict} over {values} ({numbers})"
        if row.verdict == found.overall.verdict
        else f"published as {row.verdict}, since only {found.same} of {found.sets} runs come to what {values} say "
        f"({found.overall.verdict}, {numbers})"
    )
    statement = one_line(row.claim.statement)
    return f"- [{statement}]({PAGE}#{row.claim.name}): {row.claim.verdict} above, {said}."
