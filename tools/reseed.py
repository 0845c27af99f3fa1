"""Run every lesson again on fresh seeds, and report how often each verdict holds: `reseed.py [K] [PATH ...]`.

Run k = 1..K sets BDL_SEED=k, which shifts all seeds of a lesson. Nothing is stored in the notebooks. A verdict that
holds in the lesson but not on fresh seeds was luck; the table at the end puts those first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from execute_notebooks import FAILURES, execute, notebooks

from bdlcore.notebook.claims import Claim, stored_claims


@dataclass(frozen=True)
class Stability:
    """One claim over several runs: how often each verdict came out, and between which values its mean lay."""

    name: str
    lesson: str
    stored: str
    holds: int
    not_shown: int
    contradicted: int
    lowest: float
    highest: float

    @property
    def runs(self) -> int:
        return self.holds + self.not_shown + self.contradicted

    @property
    def same(self) -> int:
        """The runs that came to the verdict that the lesson stores."""
        by_verdict = {"holds": self.holds, "not shown": self.not_shown, "contradicted": self.contradicted}
        return by_verdict.get(self.stored, 0)


def summarise(stored: Iterable[Claim], fresh: Iterable[Claim]) -> list[Stability]:
    """One row per claim that was run again, the least stable first."""
    verdicts = {(claim.lesson, claim.name): claim.verdict for claim in stored}
    runs: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for claim in fresh:
        runs[claim.lesson, claim.name].append(claim)
    rows = [
        Stability(
            name=name,
            lesson=lesson,
            stored=verdicts.get((lesson, name), "not stored"),
            holds=sum(claim.verdict == "holds" for claim in claims),
            not_shown=sum(claim.verdict == "not shown" for claim in claims),
            contradicted=sum(claim.verdict == "contradicted" for claim in claims),
            lowest=min(claim.mean for claim in claims),
            highest=max(claim.mean for claim in claims),
        )
        for (lesson, name), claims in runs.items()
    ]
    return sorted(rows, key=lambda row: (row.same / row.runs, row.lesson, row.name))


def table(rows: list[Stability]) -> str:
    """The report as a Markdown table, which reads well in a terminal too."""
    head = ("claim", "stored verdict", "holds", "not shown", "contradicted", "mean between", "lesson")
    body = [
        (
            row.name,
            row.stored,
            f"{row.holds} of {row.runs}",
            f"{row.not_shown}",
            f"{row.contradicted}",
            f"{row.lowest:.3g} and {row.highest:.3g}",
            row.lesson,
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in (head, rule, *body)
    )


def rerun(path: Path, seed: int) -> tuple[list[Claim], float, str]:
    """The claims of one lesson on shifted seeds, the seconds it took, and what went wrong, if anything."""
    try:
        notebook, seconds = execute(path, seed=seed)
    except FAILURES as error:
        return [], 0.0, str(error)
    return stored_claims(notebook), seconds, ""


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="?", type=int, default=5, metavar="K", help="runs of each lesson (default: 5)"
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="lessons or folders (default: all)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="lessons at a time (default: one a core)"
    )
    options = parser.parse_args(arguments)
    if options.runs < 1 or options.jobs < 1:
        parser.error("K and --jobs must be at least 1")
    missing = [path for path in options.paths if not path.exists()]
    if missing:
        parser.error(f"no such file or folder: {', '.join(map(str, missing))}")
    paths = notebooks(*[str(path.resolve()) for path in options.paths] or ["lessons"])
    if not paths:
        parser.error("found no lessons there")

    stored = [claim for path in paths for claim in stored_claims(path)]
    claims: list[Claim] = []
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:  # the work is done in the kernels
        work = {
            pool.submit(rerun, path, seed): (path, seed)
            for seed in range(1, options.runs + 1)
            for path in paths
        }
        try:
            for number, done in enumerate(as_completed(work), start=1):
                path, seed = work[done]
                label = f"[{number}/{len(work)}] {os.path.relpath(path)} with BDL_SEED={seed}"
                found, seconds, trouble = done.result()
                failed += bool(trouble)
                claims += found
                outcome = f"FAILED\n{trouble}" if trouble else f"{len(found)} claims in {seconds:.0f} s"
                print(f"{label}: {outcome}", flush=True)
        except KeyboardInterrupt:
            print("\nInterrupted: waiting for the lessons that are running.", flush=True)
            pool.shutdown(cancel_futures=True)

    print("\n" + (table(summarise(stored, claims)) if claims else "No claims were measured."))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
