"""A demo's picture against its controls: the same settings draw the same picture."""

import matplotlib.pyplot as plt
import pytest

import bdlcore as bdl


def draw(height, kind="line"):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1], [0, height], ":" if kind == "dots" else "-")
    ax.set_ylim(0, 10)
    return figure


def test_a_slider_changes_the_picture_and_back():
    demo = bdl.demo(draw, height=(1, 9, 1, 3), kind=["line", "dots"])
    first = bytes(demo.image.value)
    demo.controls["height"].value = 7
    second = bytes(demo.image.value)
    demo.controls["kind"].value = "dots"
    assert first.startswith(b"\x89PNG") and len({first, second, bytes(demo.image.value)}) == 3
    demo.controls["kind"].value, demo.controls["height"].value = "line", 3
    assert bytes(demo.image.value) == first and demo.milliseconds > 0
    assert not plt.get_fignums(), "figures must be closed, or a dragged slider fills the memory"


def test_kinds_of_controls():
    import ipywidgets

    demo = bdl.demo(draw, height=(0.5, 2.0, 0.5, 1.0), kind=ipywidgets.Dropdown(options=["line", "dots"]))
    assert isinstance(demo.controls["height"], ipywidgets.FloatSlider)
    assert isinstance(demo.controls["kind"], ipywidgets.Dropdown)
    with pytest.raises(ValueError, match=r"control for 'height' must be \(low, high, step, value\)"):
        bdl.demo(draw, height=(1, 9))
