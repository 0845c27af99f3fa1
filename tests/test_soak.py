"""The soak: a test that rests on one random stream is found, counted and named, and a soak can be resumed."""

import shutil
from pathlib import Path

import pytest
import soak

EXPECTED_SECONDS = 40
ROOT = Path(__file__).resolve().parents[1]
COIN = """
import numpy as np
import pytest
import torch
from bdlcore._support.randomness import generator

@pytest.mark.parametrize("g", [torch.Generator().manual_seed(0), generator(0)], ids=["torch", "bdlcore"])
def test_coin(g):
    assert torch.rand(4, generator=g).max() < 0.7, "the coin fell"

def test_global_coin():
    torch.manual_seed(1)
    assert torch.rand(4).max() < 0.7

def test_numpys_coin():
    assert np.random.default_rng(0).random(4).max() < 0.7

def test_of_what_is_true():
    a, b = (torch.randn(3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1))
    assert torch.equal(a, b) and isinstance(torch.default_generator, torch.Generator)
"""


@pytest.fixture
def course(tmp_path):
    """What a run of pytest needs, and one test file."""
    for part in ("conftest.py", "pyproject.toml", "tools/execute_notebooks.py", "tests/conftest.py"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    (tmp_path / "tests" / "test_coin.py").write_text(COIN)
    return tmp_path


def test_a_coin_is_told_from_a_truth_and_a_soak_goes_on_where_it_stopped(course, capsys):
    def run(shifts, *more):
        arguments = ["tests/test_coin.py", "--shifts", str(shifts), "--capabilities", "default", *more]
        code = soak.main(arguments, root=course)
        return code, capsys.readouterr().out

    code, said = run(3)
    assert code == 1
    assert "5 tests, 3 runs: 3 shifts, capabilities default" in said
    told = [line for line in said.splitlines() if " failed: " in line]
    fallen = {line.split("::")[1]: line.split(" failed")[0] for line in told}
    assert set(fallen) <= {"test_coin[torch]", "test_coin[bdlcore]", "test_global_coin", "test_numpys_coin"}
    assert "AssertionError: the coin fell" in said

    kept = {file: file.stat().st_mtime_ns for file in (course / "build" / "soak").iterdir()}
    assert len(kept) == 3
    (course / "tests" / "test_coin.py").write_text("def test_alone(): pass")
    assert run(3)[1].split("\n\n")[1] == said.split("\n\n")[1]
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    code, said = run(1, "--fresh")
    assert code == 0
    assert said.endswith("1 tests, 1 runs: 1 shifts, capabilities default\nnone failed\n")


def test_a_run_that_breaks_off_is_no_success(course, capsys):
    (course / "tests" / "test_coin.py").write_text("import nothing_of_that_name")
    assert soak.main(["tests/test_coin.py", "--shifts", "1", "--capabilities", "default"], root=course) == 1
    assert "nothing_of_that_name" in capsys.readouterr().out


def test_instruction_sets_are_this_machines():
    assert "default" in soak.capabilities()


def test_rooms_are_there():
    assert all((ROOT / test).exists() for test in soak.TESTS)
