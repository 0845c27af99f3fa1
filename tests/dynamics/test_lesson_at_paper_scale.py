"""Lesson 13 at paper scale: its cells run with BDL_SCALE=paper and all systems, but tiny networks and few steps."""

import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[2]
LESSON = ROOT / "lessons" / "6_architecture" / "13_constrained_physics.ipynb"
# what makes it large, and what stands for it here
TINY = {
    "(256, 2000, 200, 100)": "(4, 2, 3, 2)",
    "[10, 40, 100, 400, 800]": "[2, 4, 100]",
    "DT, FRAMES, PIECE = 0.03, 100, 5": "DT, FRAMES, PIECE = 0.03, 6, 5",
}
LAST = "def conserved("  # from here on nothing depends on the scale but the networks


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_lesson_runs_at_paper_scale(monkeypatch):
    monkeypatch.setenv("BDL_SCALE", "paper")
    cells = [
        "".join(c["source"]) for c in json.loads(LESSON.read_text())["cells"] if c["cell_type"] == "code"
    ]
    last = next(k for k, cell in enumerate(cells) if LAST in cell)
    code = "\n".join(cells[: last + 1])
    for large, tiny in TINY.items():
        assert code.count(large) == 1, large
        code = code.replace(large, tiny)
    names = {}
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(code, LESSON.name, "exec"), names)
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
