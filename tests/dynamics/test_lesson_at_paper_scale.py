"""Lesson 13 at paper scale: its cells run with BDL_SCALE=paper and all systems, but tiny networks and few steps."""

import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

LESSON = Path(__file__).parents[2] / "lessons" / "6_architecture" / "13_constrained_physics.ipynb"
LARGE = {
    "HIDDEN": 256,
    "STEPS": 2000,
    "BATCH": 200,
    "TESTS": 100,
    "SIZES": [10, 40, 100, 400, 800],
    "FRAMES": 100,
}
TINY = {"HIDDEN": 4, "STEPS": 2, "BATCH": 3, "TESTS": 2, "SIZES": [2, 4, 100], "FRAMES": 6}
LAST = "def conserved("  # from here on nothing depends on the scale but the networks


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_lesson_runs_at_paper_scale(monkeypatch):
    monkeypatch.setenv("BDL_SCALE", "paper")
    cells = [
        "".join(c["source"]) for c in json.loads(LESSON.read_text())["cells"] if c["cell_type"] == "code"
    ]
    settings = next(k for k, cell in enumerate(cells) if "HIDDEN, STEPS" in cell)
    last = next(k for k, cell in enumerate(cells) if LAST in cell)
    names = {}
    with mpl.rc_context({"backend": "agg"}):
        exec("\n".join(cells[: settings + 1]), names)
        assert {name: names[name] for name in LARGE} == LARGE
        names |= TINY | {"TIMES": names["DT"] * torch.arange(1, TINY["FRAMES"] + 1).double()}
        exec("\n".join(cells[settings + 1 : last + 1]), names)
        plt.close("all")
    assert names["columns"] == [
        "1 link",
        "2 links",
        "3 links",
        "5 links",
        "free rotor",
        "gyroscope",
        "3 coupled",
    ]
    errors = names["by_system"]
    assert len(errors) == 7 * 3
    assert all(((value > 0) & (value <= 1)).all() for value in errors.values())
    assert set(names["errors"]) == set(names["FIELDS"])
