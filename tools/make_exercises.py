"""Writes exercises/ from solutions/ with nbgrader's own converter (`make exercises`).

    python tools/make_exercises.py           mark the cells of new exercises, then write what has changed
    python tools/make_exercises.py --check   write nothing; say which cell differs, and exit with 1

Refuses a notebook that breaks a rule (`exercise_rules.py`) and one whose solution shows in the exercise.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from exercise_notebooks import ROOT, Lesson, leaks, lessons, mark, place
from exercise_rules import problems
from traitlets.config import PyFileConfigLoader

from bdlcore.exercises import registered


class Refused(Exception):
    """The notebooks under solutions/ cannot become exercises; the text says why, one reason a line."""


def refuse_faulty(found: list[Lesson], points: dict[str, int] | None) -> None:
    """Raises `Refused` with every rule that is broken in any notebook."""
    faults = [fault for lesson in found for fault in problems(lesson, points)]
    owner: dict[str, Path] = {}
    for lesson in found:
        if len(lesson.path.parts) != 2:
            faults.append(
                f"solutions/{lesson.path.as_posix()}: must lie in a unit folder: an nbgrader assignment is a folder"
            )
        for entry in lesson.entries:
            if owner.setdefault(entry.id, lesson.path) != lesson.path:
                faults.append(
                    f'solutions/{lesson.path.as_posix()}: "{entry.id}" is also in {owner[entry.id].as_posix()}'
                )
    if faults:
        raise Refused("\n".join(faults))


def convert(root: Path, target: Path, units: list[str]) -> None:
    """Runs nbgrader's generate_assignment with the course's configuration, into `target` and without a gradebook."""
    from nbgrader.converters import GenerateAssignment  # here, because these take seconds to load
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.preprocessors import SaveCells

    config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
    config.GenerateAssignment.preprocessors.remove(SaveCells)
    for unit in units:
        course = CourseDirectory(config=config, root=str(root), assignment_id=unit)
        course.release_directory = str(target)
        converter = GenerateAssignment(coursedir=course, config=config, no_database=True)
        converter.log.setLevel(logging.ERROR)
        converter.start()


def generate(root: Path, target: Path, points: dict[str, int] | None = None) -> None:
    """Writes the exercise notebooks of all of solutions/ to `target`, or raises `Refused`."""
    found = lessons(root)
    refuse_faulty(found, points)
    convert(root, target, sorted({lesson.path.parts[0] for lesson in found}))
    leaked = [
        leak for lesson in found for leak in leaks(lesson, nbformat.read(target / lesson.path, as_version=4))
    ]
    if leaked:
        raise Refused("\n".join(leaked))


def differences(made: Path, kept: Path) -> dict[Path, str]:
    """Relative path -> how the file under `kept` differs from the one under `made`."""
    files = {path.relative_to(tree) for tree in (made, kept) for path in tree.rglob("*") if path.is_file()}
    found = {}
    for path in sorted(path for path in files if ".ipynb_checkpoints" not in path.parts):
        if not (kept / path).exists():
            found[path] = "is missing"
        elif not (made / path).exists():
            found[path] = "has no source under solutions/"
        elif (made / path).read_bytes() != (kept / path).read_bytes():
            found[path] = (
                "differs" if path.suffix != ".ipynb" else _first_difference(made / path, kept / path)
            )
    return found


def _first_difference(made: Path, kept: Path) -> str:
    try:
        new, old = (nbformat.read(path, as_version=4) for path in (made, kept))
    except Exception as error:
        return f"cannot be read as a notebook: {error}"
    for position, (new_cell, old_cell) in enumerate(zip(new.cells, old.cells)):
        if new_cell != old_cell:
            lines = difflib.unified_diff(
                old_cell.source.splitlines(),
                new_cell.source.splitlines(),
                "exercises/",
                "from solutions/",
                lineterm="",
            )
            what = "\n    ".join(lines) or "    in metadata or outputs"
            return f"differs in {place(new, position)}:\n    {what}"
    if len(new.cells) != len(old.cells):
        return f"has {len(old.cells)} cells instead of {len(new.cells)}"
    return "differs in the notebook's metadata or in how it is written"


def may_hold_work(path: Path) -> bool:
    """True for an exercise notebook that someone has run, or that cannot be read: a learner's answers may be in it."""
    if path.suffix != ".ipynb" or not path.exists():
        return False
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception:
        return True
    return any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def mark_all(root: Path, points: dict[str, int]) -> None:
    """Writes nbgrader metadata into the solutions notebooks where it is missing or out of date."""
    for lesson in lessons(root):
        changed = mark(lesson, points)
        if changed:
            nbformat.write(lesson.notebook, root / "solutions" / lesson.path)
            print(f"marked {changed} cells in solutions/{lesson.path.as_posix()}")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, report differences")
    parser.add_argument(
        "--force", action="store_true", help="also overwrite exercise notebooks that have been run"
    )
    options = parser.parse_args(arguments)
    points, kept = {id: exercise.points for id, exercise in registered().items()}, root / "exercises"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        try:
            if not options.check:
                mark_all(root, points)
            generate(root, made, points)
        except Refused as refusal:
            print(refusal, file=sys.stderr)
            return 1
        found = differences(made, kept)
        if options.check:
            for path, how in found.items():
                print(f"exercises/{path.as_posix()} {how}", file=sys.stderr)
            if found:
                print("exercises/ is not what solutions/ makes: run `make exercises`.", file=sys.stderr)
            return 1 if found else 0
        precious = [] if options.force else [path for path in found if may_hold_work(kept / path)]
        for path in precious:
            print(
                f"exercises/{path.as_posix()} may hold a learner's work: copy it elsewhere, or pass --force",
                file=sys.stderr,
            )
        for path in [path for path in found if path not in precious]:
            (kept / path).unlink(missing_ok=True)
            if (made / path).exists():
                (kept / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made / path, kept / path)
            print(f"{'wrote' if (made / path).exists() else 'removed'} exercises/{path.as_posix()}")
        print(f"exercises/ is up to date with {len(lessons(root))} notebooks under solutions/.")
        return 1 if precious else 0


if __name__ == "__main__":
    sys.exit(main())
