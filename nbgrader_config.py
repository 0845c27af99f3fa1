"""nbgrader for this course: `solutions/` is its source, `exercises/` its release, a unit folder an assignment.

    nbgrader generate_assignment 1_marginalization

writes the same files as `make exercises`, and the gradebook that collecting and autograding need.
"""

import os
import re
import sys
from pathlib import Path

from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    Execute,
    IgnorePattern,
    LimitOutput,
    LockCells,
    NbGraderPreprocessor,
    SaveAutoGrades,
    SaveCells,
)


class RemoveVariants(NbGraderPreprocessor):
    """Leaves out the cells tagged `variants`: the right and wrong answers that test an exercise's check."""

    def preprocess(self, nb, resources):
        nb.cells = [cell for cell in nb.cells if "variants" not in cell.metadata.get("tags", [])]
        return nb, resources


class SealChecks(NbGraderPreprocessor):
    """Locks the import cell, and lets every check cell import `check` anew, whatever a learner's cell made of the name.

    Locked cells are restored before a submission is graded.
    """

    def preprocess(self, nb, resources):
        first = next((cell for cell in nb.cells if cell.cell_type == "code"), None)
        if first is not None and "nbgrader" not in first.metadata:
            first.metadata["nbgrader"] = {
                "grade": False,
                "grade_id": "imports",
                "locked": True,
                "schema_version": 3,
                "solution": False,
                "task": False,
            }
        for cell in nb.cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                call = re.sub(r"^check\(", "_check(", cell.source, flags=re.MULTILINE)
                cell.source = f"from bdlcore.exercises import check as _check\n\n{call}"
        return nb, resources


class ExecuteAll(Execute):
    """Runs a submission; one whose kernel dies keeps what came before, where nbgrader would drop the notebook."""

    def preprocess(self, nb, resources, **rest):
        try:
            return super().preprocess(nb, resources, **rest)
        except DeadKernelError:
            return nb, resources


class OnlyVerdictsCount(NbGraderPreprocessor):
    """Gives points to a check cell for what it shows: all if its exercise is correct, else those of its right parts.

    nbgrader gives full points to any cell that raises nothing: one that was not run, or whose check was replaced.
    Nor does a notebook earn any whose unlocked cells name what decides about points.
    """

    def preprocess(self, nb, resources):
        touched = any(
            MACHINE.search(cell.source)
            for cell in nb.cells
            if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("locked")
        )
        for cell in nb.cells:
            graded = cell.metadata.get("nbgrader", {})
            if not graded.get("grade") or cell.cell_type != "code":
                continue
            verdict = {"state": "correct", "exercise": graded["grade_id"].removesuffix("-check")}
            shown = [v for v in (output.get("metadata", {}).get("bdl") for output in cell.outputs) if v]
            share = verdict | {"state": "not yet", "earned": shown[0].get("earned") if shown else None}
            if touched:
                refuse(
                    cell, "A cell of this notebook names what decides about points: no check of it counts."
                )
            elif shown == [share] and share["earned"]:
                give(cell, share["earned"])
            elif shown != [verdict]:
                refuse(cell, "This check did not say that the answer is correct.")
        return nb, resources


# what no answer needs: the mode, the modules behind `check`, and the record that a verdict leaves
MACHINE = re.compile(
    r"NBGRADER|(?<!from )\bbdl(core)?\.exercises\b|\bbdlcore\.exercises\.(?!checks\b)|\bsys\.modules\b"
    r"|\b(_machine|_judgements|_trial|_records|_show|_Check)\b|\btype\(_?check\)|\bcheck\.__|[\"']bdl[\"']"
)


def give(cell, points):
    """Puts a number in place of the check's refusal, which nbgrader reads as these points; another error stays."""
    if all(output.ename == "NotCorrect" for output in cell.outputs if output.output_type == "error"):
        kept = [output for output in cell.outputs if output.output_type not in ("error", "execute_result")]
        number = new_output("execute_result", {"text/plain": points}, execution_count=cell.execution_count)
        cell.outputs = [*kept, number]


def refuse(cell, reason):
    """Gives a check cell an error, which nbgrader reads as no points; one that it has already stays."""
    if not any(output.output_type == "error" for output in cell.outputs):
        error = new_output("error", ename="NotCorrect", evalue=reason, traceback=[reason])
        cell.outputs = [*cell.outputs, error]
    # a number among the outputs would be read as partial points
    cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]


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
    SealChecks,
    LockCells,
    ReplaceSolutions,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    TidyNotebook,
    SaveCells,
]
c.ClearSolutions.code_stub = {"python": "...  # your code here"}

# An answer that loops is interrupted, and the cells after it still run.
c.Execute.timeout = c.ExecuteAll.timeout = 120
c.Execute.interrupt_on_timeout = c.ExecuteAll.interrupt_on_timeout = True
c.Autograde.autograde_preprocessors = [
    ExecuteAll,
    OnlyVerdictsCount,
    IgnorePattern,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]
