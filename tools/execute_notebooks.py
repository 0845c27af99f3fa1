"""Run notebooks top to bottom in a fresh kernel and store their outputs: `execute_notebooks.py [PATH ...]`.

A path is a notebook or a folder; without one, all lessons and solutions run. What is stored comes from one core: the
outputs, a lesson's measured seconds (metadata `bdl.seconds`, which the tests hold it to) and the most memory that its
kernel took (`bdl.megabytes`). A lesson then runs once more as a learner's kernel runs it, on two cores, for the time
that its title cell states (`bdl.two_cores`): leave the machine alone meanwhile.
A notebook that raises an error keeps the outputs it had.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import ipykernel.kernelspec
import nbformat
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
TREES = ("lessons", "solutions", "exercises")
WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = "Live here: run this cell to get the controls."
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError)


class ThisPythonKernel(AsyncKernelManager):
    """A kernel of the Python that runs this, whatever kernels the machine has registered under that name."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # its warning about unencrypted loopback is of no use here
        spec = ipykernel.kernelspec.get_kernel_dict(extra_arguments=["--log-level=ERROR"])
        return KernelSpec(resource_dir=ipykernel.kernelspec.RESOURCES, **spec)


def notebooks(*trees: str, root: Path = ROOT) -> list[Path]:
    """The notebooks of some trees (or folders, or single files) in course order."""
    found: list[Path] = []
    for tree in trees or TREES:
        path = root / tree
        found += [path] if path.suffix == ".ipynb" else path.rglob("*.ipynb")
    return sorted((p for p in found if ".ipynb_checkpoints" not in p.parts), key=course_order)


def course_order(path: Path) -> tuple[str, str]:
    """By lesson number, which starts every notebook's name."""
    return path.name, path.as_posix()


def is_lesson(path: Path) -> bool:
    return "lessons" in path.parts


def kernel_environment(path: Path, *, seed: int = 0, cores: int = 1) -> dict[str, str]:
    """The environment in which a notebook's kernel shows what any learner would see at small scale."""
    # without compiled files every kernel would compile its imports anew, some eight seconds of them
    hidden = {"NBGRADER_EXECUTION", "PYTHONWARNINGS", "PYTEST_CURRENT_TEST", "PYTHONDONTWRITEBYTECODE"}
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    for library in ("OMP", "MKL", "OPENBLAS"):
        env[f"{library}_NUM_THREADS"] = str(cores)
    # Jupyter itself tells a kernel its notebook's path in this variable; claims note their lesson from it
    return env | {
        "BDL_SCALE": "small",
        "BDL_SEED": str(seed),
        "BDL_SOLVED": "0",
        "BDL_WORKERS": str(cores),
        "JPY_SESSION_NAME": path.resolve().as_posix(),
    }


class Execution(NamedTuple):
    """An executed notebook, the seconds it takes, and the most memory its kernel took, where the system tells."""

    notebook: NotebookNode
    seconds: float
    megabytes: float | None


def execute(
    path: Path,
    *,
    seed: int = 0,
    cores: int = 1,
    timeout: float = 1800,
    on_cell: Callable[[int, float], None] | None = None,
) -> Execution:
    """Run a notebook in a kernel of its own; nothing is written.

    Where other programs slowed a run on one core down, the seconds are those that the kernel computed.
    `on_cell(i, seconds)` is called after each code cell; `timeout` is for one cell, in seconds.
    """
    notebook = nbformat.read(path, as_version=4)
    computed, megabytes = 0.0, None

    def finished(cell_index: int, **_: object) -> None:
        nonlocal computed, megabytes
        before, computed = computed, cpu_seconds(client.km.provisioner.pid)
        megabytes = peak_megabytes(client.km.provisioner.pid)
        if on_cell:
            on_cell(cell_index, computed - before)

    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPythonKernel,
        timeout=timeout,
        iopub_timeout=60,  # by default outputs that are 4 s late are lost, as on a busy machine
        resources={"metadata": {"path": str(path.resolve().parent)}},
        store_widget_state=False,
        record_timing=False,
        on_cell_executed=finished,
    )
    start = time.monotonic()
    asyncio.run(client.async_execute(env=kernel_environment(path, seed=seed, cores=cores)))
    elapsed = time.monotonic() - start
    return Execution(notebook, min(computed, elapsed) if cores == 1 else elapsed, megabytes)


def cpu_seconds(pid: int) -> float:
    """The seconds that a process and its finished children have computed: the time that it takes on an idle core."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def peak_megabytes(pid: int) -> float | None:
    """The most memory that a process has had at one time, in 10^6 bytes; None where the system keeps no such record."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        peak = getattr(psutil.Process(pid).memory_info(), "peak_wset", None)  # Windows
        return None if peak is None else peak / 1e6
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, flags=re.MULTILINE)
    return None if found is None else int(found[1]) * 1024 / 1e6


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Keep what a reader of the saved notebook sees; drop what depends on the run or needs a live kernel.

    A saved notebook cannot show widgets: a progress bar goes, and a demo becomes the picture it comes with, or
    a sentence that says how to get it.
    """
    kept = {name: value for name, value in notebook.metadata.items() if name not in ("widgets", "signature")}
    notebook.metadata = NotebookNode(kept)
    notebook.metadata.kernelspec = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for volatile in ("execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(volatile, None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _still(output)]
    return notebook


def _still(output: NotebookNode) -> bool:
    """Take the live part out of an output, in place; False where nothing remains to be seen."""
    data = output.get("data", {})
    if WIDGET not in data:
        return True
    del data[WIDGET]
    text = data.get("text/plain", "")
    if set(data) <= {"text/plain"}:
        if re.search(r"\d+%\||\bit/s\b|s/it\b", text):  # tqdm's bar as text
            return False
        data["text/markdown"] = f"▶ *{LIVE}*"
    data["text/plain"] = f"▶ {LIVE}"
    return True


def spoken(seconds: float) -> str:
    """A run time the way one says it: `about 40 seconds`, `about a minute and a half`, `about 3 minutes`."""
    seconds = round(seconds)  # as the metadata have it, so that both are said alike
    if seconds < 55:
        return f"about {max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 105:
        return "about a minute" if seconds < 75 else "about a minute and a half"
    return f"about {(seconds + 30) // 60} minutes"


def state_time(title: str, seconds: float) -> str:
    """The title cell with its ⏱ line made true; what follows a ` · ` on that line stays."""
    line = f"⏱ Runs in {spoken(seconds)} on a two-core laptop (measured)"
    if re.search(r"^⏱", title, flags=re.MULTILINE):
        return re.sub(r"^⏱.*?(?=$| · )", line, title, count=1, flags=re.MULTILINE)
    heading, _, rest = title.partition("\n")
    return f"{heading}\n\n{line}\n\n{rest.lstrip()}".rstrip()


def noise(notebook: NotebookNode) -> list[str]:
    """What the cells wrote to stderr, warnings included."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]


def store(path: Path, execution: Execution, two_cores: float | None = None) -> None:
    """Write an executed notebook back, tidied and, for a lesson, with its times and memory."""
    notebook, seconds, megabytes = execution
    tidy(notebook)
    if two_cores is not None:
        measured = {"seconds": max(1, round(seconds)), "two_cores": max(1, round(two_cores))}
        if megabytes is not None:
            measured["megabytes"] = int(round(megabytes, -1))
        notebook.metadata["bdl"] = {**notebook.metadata.get("bdl", {}), **measured}
        notebook.cells[0].source = state_time(notebook.cells[0].source, two_cores)
    nbformat.validate(notebook)
    unfinished = path.with_name(path.name + ".tmp")
    nbformat.write(notebook, unfinished)
    unfinished.replace(path)


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="notebooks or folders")
    parser.add_argument(
        "--timeout", type=float, default=1800, help="seconds allowed for one cell (default: 1800)"
    )
    parser.add_argument("--dry-run", action="store_true", help="run and report, store nothing")
    options = parser.parse_args(arguments)

    missing = [path for path in options.paths if not path.exists()]
    if missing:
        parser.error(f"no such file or folder: {', '.join(map(str, missing))}")
    paths = notebooks(*[str(p.resolve()) for p in options.paths] or ("lessons", "solutions"))
    if not paths:
        parser.error("found no notebooks there")

    troubled = 0
    for path in paths:
        name = os.path.relpath(path)
        cells: dict[int, float] = {}

        def progress(index: int, seconds: float, name: str = name, cells: dict[int, float] = cells) -> None:
            cells[index] = seconds
            if sys.stderr.isatty():
                print(f"\r{name}: {len(cells)} cells, {sum(cells.values()):.0f} s", end="", file=sys.stderr)

        try:
            execution = execute(path, timeout=options.timeout, on_cell=progress)
            again = is_lesson(path) and not options.dry_run
            two_cores = execute(path, cores=2, timeout=options.timeout).seconds if again else None
        except FAILURES as error:
            print(f"\r{name}: FAILED after {len(cells)} cells, nothing stored\n{error}")
            troubled += 1
            continue
        slowest = sorted(cells, key=cells.get, reverse=True)[:3]
        slow = ", ".join(f"cell {i} {cells[i]:.1f} s" for i in slowest)
        memory = "" if execution.megabytes is None else f", {execution.megabytes:.0f} MB"
        faster = "" if two_cores is None else f", {two_cores:.1f} s on two cores"
        print(f"\r{name}: {execution.seconds:.1f} s{memory} ({slow}){faster}")
        if stderr := noise(execution.notebook):
            print("  it wrote to stderr, which the tests do not allow:\n    " + "    ".join(stderr))
            troubled += 1
        if not options.dry_run:
            store(path, execution, two_cores)
    return 1 if troubled else 0


if __name__ == "__main__":
    sys.exit(main())
