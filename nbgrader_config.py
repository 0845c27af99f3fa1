"""nbgrader for this course: `solutions/` is its source, `exercises/` its release, a unit folder an assignment.

    nbgrader generate_assignment 1_marginalization

writes the same files as `make exercises`, and the gradebook that collecting and autograding need.
"""

import os
import re
import sys
from pathlib import Path

from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
    NbGraderPreprocessor,
    SaveCells,
)


class RemoveVariants(NbGraderPreprocessor):
    """Leaves out the cells tagged `variants`: the right and wrong answers that test an exercise's check."""

    def preprocess(self, nb, resources):
        nb.cells = [cell for cell in nb.cells if "variants" not in cell.metadata.get("tags", [])]
        return nb, resources


class ReplaceSolutions(ClearSolutions):
    """nbgrader's ClearSolutions, and a solution region may bring its own stub:

    ### BEGIN SOLUTION
    scale = variance.sqrt()
    ### STUB
    # scale = variance
    ### END SOLUTION

    leaves the learner the line `scale = variance`.
    """

    def _replace_solution_region(self, cell, language):
        before, kept, region = cell.source, [], []
        for line in before.split("\n"):
            mark = line.strip()
            if region or mark == "### BEGIN SOLUTION":
                region.append(line)
            else:
                kept.append(line)
            if mark == "### END SOLUTION":
                stub = next((i + 1 for i, inner in enumerate(region) if inner.strip() == "### STUB"), None)
                kept += region if stub is None else [uncommented(inner) for inner in region[stub:-1]]
                region = []
        cell.source = "\n".join(kept + region)
        return super()._replace_solution_region(cell, language) or cell.source != before


class TidyNotebook(NbGraderPreprocessor):
    """Keeps only the metadata that a learner's notebook needs: the same source gives the same bytes anywhere."""

    def preprocess(self, nb, resources):
        kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
        nb.metadata = type(nb.metadata)(kernelspec=kernel, language_info={"name": "python"})
        for cell in nb.cells:
            kept = ("deletable", "editable", "nbgrader", "slideshow", "tags")
            cell.metadata = type(cell.metadata)(
                {key: cell.metadata[key] for key in kept if key in cell.metadata}
            )
        return nb, resources


def uncommented(line):
    """The line with its leading `# ` taken off, indentation kept."""
    return re.sub(r"^(\s*)# ?", r"\1", line)


# nbgrader starts `alembic` by name, which must be found also where .venv is not activated
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

c = get_config()  # noqa: F821 - nbgrader provides it

c.CourseDirectory.course_id = "bayesian-deep-learning"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

# exercises/ is generated and in the repository: it is always there already, and always to be replaced
c.GenerateAssignment.force = True
c.GenerateAssignment.preprocessors = [
    RemoveVariants,
    LockCells,
    ReplaceSolutions,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    TidyNotebook,
    SaveCells,
]
c.ClearSolutions.code_stub = {"python": "...  # your code here"}
