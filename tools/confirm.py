"""Run lessons on seeds that had no part in writing them, and keep every value: `confirm.py [PATH ...] [--sets N]`.

A *set* is one run of a lesson with BDL_SEED = 101, 102, …, which shifts all of its seeds; 1 to 100 are for trying
things out. What a lesson's sets gave is one file, confirmation/<lesson>.json: each value of each claim, the versions
and the processor, and a digest of the lesson's code. Sets that are there are not run again, so this resumes. When
the code changes, the sets that it was seen on are spent, and the next run takes the next unused ones.

Code that is written differently and computes the same is no new experiment: after such a change `confirm.py --same
PATH` runs one of the stored sets again, and where each value is the stored one to the last digit all sets stay. Where
none was run on this kind of processor, which rounds in its own way, the committed lesson runs as well, to compare.

On a cluster the jobs of an array share the work: job i of n runs `confirm.py --part i/n`, and keeps each set in a file
of its own, confirmation/<lesson>.sets/<number>.json, so that none writes what another does. When they have ended, any
run without --part takes these files in, and runs what is still missing.

The verdict that CLAIMS.md publishes rests on the values of all sets together (`confirmed`). A set that ends in an
error counts as one in which the verdict was not the same. A cell that warns under some seeds will warn under the
lesson's own on another processor, where the tests then fail: a set tells which cells did.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from execute_notebooks import FAILURES, ROOT, execute, notebooks
from nbclient.exceptions import CellExecutionError

from bdlcore._support import processor
from bdlcore.notebook.claims import DECIDED, Claim, combined, stored_claims

FOLDER = "confirmation"
FIRST_SET = 101
ENOUGH_SETS = 10
SAME_SHARE = 0.9  # of the sets must come to a verdict that is published
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")
# what differs from one set to the next; the rest is the lesson's
MEASURED = ("values", "seeds", "clusters", "at_edge", "rhat")


@dataclass
class Confirmation:
    """What is stored of one lesson's sets.

    Attributes:
        lesson: its path below lessons/, without the ending.
        digest: of the code that the sets ran.
        plan: the claims that it had planned, with their thresholds.
        spent: sets on which earlier code was seen.
        sets: the result of each set by its number.
    """

    lesson: str
    digest: str
    plan: dict = field(default_factory=dict)
    spent: list[int] = field(default_factory=list)
    sets: dict[int, dict] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Confirmation | None:
        """What the file holds, or None where there is none."""
        if not path.exists():
            return None
        stored = json.loads(path.read_text(encoding="utf-8"))
        try:
            sets = {int(number): result for number, result in stored["sets"].items()}
            return cls(stored["lesson"], stored["digest"], stored["plan"], stored["spent"], sets)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no confirmation: {error!r}. Remove it and run make confirm."
            ) from error

    def store(self, path: Path) -> None:
        sets = {str(number): self.sets[number] for number in sorted(self.sets)}
        head = {"lesson": self.lesson, "digest": self.digest, "plan": self.plan, "spent": sorted(self.spent)}
        lines = ",\n".join(f"  {json.dumps(number)}: {json.dumps(result)}" for number, result in sets.items())
        text = json.dumps(head)[:-1] + f', "sets": {{\n{lines}\n}}}}\n'
        write(path, text)

    def take_in(self, path: Path) -> int:
        """Store the sets that jobs have kept beside the confirmation at `path`; how many there were.

        Those of other code are spent.
        """
        kept = sorted(sets_beside(path).glob("*.json"))
        for file in kept:
            try:
                stored = json.loads(file.read_text(encoding="utf-8"))
                number, code, result = int(file.stem), stored["digest"], stored["set"]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{file} is no set: {error!r}. Remove it and run make confirm.") from error
            if code == self.digest:
                self.sets[number] = result
            elif number not in self.sets:
                self.spent = sorted({*self.spent, number})
        if kept:
            self.store(path)
            for file in kept:
                file.unlink()
            sets_beside(path).rmdir()
        return len(kept)

    def of(self, notebook: Mapping) -> Confirmation:
        """This for a notebook: if its code is another, its sets are spent."""
        if digest(notebook) == self.digest:
            return self
        return Confirmation(self.lesson, digest(notebook), plan(notebook), sorted({*self.spent, *self.sets}))

    def again_here(self) -> int | None:
        """The number of a set that this processor and these versions should give to the last digit, if there is one."""
        here = where()
        return next((n for n, result in self.sets.items() if here.items() <= result.items()), None)

    def missing(self, wanted: int) -> list[int]:
        """The numbers of the sets that are still to be run, so that there are `wanted`."""
        unused = (n for n in range(FIRST_SET, sys.maxsize) if n not in self.spent and n not in self.sets)
        return [next(unused) for _ in range(wanted - len(self.sets))]


@dataclass(frozen=True)
class Confirmed:
    """A claim after its confirmation.

    `overall` is the claim over the values of all sets, `same` in how many of the `sets` its verdict came out.
    `verdict` is what is published: that of `overall`, unless it is a decided one that fewer than nine of ten sets
    come to; it then is "not shown".
    """

    overall: Claim
    sets: int
    same: int

    @property
    def verdict(self) -> str:
        unstable = self.same < SAME_SHARE * self.sets
        return "not shown" if unstable and self.overall.verdict in DECIDED else self.overall.verdict


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def sets_beside(path: Path) -> Path:
    """The folder in which jobs keep sets of the confirmation at `path`."""
    return path.with_suffix(".sets")


def share(text: str) -> tuple[int, int]:
    """i and n of "i/n", the share of job i of n."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"--part must be like 3/10, the third of ten jobs; got {text!r}")
    return int(number), int(count)


def digest(notebook: Mapping) -> str:
    """A digest of a notebook's code, which its outputs and texts have no part in."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def plan(notebook: Mapping) -> dict:
    """The claims that a lesson had planned before it ran, with their thresholds."""
    return notebook["metadata"].get("bdl", {}).get("claims", {})


def file_of(lesson: Path, root: Path = ROOT) -> Path:
    """Where the confirmation of a lesson is kept."""
    return (root / FOLDER / lesson.resolve().relative_to((root / "lessons").resolve())).with_suffix(".json")


def confirmed(claim: Claim, confirmation: Confirmation) -> Confirmed | None:
    """One claim of a lesson over all sets, or None where no set has measured it.

    Raises ValueError where a stored verdict is not that of its values.
    """
    runs = []
    for number, result in confirmation.sets.items():
        found = result.get("claims", {}).get(claim.name)
        if found is None:
            continue
        run = claim.again(**{name: found.get(name) for name in MEASURED}, seed_shift=1000 * number)
        if run.verdict != found["verdict"]:
            raise ValueError(
                f"Set {number} of {claim.lesson} stores {claim.name!r} as {found['verdict']!r}, but its values give "
                f"{run.verdict!r}. Remove the set and run make confirm."
            )
        runs.append(run)
    if not runs:
        return None
    overall = combined(runs)
    same = sum(leaning(run) == overall.verdict for run in runs)
    return Confirmed(overall, len(confirmation.sets), same)


def leaning(run: Claim) -> str:
    """A run's verdict; where it has too few values for one, the side on which its mean lies."""
    if run.verdict != "observation":
        return run.verdict
    low, high = {"above": (run.threshold, None), "below": (None, run.threshold)}.get(run.rule, run.threshold)
    inside = (low is None or run.mean > low) and (high is None or run.mean < high)
    return "holds" if inside else "contradicted"


def result_of(claims: Sequence[Claim], seconds: float) -> dict:
    """What is stored of one set."""
    kept = {}
    for claim in claims:
        record = claim.record()
        kept[claim.name] = {name: record[name] for name in MEASURED if record[name] is not None}
        kept[claim.name]["verdict"] = claim.verdict
    return {"seconds": round(seconds), **where(), "claims": kept}


def where() -> dict[str, str]:
    """The versions and the processor that a set ran on."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    return {"versions": ", ".join(versions), "processor": processor.name()}


def warned(notebook: Mapping) -> dict[str, str]:
    """What each cell wrote to stderr, its first line of words, by the cell's place in the notebook."""
    found = {}
    for place, cell in enumerate(notebook["cells"]):
        streams = [
            o for o in cell.get("outputs", ()) if o["output_type"] == "stream" and o["name"] == "stderr"
        ]
        if streams:
            found[str(place)] = next(iter("".join(o["text"] for o in streams).strip().splitlines()), "")
    return found


def run_set(path: Path, number: int) -> dict | None:
    """What one set gives; None where the run itself broke off, so that it is tried again another time."""
    try:
        notebook, seconds, _ = execute(path, seed=number)
    except CellExecutionError as error:
        return {"failed": f"{error.ename}: {error.evalue}", **where()}
    except FAILURES:
        return None
    result = result_of(stored_claims(notebook), seconds)
    if cells := warned(notebook):
        result["warned"] = cells
    return result


def keep_sets(path: Path, root: Path = ROOT) -> str:
    """Keep a lesson's sets where its changed code gives one of them again; what to say of it, "FAILED: ..." where not.

    Its file is written only where they are kept.
    """
    stored = Confirmation.load(file_of(path, root))
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if stored is None or not stored.sets:
        return "nothing to compare: no sets are stored"
    if stored.digest == digest(notebook):
        return "nothing to compare: the code has not changed"
    if stored.plan != plan(notebook):
        return "FAILED: the plan of its claims has changed, which the sets have seen"
    number, values = stored.again_here(), "the stored values"
    if number is not None:
        before = stored.sets[number]
    else:
        number, values = min(stored.sets), "the values of the code that is committed"
        before = run_committed(path, number, stored.digest, root)
        if before is None:
            return (
                "FAILED: no set comes from this processor and these versions, so none can be compared digit by digit, "
                "and what is committed is not the code that gave them"
            )
    found = run_set(path, number)
    if found is None or "failed" in found:
        return f"FAILED: set {number} {(found or {}).get('failed', 'broke off')}"
    now, then = (
        {n: json.dumps(c, sort_keys=True) for n, c in of.get("claims", {}).items()} for of in (found, before)
    )
    if other := sorted(n for n in now | then if now.get(n) != then.get(n)):  # as text: NaN is NaN
        return f"FAILED: set {number} gives other values of {', '.join(other)}; its sets are spent"
    stored.digest = digest(notebook)
    stored.store(file_of(path, root))
    return f"set {number} gives {values} to the last digit: {len(stored.sets)} sets are kept"


def run_committed(path: Path, number: int, wanted: str, root: Path) -> dict | None:
    """What a set of the lesson as git has it gives here; None where that is not the code of digest `wanted`."""
    name = path.relative_to(root).as_posix()
    try:
        shown = subprocess.run(["git", "show", f"HEAD:./{name}"], cwd=root, capture_output=True, check=True)
        notebook = json.loads(shown.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    if digest(notebook) != wanted:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(shown.stdout)
        return run_set(copy, number)


def table(rows: Iterable[tuple[Claim, Confirmed | None]]) -> str:
    """The least stable claims first, as a Markdown table, which reads well in a terminal too."""
    head = ("claim", "in the lesson", "over all values", "same in", "measured", "lesson")
    known = [(claim, found) for claim, found in rows if found]
    body = [
        (
            claim.name,
            claim.verdict,
            found.overall.verdict,
            f"{found.same} of {found.sets}",
            found.overall.number,
            claim.lesson,
        )
        for claim, found in sorted(known, key=lambda row: (row[1].same / row[1].sets, row[0].lesson))
    ]
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in (head, rule, *body)
    )


def main(arguments: Iterable[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="lessons or folders (default: all)"
    )
    parser.add_argument(
        "--sets", type=int, default=ENOUGH_SETS, help=f"sets of each lesson (default: {ENOUGH_SETS})"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="lessons at a time (default: one a core)"
    )
    parser.add_argument(
        "--part",
        type=share,
        metavar="I/N",
        help="the share of job I of N, which keeps its sets in files of their own",
    )
    parser.add_argument(
        "--same", action="store_true", help="keep the stored sets where changed code gives the same values"
    )
    options = parser.parse_args(arguments)
    if options.sets < 1 or options.jobs < 1:
        parser.error("--sets and --jobs must be at least 1")
    missing = [path for path in options.paths if not path.exists()]
    if missing:
        parser.error(f"no such file or folder: {', '.join(map(str, missing))}")
    paths = notebooks(*[str(path.resolve()) for path in options.paths] or ["lessons"], root=root)
    if not paths:
        parser.error("found no lessons there")

    if options.same:
        with ThreadPoolExecutor(options.jobs) as pool:
            said = list(pool.map(lambda path: keep_sets(path, root), paths))
        for path, words in zip(paths, said, strict=True):
            print(f"{path.relative_to(root / 'lessons').with_suffix('').as_posix()}: {words}")
        return 1 if any(words.startswith("FAILED") for words in said) else 0

    confirmations: dict[Path, Confirmation] = {}
    for path in paths:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        lesson = path.relative_to(root / "lessons").with_suffix("").as_posix()
        stored = Confirmation.load(file_of(path, root)) or Confirmation(lesson, "")
        confirmations[path] = stored.of(notebook)
    writing = threading.Lock()
    if not options.part:
        taken = sum(confirmations[path].take_in(file_of(path, root)) for path in paths)
        if taken:
            print(f"{taken} sets of jobs are taken in", flush=True)

    def of_job(number: int, path: Path) -> Path:
        return sets_beside(file_of(path, root)) / f"{number}.json"

    def work(number: int, path: Path) -> str:
        """Run and keep one set; what to say of it."""
        result = run_set(path, number)
        if result is None:
            return "FAILED: the run broke off"
        if options.part:
            kept = {"digest": confirmations[path].digest, "set": result}
            write(of_job(number, path), json.dumps(kept))
        else:
            with writing:
                confirmations[path].sets[number] = result
                confirmations[path].store(file_of(path, root))
        if "failed" in result:
            return f"FAILED: {result['failed']}"
        said = [f"{len(result['claims'])} claims, {result['seconds']} s"]
        return "; ".join(said + [f"cell {k} WARNED: {line}" for k, line in result.get("warned", {}).items()])

    failures = 0
    with ThreadPoolExecutor(options.jobs) as pool:  # the work is done in the kernels
        todo = sorted((n, path) for path in paths for n in confirmations[path].missing(options.sets))
        if options.part:  # of the same list in all jobs, which the sets of other jobs do not change
            first, step = options.part
            todo = [(n, path) for n, path in todo[first - 1 :: step] if not of_job(n, path).exists()]
        print(
            f"{sum(len(c.sets) for c in confirmations.values())} sets are there, {len(todo)} to run",
            flush=True,
        )
        futures = {pool.submit(work, number, path): (number, path) for number, path in todo}
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                number, path = futures[future]
                said = future.result()
                failures += said.startswith("FAILED")
                print(
                    f"[{count}/{len(todo)}] {confirmations[path].lesson}, BDL_SEED={number}: {said}",
                    flush=True,
                )
        except KeyboardInterrupt:
            print("\nInterrupted: waiting for the sets that are running, which are kept.", flush=True)
            pool.shutdown(cancel_futures=True)

    if options.part:
        return 1 if failures else 0
    rows = [(c, confirmed(c, confirmations[path])) for path in paths for c in stored_claims(path)]
    print("\n" + table(rows))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
