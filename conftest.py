"""One `pytest` runs the unit tests and every notebook of the course, end to end, as a learner would meet it.

nbval executes the cells; this file adds what nbval leaves out. A notebook's kernel has no network, empty data
caches and one thread. Its cells may not write to stderr (warnings are written there). After a cell that fails the
rest is skipped rather than failing in turn. After the last cell every live demo is tried, and the time is held to
what the lesson states. Slow files start first, so that both workers finish together.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty

import pytest
from execute_notebooks import cpu_seconds, kernel_environment, peak_megabytes
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

KERNEL_FILES = Path(__file__).parent / "tests" / "kernel"
STATED_BY_DEFAULT = 20.0  # seconds, for exercises and solutions, which state no time
TEST_FILE_SECONDS = 10.0  # to order test files by; a slow one sets EXPECTED_SECONDS
REDRAW_LIMIT_MS = 1000.0
MEMORY_LIMIT_MB = 4000.0  # of a kernel, so that a laptop of 8 GB has room beside it
MESSAGE_PATIENCE = (
    60.0  # nbval waits 5 s for each output of a cell that has finished: too little on a busy machine
)

for library in ("OMP", "MKL", "OPENBLAS"):  # before a test imports torch: each worker has one core
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("BDL_WORKERS", "1")


def limit(stated: float) -> float:
    """The seconds a notebook may compute: machines differ, and imports need some time."""
    return 3 * stated + 30


def patience(stated: float) -> float:
    """The seconds after which a notebook is taken to hang: other programs may want the machine as well."""
    return 10 * stated + 120


def start_kernel(start: Callable[[], None], attempts: int = 3) -> None:
    """Start a kernel, again if it dies at once: two that start at the same moment may draw the same free port."""
    for attempt in range(1, attempts + 1):
        try:
            return start()
        except RuntimeError:
            if attempt == attempts:
                raise


# --- the course's notebooks as tests ---


class NotebookRun:
    """What is known of a notebook while its cells run; it also starts and stops the kernel in nbval's stead."""

    def __init__(self, notebook: IPyNbFile):
        self.notebook = notebook
        self.stated: float | None = notebook.nb.metadata.get("bdl", {}).get("seconds")
        self.is_lesson = "lessons" in notebook.path.parts
        self.code_cells = sum(cell.cell_type == "code" for cell in notebook.nb.cells)
        self.cells_done = 0
        self.seconds = 0.0
        self.failed_at: str | None = None
        self.demos: list[dict] = []
        self.demo_seconds = 0.0
        self.nbval_setup, notebook.setup = notebook.setup, self.setup
        self.nbval_teardown, notebook.teardown = notebook.teardown, self.teardown

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with isolated_environment(self.notebook.path, Path(self.folder.name)):
            start_kernel(self.nbval_setup)
        notice_death(self.notebook.kernel)

    def teardown(self) -> None:
        self.nbval_teardown()
        self.folder.cleanup()

    @property
    def expected(self) -> float:
        return STATED_BY_DEFAULT if self.stated is None else self.stated

    @property
    def remaining(self) -> float:
        return max(1.0, patience(self.expected) - self.seconds)


RUN = pytest.StashKey[NotebookRun]()


class AfterTheCells(pytest.Item):
    """A test of a whole notebook, after its last cell and in the same kernel."""

    def setup(self) -> None:
        run = self.parent.stash[RUN]
        if run.cells_done < run.code_cells:
            pytest.skip("not all cells of the notebook have run")

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        return str(excinfo.value) if excinfo.errisinstance(AssertionError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.parent.path, 0, f"{self.parent.name}: {self.name}"


class LiveDemos(AfterTheCells):
    def runtest(self) -> None:
        run = self.parent.stash[RUN]
        code = (KERNEL_FILES / "check_demos.py").read_text(encoding="utf-8")
        # in a namespace of its own; await, because a demo may redraw from the kernel's event loop
        source = f"_check = {{}}; exec({code!r}, _check); await _check['main']()"
        before = cpu_seconds(self.parent.kernel.km.provisioner.pid)
        printed = run_in_kernel(self.parent.kernel, source, timeout=patience(run.expected))
        run.demo_seconds = cpu_seconds(self.parent.kernel.km.provisioner.pid) - before
        run.demos = [json.loads(line[5:]) for line in printed.splitlines() if line.startswith("DEMO ")]
        assert run.demos, (
            "The notebook calls demo(...), but bdlcore.notebook.demo.registry is empty after it ran."
        )
        for number, demo in enumerate(run.demos, start=1):
            assert not demo["problems"], f"Live demo {number}: {'; '.join(demo['problems'])}."
            assert demo["median_ms"] < REDRAW_LIMIT_MS, (
                f"Live demo {number} redraws in {demo['median_ms']:.0f} ms (median); a slider that drags needs 100."
            )


class RunTime(AfterTheCells):
    def runtest(self) -> None:
        run = self.parent.stash[RUN]
        computed = cpu_seconds(self.parent.kernel.km.provisioner.pid) - run.demo_seconds
        redraws = [f"{demo['median_ms']:.0f}" for demo in run.demos]
        row = {"stated": run.stated, "computed": computed, "seconds": run.seconds, "redraws": redraws}
        row["megabytes"] = peak_megabytes(self.parent.kernel.km.provisioner.pid)
        self.user_properties.append(("notebook", row))
        if run.is_lesson:
            assert run.stated, (
                "The lesson does not state its time: execute it with tools/execute_notebooks.py."
            )
        assert computed <= limit(run.expected), (
            f"The notebook computed for {computed:.0f} s where it states {run.expected:.0f} s, so at most "
            f"{limit(run.expected):.0f} s are allowed here. Make it faster, or execute it again to state its time."
        )
        assert (row["megabytes"] or 0) <= MEMORY_LIMIT_MB, (
            f"The notebook took {row['megabytes']:.0f} MB of memory, and {MEMORY_LIMIT_MB:.0f} are allowed."
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    last_cells: dict[IPyNbFile, int] = {}
    for position, item in enumerate(items):
        if isinstance(item, IPyNbCell):
            item.output_timeout = MESSAGE_PATIENCE
            last_cells[item.parent] = position
    for notebook, position in reversed(last_cells.items()):
        notebook.stash[RUN] = NotebookRun(notebook)
        after = [RunTime.from_parent(notebook, name="run time")]
        if any("bdl.demo(" in cell.source for cell in notebook.nb.cells if cell.cell_type == "code"):
            after.insert(0, LiveDemos.from_parent(notebook, name="live demos"))
        items[position + 1 : position + 1] = after
    items.sort(key=expected_seconds, reverse=True)


def expected_seconds(item: pytest.Item) -> float:
    """How long the file of a test takes, as far as it says."""
    if isinstance(item.parent, IPyNbFile):
        return item.parent.stash[RUN].expected
    return getattr(getattr(item, "module", None), "EXPECTED_SECONDS", TEST_FILE_SECONDS)


@pytest.hookimpl(wrapper=True, trylast=True)  # inside pytest's own wrappers
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    if not isinstance(item.parent, IPyNbFile):
        return (yield)
    run = item.parent.stash[RUN]
    if run.failed_at:
        pytest.skip(f"{run.failed_at} failed")
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if not isinstance(item, IPyNbCell):
        return (yield)
    item.config.option.nbval_cell_timeout = item.parent.stash[RUN].remaining
    try:
        result = yield
    except KernelDied as error:
        raise NbCellError(item.cell_num, str(error), item.cell.source) from error
    noise = [
        out.text for out in item.test_outputs or [] if out.output_type == "stream" and out.name == "stderr"
    ]
    if noise:
        message = "The cell wrote to stderr, which a reader sees as a red box:\n" + "".join(noise)
        raise NbCellError(item.cell_num, message, item.cell.source)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if isinstance(item.parent, IPyNbFile):
        run = item.parent.stash[RUN]
        if report.failed and call.when != "teardown":
            run.failed_at = item.name
        if isinstance(item, IPyNbCell):
            run.seconds += call.duration if call.when != "teardown" else 0
            run.cells_done += call.when == "call" and not report.failed
    return report


# --- the kernel ---


class KernelDied(RuntimeError):
    """The process behind a notebook is gone."""


@contextlib.contextmanager
def isolated_environment(notebook: Path, empty: Path) -> Iterator[None]:
    """os.environ as a notebook's kernel shall have it: offline, with empty data caches, without user settings."""
    folders = ("IPYTHONDIR", "BDL_DATA", "XDG_CACHE_HOME", "SCIKIT_LEARN_DATA", "SKIMAGE_DATADIR")
    isolated = kernel_environment(notebook) | {name: str(empty / name.lower()) for name in folders}
    isolated["PYTHONPATH"] = os.pathsep.join(filter(None, [str(KERNEL_FILES), os.environ.get("PYTHONPATH")]))
    isolated["MPLCONFIGDIR"] = font_cache()
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(isolated)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@functools.cache
def font_cache() -> str:
    """Where matplotlib keeps its list of fonts, made here so that no kernel stops to announce that it makes it."""
    import matplotlib.font_manager

    return matplotlib.get_cachedir()


def notice_death(kernel: RunningKernel) -> None:
    """End waits for a kernel that has died, where nbval would wait until the timeout."""
    wait = kernel.get_message

    def get_message(stream: str, timeout: float | None = None) -> dict:
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                return wait(stream, timeout=max(0, min(1.0, deadline - time.monotonic())))
            except Empty:
                if not kernel.is_alive():
                    raise KernelDied("The kernel died. Often this means that memory ran out.") from None
                if time.monotonic() >= deadline:
                    raise

    kernel.get_message = get_message


def run_in_kernel(kernel: RunningKernel, source: str, timeout: float) -> str:
    """Run code in a notebook's kernel, and return what it printed."""
    message = kernel.execute_cell_input(source, allow_stdin=False)
    printed = ""
    deadline = time.monotonic() + timeout
    while True:
        reply = kernel.get_message("iopub", timeout=max(0, deadline - time.monotonic()))
        content = reply["content"]
        if reply["parent_header"].get("msg_id") != message:
            continue
        if reply["msg_type"] == "stream":
            printed += content["text"]
        elif reply["msg_type"] == "error":
            raise AssertionError("\n".join(content["traceback"]))
        elif reply["msg_type"] == "status" and content["execution_state"] == "idle":
            return printed


# --- the end of the run ---


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long each notebook took, and what tests noted with record_property("summary", text)."""
    properties = defaultdict(list)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, value in report.user_properties:
                    properties[name].append((report.nodeid.partition("::")[0], value))
    if properties["notebook"]:
        terminalreporter.section("notebooks")
        terminalreporter.line(
            "stated  computed  limit  elapsed    MB     redraw  notebook (seconds; redraw: a demo's median)"
        )
        for path, row in sorted(properties["notebook"], key=lambda entry: -entry[1]["computed"]):
            stated = "-" if row["stated"] is None else f"{row['stated']:.0f}"
            allowed = limit(STATED_BY_DEFAULT if row["stated"] is None else row["stated"])
            redraw = "/".join(row["redraws"]) + " ms" if row["redraws"] else ""
            seconds = f"{stated:>6}  {row['computed']:8.1f}  {allowed:5.0f}  {row['seconds']:7.1f}"
            memory = "-" if row["megabytes"] is None else f"{row['megabytes']:.0f}"
            terminalreporter.line(f"{seconds}  {memory:>4}  {redraw:>9}  {path}")
    for path, text in properties["summary"]:
        terminalreporter.section(path)
        terminalreporter.line(text)
