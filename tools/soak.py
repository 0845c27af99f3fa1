"""Run the unit tests under other random streams and on other instruction sets: `soak.py [PATH ...]`.

Shift k = 1..K moves every seed of the tests (`--seed-shift` of tests/conftest.py), and ATEN_CPU_CAPABILITY makes
PyTorch take the code that another processor would run. A test that fails under some of these rests on one stream.
Each run leaves its result in build/soak, so a soak that was interrupted goes on where it stopped; after a change
of code start with --fresh.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zlib
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = "_support curvature data dynamics evaluation exact inference likelihoods models nets predictions restoration"
TESTS = [f"tests/{room}" for room in ROOMS.split()]
TESTS += [f"tests/test_{name}.py" for name in ("contracts", "devices", "memory")]


@dataclass(frozen=True)
class Run:
    """The tests under one shift on one instruction set; its result is kept in `file`."""

    shift: int
    capability: str
    tests: tuple[str, ...]
    root: Path

    @property
    def name(self) -> str:
        return f"shift {self.shift} on {self.capability}"

    @property
    def file(self) -> Path:
        tests = zlib.crc32(" ".join(self.tests).encode())
        return self.root / "build" / "soak" / f"{tests:08x}-{self.capability}-{self.shift}.xml"

    def execute(self) -> str:
        """Run pytest unless a result is there; returns what went wrong with the run as a whole."""
        if self.file.exists():
            return ""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(".part")
        options = [
            "-n0",
            "-q",
            "-pno:cacheprovider",
            f"--seed-shift={self.shift}",
            f"--junitxml={unfinished}",
        ]
        hidden = ("PYTEST_", "COV_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        env |= {"ATEN_CPU_CAPABILITY": self.capability, "OMP_NUM_THREADS": "1", "BDL_PROGRESS": "0"}
        command = [sys.executable, "-m", "pytest", *options, *self.tests]
        done = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)
        if done.returncode not in (0, 1):  # 0: all passed, 1: some failed, others: the run broke off
            return f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
        unfinished.replace(self.file)
        return ""

    def outcomes(self) -> dict[str, str | None]:
        """{test: the first line of its failure, or None}."""
        found: dict[str, str | None] = {}
        for case in ET.parse(self.file).iter("testcase"):
            test = f"{case.get('classname')}::{case.get('name')}"
            bad = next((child for child in case if child.tag in ("failure", "error")), None)
            found[test] = found.get(test) if bad is None else (bad.get("message") or "").partition("\n")[0]
        return found


def capabilities() -> list[str]:
    """The instruction sets of PyTorch's kernels that this machine can run, for other processors and its own."""
    code = "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
    env = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    own = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    known = {own.stdout.strip(), "default"}
    if platform.machine() in ("x86_64", "AMD64") and known > {"default"}:
        known.add("avx2")
    return sorted(known, reverse=True)


def report(runs: Iterable[Run]) -> tuple[str, bool]:
    """What was run and which tests failed, the most frequent failures first; True if none did."""
    done = [(run, run.outcomes()) for run in runs]
    times, failures = defaultdict(int), defaultdict(list)
    for run, outcomes in done:
        for test, failure in outcomes.items():
            times[test] += 1
            if failure is not None:
                failures[test].append((run.name, failure))
    shifts, names = {run.shift for run, _ in done}, {run.capability for run, _ in done}
    lines = [
        f"{len(times)} tests, {len(done)} runs: {len(shifts)} shifts, capabilities {', '.join(sorted(names))}"
    ]
    for test, failed in sorted(failures.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        lines.append(f"{len(failed)} of {times[test]} failed: {test}")
        lines += [f"    {name}: {line}" for name, line in failed]
    return "\n".join(lines if failures else [*lines, "none failed"]), not failures


def main(arguments: Iterable[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tests", nargs="*", metavar="PATH", help="test files or folders (default: all rooms)")
    parser.add_argument("--shifts", type=int, default=10, metavar="K", help="shifts 1..K (default: 10)")
    parser.add_argument("--capabilities", nargs="+", metavar="NAME", help="values of ATEN_CPU_CAPABILITY")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--fresh", action="store_true", help="forget the results of earlier runs")
    options = parser.parse_args(arguments)

    chosen, tests = options.capabilities or capabilities(), tuple(options.tests or TESTS)
    runs = [Run(shift, name, tests, root) for shift in range(1, options.shifts + 1) for name in chosen]
    if options.fresh:
        for run in runs:
            run.file.unlink(missing_ok=True)
    start, broken = time.monotonic(), False
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = {pool.submit(run.execute): run for run in runs}
        try:
            for count, ended in enumerate(as_completed(waiting), start=1):
                run, trouble = waiting[ended], ended.result()
                failed = sum(line is not None for line in run.outcomes().values()) if not trouble else trouble
                print(f"{count}/{len(runs)} {run.name}: {failed} failed, {time.monotonic() - start:.0f} s")
                broken |= bool(trouble)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            broken = True
    text, fine = report(run for run in runs if run.file.exists())
    print(f"\n{text}", flush=True)
    return 0 if fine and not broken else 1


if __name__ == "__main__":
    sys.exit(main())
