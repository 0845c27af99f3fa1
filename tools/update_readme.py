"""Write what the pages take from the notebooks: README, CLAIMS.md, pages and pictures in docs/, and a cell a lesson.

    python tools/update_readme.py            rewrite them
    python tools/update_readme.py --check    fail, and show the difference, if one is out of date

README.md, docs/class.md and docs/teaching.md have sections between `<!-- BEGIN name ... -->` and `<!-- END name -->`;
CLAIMS.md and the pictures are written as a whole, and in each lesson the cell *On other seeds*. Everything is read from
what is stored: questions, minutes, memory, claims and figures from the executed lessons, confirmations from
confirmation/, the kill score by running the checks.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import claims_page
import fresh_seeds
from claims_page import OutOfDate, cell, number_of, question, read_notebook, rows_of, tally
from execute_notebooks import ROOT, notebooks

LAB_MEGABYTES = 130  # of JupyterLab's server process for one student
FIRST_FIGURE = "docs/one_network_or_many.png"  # of the first lesson, as it is stored there


def course_map(root: Path = ROOT) -> str:
    """One row a lesson: its question, its exercises, its minutes and the lessons that it needs."""
    lines = ["| | question | minutes | needs |", "|---|---|--:|---|"]
    for path in notebooks("lessons", root=root):
        relative = path.relative_to(root / "lessons").as_posix()
        notebook = read_notebook(path)
        seconds = notebook["metadata"].get("bdl", {}).get("two_cores")
        if seconds is None:
            raise OutOfDate(
                f"{relative} has no measured time. Run tools/execute_notebooks.py lessons/{relative}"
            )
        link = f"[{cell(question(notebook))}](lessons/{relative})"
        if (root / "exercises" / relative).exists():
            link += f" · [exercises](exercises/{relative})"
        lines.append(f"| {number_of(path)} | {link} | {seconds / 60:.1f} | {', '.join(needs(notebook))} |")
    return "\n".join(lines)


def needs(notebook: dict) -> list[str]:
    """The numbers of the lessons that a title cell's *You need* links to; those that only help are left out."""
    title = "".join(notebook["cells"][0]["source"])
    paragraph = re.search(r"^\*\*You need\*\*.*?(?=\n\n|\Z)", title, flags=re.MULTILINE | re.DOTALL)
    if not paragraph:
        return []
    sentences = re.split(r"(?<=[.)])\s+(?=[A-Z\[])", paragraph[0])
    asked = " ".join(sentence for sentence in sentences if " helps" not in sentence)
    return list(dict.fromkeys(re.findall(r"\((?:[^()]*/)?(\d\d)_\w+\.ipynb\)", asked)))


def claims_summary(root: Path = ROOT) -> str:
    """How many claims came to which verdict, their picture, and the way to each of them."""
    rows = rows_of(root)
    if not rows:
        return "No lesson has measured a claim yet."
    failed = len(rows) - Counter(row.verdict for row in rows)["holds"]
    confirmed = sum(row.enough for row in rows)
    return (
        f"**{len(rows)} claims: {tally(rows)}.** {confirmed} of them are confirmed on seeds that had no part in "
        f"writing. Each in a line, the [{failed} that do not hold first](CLAIMS.md#by-verdict).\n\n"
        f"[![A dot for each claim, by lesson and verdict]({claims_page.PICTURES}/all.svg)](CLAIMS.md)"
    )


def first_figure(root: Path = ROOT) -> bytes:
    """The first picture that the first lesson stores."""
    for path in notebooks("lessons", root=root)[:1]:
        for each in read_notebook(path)["cells"]:
            for output in each.get("outputs", []):
                if picture := output.get("data", {}).get("image/png"):
                    return base64.b64decode("".join(picture))
    raise OutOfDate("The first lesson stores no figure. Run tools/execute_notebooks.py on it.")


def kill_score(root: Path = ROOT) -> str:
    """How many plausible wrong answers the exercise checks catch, measured now."""
    import prove_checks  # here, because it loads PyTorch

    return kill_score_table(prove_checks.kill_score(root))


def kill_score_table(scores: Sequence[tuple[str, int, int, int, int]]) -> str:
    """Rows of (lesson, exercises, right variants, wrong variants, wrong variants caught) and their total."""
    if not scores:
        return "There are no exercises yet."
    lines = [
        "| exercises of | exercises | right answers accepted | wrong answers caught |",
        "|---|--:|--:|--:|",
    ]
    for lesson, exercises, right, wrong, killed in scores:
        link = f"[{Path(lesson).name}](../exercises/{lesson}.ipynb)"  # as seen from docs/
        lines.append(f"| {link} | {exercises} | {right} | {killed} of {wrong} |")
    exercises, right, wrong, killed = (sum(score[i] for score in scores) for i in range(1, 5))
    lines.append(f"| **all** | **{exercises}** | **{right}** | **{killed} of {wrong}** |")
    return "\n".join(lines)


def mutant_score(root: Path = ROOT) -> str:
    """How many generated wrong answers the checks refuse, from what `make mutants` stored."""
    import mutants  # here, because it loads PyTorch

    rows = mutants.stored(root)
    return f"{mutants.score(rows)}, each [with the reason](../{mutants.STORE.as_posix()}) why it is a right answer."


def class_needs(root: Path = ROOT) -> str:
    """One row a lesson: the memory and the seconds of its stored run; and what a number of students at once need."""
    lines = ["| lesson | memory (MB) | seconds of one core |", "|---|--:|--:|"]
    most = total = 0
    for path in notebooks("lessons", root=root):
        relative = path.relative_to(root / "lessons").as_posix()
        measured = read_notebook(path)["metadata"].get("bdl", {})
        if "megabytes" not in measured:
            raise OutOfDate(
                f"{relative} has no measured memory. Run tools/execute_notebooks.py lessons/{relative}"
            )
        most, total = max(most, measured["megabytes"]), total + measured["seconds"]
        link = f"[{path.stem}](../lessons/{relative})"
        lines.append(f"| {link} | {measured['megabytes']:,} | {measured['seconds']} |")
    lines.append(f"| **all** | | **{total:,}** |")
    lines += ["", "| students at once | memory (GB), one lesson open each |", "|--:|--:|"]
    lines += [f"| {n} | {math.ceil(n * (most + LAB_MEGABYTES) / 1000)} |" for n in (10, 30, 100)]
    return "\n".join(lines)


SECTIONS: dict[str, dict[str, Callable[[Path], str]]] = {
    "README.md": {"course-map": course_map, "claims": claims_summary},
    "docs/class.md": {"class-needs": class_needs},
    "docs/teaching.md": {"kill-score": kill_score, "mutants": mutant_score},
}


def updated(
    text: str, root: Path = ROOT, sections: Mapping[str, Callable[[Path], str]] = SECTIONS["README.md"]
) -> str:
    """The text of a page with the generated sections written anew."""
    for name, write in sections.items():
        begin, end = rf"<!-- BEGIN {name}\b.*?-->", rf"<!-- END {name} -->"
        section = re.findall(rf"{begin}.*?{end}", text, flags=re.DOTALL)
        if len(section) != 1:
            raise OutOfDate(
                f"The page must have exactly one section {name}, found {len(section)}. Put these two lines where "
                f"it belongs:\n  <!-- BEGIN {name}: written by tools/update_readme.py -->\n  <!-- END {name} -->"
            )
        opening = re.match(begin, section[0], flags=re.DOTALL)[0]
        text = text.replace(section[0], f"{opening}\n\n{write(root)}\n\n<!-- END {name} -->")
    return text


def current_files(
    root: Path = ROOT, sections: Mapping[str, Mapping[str, Callable[[Path], str]]] = SECTIONS
) -> dict[str, bytes]:
    """Every generated file as it should be, by its path in the repository."""
    files: dict[str, bytes] = {}
    for name, parts in sections.items():
        if not (root / name).exists():
            raise OutOfDate(f"{root / name} does not exist.")
        files[name] = updated((root / name).read_text(encoding="utf-8"), root, parts).encode()
    files["CLAIMS.md"] = claims_page.page(root).encode()
    files[FIRST_FIGURE] = first_figure(root)
    files |= lessons(root)
    return files | {name: picture.encode() for name, picture in claims_page.pictures(root).items()}


def lessons(root: Path = ROOT) -> dict[str, bytes]:
    """Every lesson, with what became of its claims on fresh seeds."""
    rows = rows_of(root)
    written = {}
    for path in notebooks("lessons", root=root):
        name = path.relative_to(root)
        notebook = fresh_seeds.with_cell(read_notebook(path), [row for row in rows if row.path == name])
        written[name.as_posix()] = f"{json.dumps(notebook, indent=1, ensure_ascii=False)}\n".encode()
    return written


def difference(name: str, stored: bytes, current: bytes) -> str:
    """What changed in a page, line by line; of a picture only that it did."""
    if name.endswith((".png", ".svg")):
        return f"{name} has changed"
    lines = (content.decode().splitlines() for content in (stored, current))
    return "\n".join(difflib.unified_diff(*lines, f"{name}, stored", f"{name}, current", lineterm=""))


def main(arguments: Iterable[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page is out of date")
    options = parser.parse_args(arguments)
    try:
        files = current_files(root)
    except (OutOfDate, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    stored = {name: (root / name).read_bytes() if (root / name).exists() else b"" for name in files}
    changed = [name for name in files if stored[name] != files[name]]
    left_over = {
        path.relative_to(root).as_posix() for path in (root / claims_page.PICTURES).glob("*.svg")
    } - {*files}
    if not changed and not left_over:
        print("README.md, CLAIMS.md, docs/ and the lessons are up to date.")
        return 0
    if options.check:
        print("Pages are out of date: run `make readme`.", file=sys.stderr)
        for name in changed:
            print(difference(name, stored[name], files[name]), file=sys.stderr)
        return 1
    for name in changed:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(files[name])
    for name in left_over:
        (root / name).unlink()
    print(f"Written: {', '.join([*changed, *sorted(left_over)])}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
