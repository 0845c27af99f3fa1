"""The notebook tests catch what they promise to catch: a small course of broken notebooks, run by a real pytest."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
from execute_notebooks import ThisPythonKernel
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
EXPECTED_SECONDS = 25

DEMO = """
import sys, types, struct
class Picture:
    value = b"\\x89PNG 0"
class Slider:
    min, max = 0, 5
    def __init__(self, redraw):
        self._value, self.redraw = 0, redraw
    value = property(lambda self: self._value)
    @value.setter
    def value(self, new):
        self._value = new
        self.redraw(new)
class Demo:
    def __init__(self, draw):
        self.image, self.presets = Picture(), {}
        self.controls = {"n": Slider(lambda n: setattr(self.image, "value", draw(n)))}
    def set(self, n):
        self.controls["n"].value = n
    def reset(self):
        self.set(0)
module = sys.modules["bdlcore.notebook.demo"] = types.ModuleType("bdlcore.notebook.demo")
module.registry = []
class bdl:
    demo = lambda draw: module.registry.append(Demo(draw))
"""

NETWORK = "import socket; socket.create_connection(({!r}, 80), timeout=3)"
REFUSED = """
import socket, subprocess, sys, urllib.request
def refused(attempt):
    try:
        attempt()
    except OSError as error:
        return str(error)
urllib_says = refused(lambda: urllib.request.urlopen("https://example.org", timeout=3))
assert "tried to reach example.org" in urllib_says, urllib_says
datagram = socket.socket(type=socket.SOCK_DGRAM)
assert "tried to reach 198.51.100.7" in refused(lambda: datagram.sendto(b"x", ("198.51.100.7", 9)))
child = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
assert "tried to reach 2001:db8::1" in child.stderr, child.stderr
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(("localhost", server.getsockname()[1]), timeout=60).close()
"""

SLUGGISH = """
import time
def draw(n):
    end = time.process_time() + 1.1
    while time.process_time() < end:
        pass
    return b"\\x89PNG %d" % n
"""

BUSY = """
import time
end = time.process_time() + 2
while time.process_time() < end:
    pass
"""

# name: (its cells, the tests that must not pass, what the failure must say)
NOTEBOOKS = {
    "fine": (
        [
            DEMO,
            "bdl.demo(lambda n: b'\\x89PNG %d' % n)",
            f"CODE = {NETWORK.format('2001:db8::1')!r}",
            REFUSED,
        ],
        {},
        "",
    ),
    "raises": (["1 / 0", "unreached"], {"Cell 0": "failure", "Cell 1": "skipped"}, "ZeroDivisionError"),
    "online": (
        [NETWORK.format("192.0.2.1")],
        {"Cell 0": "failure"},
        "tests run notebooks without a network, and",
    ),
    "warning": (["import warnings; warnings.warn('careful')"], {"Cell 0": "failure"}, "careful"),
    "stderr": (
        ["import os; os.write(2, b'from C'); import time; time.sleep(0.5)"],
        {"Cell 0": "failure"},
        "from C",
    ),
    "dies": (["import os; os._exit(1)"], {"Cell 0": "failure"}, "The kernel died"),
    "endless": (["import time; time.sleep(600)"], {"Cell 0": "failure"}, "Timeout of"),
    "late": ([BUSY], {"run time": "failure"}, "at most"),
    "unregistered": (
        ["class bdl:\n    demo = print", "bdl.demo('nothing')"],
        {"live demos": "failure"},
        "registry is empty",
    ),
    "dead": (
        [DEMO, "bdl.demo(lambda n: b'\\x89PNG 0')"],
        {"live demos": "failure"},
        "moving 'n' away from 0 does not change the picture",
    ),
    "overwritten": (
        [DEMO, "k = 0", "bdl.demo(lambda n: b'\\x89PNG %d' % (n + k))", "del k"],
        {"live demos": "failure"},
        "moving 'n' to 5 raises NameError",
    ),
    "drifting": (
        [
            DEMO,
            "import itertools; count = itertools.count(1)",
            "bdl.demo(lambda n: b'\\x89PNG %d' % next(count))",
        ],
        {"live demos": "failure"},
        "does not restore the picture",
    ),
    "dull": (
        [DEMO, "bdl.demo(lambda n: b'\\x89PNG %d' % n)", "module.registry[0].presets = {'Same': {'n': 0}}"],
        {"live demos": "failure"},
        "preset 'Same' does not change the picture",
    ),
    "sluggish": (
        [DEMO, SLUGGISH, "bdl.demo(draw)"],
        {"live demos": "failure"},
        "a slider that drags needs 100",
    ),
    "untimed": (["1"], {"run time": "failure"}, "does not state its time"),
}
STATED = {
    "endless": -11.7,
    "late": -9.9,
    "untimed": None,
}  # seconds; negative ones make the limit, 3 x + 30, or the patience, 10 x + 120, short


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{notebook: {test: (outcome, message)}} and what pytest printed."""
    course = tmp_path_factory.mktemp("course")
    for part in ("conftest.py", "pyproject.toml", "tools/execute_notebooks.py", "tests/kernel"):
        (course / part).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, course / part)
    for name, (cells, _, _) in NOTEBOOKS.items():
        notebook = new_notebook(cells=[new_markdown_cell("# Why?"), *map(new_code_cell, cells)])
        stated = STATED.get(name, 1)
        notebook.metadata["bdl"] = {} if stated is None else {"seconds": stated}
        # a kernel that exists nowhere: the tests must use the Python that they run in
        notebook.metadata["kernelspec"] = {
            "name": "no-such-kernel",
            "display_name": "none",
            "language": "python",
        }
        folder = course / "lessons" / "1_unit"
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    report = course / "report.xml"
    command = [sys.executable, "-m", "pytest", "lessons", f"--junitxml={report}", "-pno:cacheprovider"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(command, cwd=course, env=inherited, capture_output=True, text=True, timeout=3000)
    found: dict[str, dict] = {name: {} for name in NOTEBOOKS}
    for case in ET.parse(report).iter("testcase"):
        notebook = case.get("classname").split(".")[-2 if case.get("classname").endswith("ipynb") else -1]
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        text = "" if bad is None else f"{bad.get('message')} {bad.text}"
        found[notebook][case.get("name")] = ("passed" if bad is None else bad.tag, text)
    return found, done.stdout


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_gets_the_outcome_it_deserves(outcomes, name):
    cells, unlucky, message = NOTEBOOKS[name]
    got = outcomes[0][name]
    assert len(got) >= len(cells) + 1, got
    for test, (outcome, _) in got.items():
        skipped = any(verdict == "failure" for verdict in unlucky.values()) and outcome == "skipped"
        assert outcome == unlucky.get(test, "passed") or skipped, (test, got[test])
    assert not message or any(message in text for outcome, text in got.values() if outcome == "failure")


def test_summary_lists_time_against_limit(outcomes):
    printed = outcomes[1]
    lines = {line.split("/")[-1]: line.split() for line in printed.splitlines() if line.endswith(".ipynb")}
    stated, computed, limit = lines["fine.ipynb"][:3]
    assert 0 < float(computed) < 33
    assert (stated, limit) == ("1", "33")
    assert "ms" in lines["fine.ipynb"]


def test_kernels_are_this_python():
    assert ThisPythonKernel().kernel_spec.argv[0] == sys.executable


def test_a_kernel_that_dies_at_once_is_started_again(pytestconfig):
    plugin = pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    died = []

    def start():
        died.append(1)
        if len(died) < 3:
            raise RuntimeError("Kernel died before replying to kernel_info")

    plugin.start_kernel(start)
    assert len(died) == 3
    died.clear()
    with pytest.raises(RuntimeError, match="died"):
        plugin.start_kernel(start, attempts=2)
