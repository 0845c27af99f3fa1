"""Write README's sections that come from the notebooks: course map, claims table, kill score.

    python tools/update_readme.py            rewrite them
    python tools/update_readme.py --check    fail, and show the difference, if they are out of date

A section stands between `<!-- BEGIN name ... -->` and `<!-- END name -->`. Everything in it is read from what is
stored: questions, minutes and claims from the executed lessons, the kill score by running the exercise checks.
"""

from __future__ import annotations

import argparse
import difflib
import html
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from execute_notebooks import ROOT, notebooks, spoken

from bdlcore.notebook.claims import SYMBOLS, Claim, stored_claims

VERDICTS = ("holds", "not shown", "contradicted")
MEANINGS = {
    "holds": "the 95 % confidence bound of the mean over seeds is on the claimed side",
    "not shown": "these seeds do not decide it",
    "contradicted": "the bound is on the other side",
}


class OutOfDate(Exception):
    """README or a notebook is not in the state that it should be in; the message says what to do."""


def course_map(root: Path = ROOT) -> str:
    """One row a lesson: its question, run time, exercises and solutions."""
    lines = ["| | lesson | runs in | |", "|---|---|---|---|"]
    for path in notebooks("lessons", root=root):
        relative = path.relative_to(root / "lessons")
        notebook = json.loads(path.read_text(encoding="utf-8"))
        seconds = notebook["metadata"].get("bdl", {}).get("seconds")
        if seconds is None:
            raise OutOfDate(
                f"{relative} has no measured time. Run tools/execute_notebooks.py lessons/{relative}"
            )
        practice = [
            f"[{tree}]({tree}/{relative.as_posix()})"
            for tree in ("exercises", "solutions")
            if (root / tree / relative).exists()
        ]
        link = f"[{_cell(question(notebook))}](lessons/{relative.as_posix()})"
        lines.append(f"| {_number(path)} | {link} | {spoken(seconds)} | {' · '.join(practice)} |")
    return "\n".join(lines)


def question(notebook: dict) -> str:
    """A notebook's title: the first heading of its first cell."""
    source = "".join(notebook["cells"][0]["source"]) if notebook["cells"] else ""
    heading = re.search(r"^# +(.+?)\s*$", source, flags=re.MULTILINE)
    if not heading:
        raise OutOfDate("A notebook's first cell must begin with a title: a line that starts with '# '.")
    return heading[1]


def claims_table(root: Path = ROOT) -> str:
    """Every claim with its number and verdict: first those that failed, then those of each lesson, folded."""
    rows: list[tuple[Path, Claim]] = []
    for path in notebooks("lessons", root=root):
        rows += [(path.relative_to(root), claim) for claim in stored_claims(path)]
    twice = [name for name, n in Counter(claim.name for _, claim in rows).items() if n > 1]
    if twice:
        raise OutOfDate(f"Claims of different lessons share a name: {', '.join(twice)}. Rename all but one.")
    if not rows:
        return "No lesson has measured a claim yet."

    scales = sorted({claim.scale for _, claim in rows})
    counts = Counter(claim.verdict for _, claim in rows)
    total = ", ".join(f"{verdict} **{counts[verdict]}**" for verdict in VERDICTS)
    lines = [f"{len(rows)} claims measured at {' and '.join(scales)} scale: {total}.", ""]
    lines += [f"- {SYMBOLS[verdict]} {verdict}: {MEANINGS[verdict]}." for verdict in VERDICTS]
    failed = [row for row in rows if row[1].verdict != "holds"]
    if failed:
        lines += ["", "**What did not show, or came out the other way:**", "", *_claim_rows(failed)]
    lines += ["", "**All claims, by lesson** (open one to see its numbers):"]
    for path in dict.fromkeys(path for path, _ in rows):
        own = [row for row in rows if row[0] == path]
        tally = Counter(claim.verdict for _, claim in own)
        summary = ", ".join(f"{tally[verdict]} {verdict}" for verdict in VERDICTS if tally[verdict])
        title = html.escape(
            f"{_number(path)} {question(json.loads((root / path).read_text(encoding='utf-8')))}".strip()
        )
        lines += [
            "",
            f"<details><summary>{title} — {summary}</summary>",
            "",
            *_claim_rows(own),
            "",
            "</details>",
        ]
    lines += ["", "The column *seeds* counts those that are on the claimed side by themselves."]
    return "\n".join(lines)


def _claim_rows(rows: Iterable[tuple[Path, Claim]]) -> list[str]:
    """A table of claims."""
    lines = ["| verdict | claim | measured, mean ± sd over seeds | seeds | lesson |", "|---|---|---|---|---|"]
    for path, claim in rows:
        regime = f" *({_cell(claim.regime)})*" if claim.regime else ""
        measured = f"{_cell(claim.quantity)}: **{_cell(claim.number)}**; {_cell(claim.evidence)}"
        right = f"{round(claim.share * len(claim.seeds))} of {len(claim.seeds)}"
        lesson = f"[{_number(path) or path.stem}]({path.as_posix()})"
        verdict = f"{SYMBOLS[claim.verdict]} {claim.verdict}"
        verdict = verdict if claim.verdict == "holds" else f"**{verdict}**"
        lines.append(f"| {verdict} | {_cell(claim.statement)}{regime} | {measured} | {right} | {lesson} |")
    return lines


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
        link = f"[{Path(lesson).name}](exercises/{lesson}.ipynb)"
        lines.append(f"| {link} | {exercises} | {right} | {killed} of {wrong} |")
    exercises, right, wrong, killed = (sum(score[i] for score in scores) for i in range(1, 5))
    lines.append(f"| **all** | **{exercises}** | **{right}** | **{killed} of {wrong}** |")
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[Path], str]] = {
    "course-map": course_map,
    "claims": claims_table,
    "kill-score": kill_score,
}


def updated(readme: str, root: Path = ROOT, sections: Mapping[str, Callable[[Path], str]] = SECTIONS) -> str:
    """The text of README with the generated sections written anew."""
    for name, write in sections.items():
        begin, end = rf"<!-- BEGIN {name}\b.*?-->", rf"<!-- END {name} -->"
        section = re.findall(rf"{begin}.*?{end}", readme, flags=re.DOTALL)
        if len(section) != 1:
            raise OutOfDate(
                f"README.md must have exactly one section {name}, found {len(section)}. Put these two lines where "
                f"it belongs:\n  <!-- BEGIN {name}: written by tools/update_readme.py -->\n  <!-- END {name} -->"
            )
        opening = re.match(begin, section[0], flags=re.DOTALL)[0]
        readme = readme.replace(section[0], f"{opening}\n\n{write(root)}\n\n<!-- END {name} -->")
    return readme


def _number(lesson: Path) -> str:
    return re.match(r"\d*", lesson.name)[0]


def _cell(text: str) -> str:
    """Text that stays inside one cell of a Markdown table."""
    return re.sub(r"\s+", " ", text).replace("|", r"\|")


def main(arguments: Iterable[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail if README is out of date")
    options = parser.parse_args(arguments)
    readme = root / "README.md"
    try:
        if not readme.exists():
            raise OutOfDate(f"{readme} does not exist.")
        stored = readme.read_text(encoding="utf-8")
        current = updated(stored, root)
    except (OutOfDate, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    if stored == current:
        print("README.md is up to date.")
        return 0
    if options.check:
        print("README.md is out of date: run `make readme`.", file=sys.stderr)
        changes = difflib.unified_diff(
            stored.splitlines(), current.splitlines(), "stored", "current", lineterm=""
        )
        print(*changes, sep="\n", file=sys.stderr)
        return 1
    readme.write_text(current, encoding="utf-8")
    print("README.md is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
