"""Frames for sliders of the site: where they are drawn, what is stored, and that the stored ones are whole."""

import json

import demo_frames
import ipywidgets
import matplotlib.pyplot as plt
import pytest
from execute_notebooks import ROOT, notebooks
from PIL import Image

import bdlcore as bdl

STORED = sorted(demo_frames.FRAMES.glob("*/frames.json"))


def slider(low, high, step, value, kind=ipywidgets.IntSlider):
    return kind(min=low, max=high, step=step, value=value)


@pytest.mark.parametrize(
    ("control", "places"),
    [
        (slider(1, 6, 1, 2), [1, 2, 3, 4, 5, 6]),
        (slider(1, 400, 1, 3), [1, 2, 3, 6, 11, 20, 36, 66, 121, 220, 400]),
        (slider(0, 100, 5, 15), [0, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (slider(0.2, 1.0, 0.2, 0.6, ipywidgets.FloatSlider), [0.2, 0.4, 0.6, 0.8, 1.0]),
        (ipywidgets.SelectionSlider(options=[("a", 3), ("b", 9)], value=9), [3, 9]),
        (ipywidgets.ToggleButtons(options=["tanh", "relu"], value="tanh"), ["tanh", "relu"]),
    ],
)
def test_places_of_a_control(control, places):
    assert demo_frames.places(control) == places


def test_places_have_the_ends_and_the_value():
    for low, high in ((low, high) for low in (0, 1) for high in range(2, 90)):
        found = demo_frames.places(slider(low, high, 1, high // 2 + 1))
        assert {low, high // 2 + 1, high} <= {*found} and len(found) <= demo_frames.MOST
        assert found == sorted(set(found))


def test_a_sweep_moves_one_control_and_stores_pictures_with_their_words(tmp_path):
    def draw(kind, height):
        figure, ax = plt.subplots(figsize=(3, 2))
        ax.plot([0, height])
        ax.set_title(f"{kind} {height}")
        return figure

    demo = bdl.demo(draw, presets={"B": {"kind": "b"}}, kind=["a", "b"], height=(1, 3, 1, 2))
    demo_frames.sweep(demo, None, str(tmp_path), "abc")
    kept = json.loads((tmp_path / "frames.json").read_text(encoding="utf-8"))
    assert (kept["control"], kept["start"], kept["code"]) == ("height", 1, "abc")
    assert [frame["value"] for frame in kept["frames"]] == ["1", "2", "3"]
    assert kept["frames"][2]["words"].startswith("kind a, height 3. a 3")
    assert len({(tmp_path / f"{k}.webp").read_bytes() for k in range(3)}) == 3
    assert demo.controls["height"].value == 2
    demo_frames.sweep(demo, "height", str(tmp_path), "abc", "B")
    kept = json.loads((tmp_path / "frames.json").read_text(encoding="utf-8"))
    assert kept["frames"][2]["words"].startswith("kind b, height 3. b 3")
    assert demo.controls["kind"].value == "a"


@pytest.mark.parametrize("path", STORED, ids=[path.parent.name for path in STORED])
def test_stored_frames_are_whole(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    pictures = sorted(path.parent.glob("*.webp"), key=lambda p: int(p.stem))
    assert [p.stem for p in pictures] == [str(k) for k in range(len(kept["frames"]))]
    sizes = set()
    for picture in pictures:
        with Image.open(picture) as opened:
            sizes.add(opened.size)
    assert len(sizes) == 1
    assert len({frame["value"] for frame in kept["frames"]}) == len(kept["frames"]) >= 4
    assert all(len(frame["words"].split()) >= 4 for frame in kept["frames"])
    assert sum(p.stat().st_size for p in pictures) < 500_000, "a page must load quickly"
    assert path.parent.name in {lesson.stem for lesson in notebooks("lessons")}


def test_a_lesson_without_a_demo_is_refused(capsys):
    assert demo_frames.main(["--lesson", "99"]) == 1
    assert "no lesson '99' with a demo" in capsys.readouterr().err
    assert demo_frames.cells_of({"cells": [{"cell_type": "code", "source": ["x = 1"]}]}) == []
    assert demo_frames.FRAMES.is_relative_to(ROOT)
