"""A demo's picture against its controls: the same settings draw the same picture."""

import asyncio
import time

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


def test_presets_and_reset_move_all_controls_and_redraw_once():
    drawn = []

    def counted(height, kind):
        drawn.append((height, kind))
        return draw(height, kind)

    demo = bdl.demo(counted, presets={"High": {"height": 8}}, height=(1, 9, 1, 3), kind=["line", "dots"])
    first = bytes(demo.image.value)
    demo.set(height=5, kind="dots")
    high, back = demo._buttons().children
    high.click()
    back.click()
    assert drawn == [(3, "line"), (5, "dots"), (8, "line"), (3, "line")]
    assert bytes(demo.image.value) == first and (high.description, back.description) == ("High", "Reset")


def test_what_a_control_does_not_take_is_refused():
    demo = bdl.demo(draw, height=(1, 9, 1, 3), kind=["line", "dots"])
    with pytest.raises(ValueError, match="height = 10 is beyond the ends of its slider"):
        demo.set(height=10)
    with pytest.raises(ValueError, match="kind = 'bars' is none of its control's options"):
        demo.set(kind="bars")
    with pytest.raises(ValueError, match=r"Preset 'x' sets \['width'\], but the controls are \['height'\]"):
        bdl.demo(draw, presets={"x": {"width": 1}}, height=(1, 9, 1, 3))


def test_a_page_has_the_pixels_of_its_room():
    demo = bdl.demo(draw, height=(1, 9, 1, 3))
    controls, picture = demo.page().children
    assert controls.children[0] is demo.controls["height"] and picture.children[0] is demo.image
    picture.children[1].pixels = 800, 300  # as the browser tells; the figure is 2 x 1 inches
    width, height = (int.from_bytes(demo.image.value[at : at + 4]) for at in (16, 20))
    assert (width, height) == (600, 300)


def test_a_label_is_not_cut_where_numbers_get_long():
    def long_numbers(power):
        figure, ax = plt.subplots(figsize=(3, 2), layout="constrained")
        ax.plot([0, 1], [0, 10**power])
        ax.ticklabel_format(style="plain")
        ax.set_ylabel("f(x)")
        return figure

    seen = []
    demo = bdl.demo(lambda power: seen.append(long_numbers(power)) or seen[-1], power=(0, 8, 1, 0))
    first = bytes(demo.image.value)
    demo.set(power=8)
    label = seen[-1].axes[0].yaxis.label.get_window_extent()
    assert label.x0 >= 0
    demo.reset()
    assert bytes(demo.image.value) == first


def counted_page(**controls):
    """A demo, the room of its page, and the settings that were drawn, in order."""
    drawn = []

    def counted(**settings):
        drawn.append(tuple(settings.values()))
        if settings.get("kind") == "broken":
            raise RuntimeError("cannot draw this")
        return draw(settings["height"])

    demo = bdl.demo(counted, presets={"High": {"height": controls["height"][1]}}, **controls)
    return demo, demo.page().children[1].children[1], drawn


def wait_for(condition):
    async def wait():
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    return wait()


def test_a_page_draws_ahead_what_one_move_would_show():
    demo, room, drawn = counted_page(height=(0.1, 0.9, 0.1, 0.3), kind=["line", "dots"])
    first = bytes(demo.image.value)

    async def look():
        room.pixels = 100, 50
        await wait_for(
            lambda: len(drawn) >= 11
        )  # as asked and as large as its room, 8 other heights, other kind
        assert sorted(drawn[1:]) == sorted(
            [(round(0.1 * k, 10), "line") for k in range(1, 10)] + [(0.3, "dots")]
        )
        pictures = []
        for height in (0.5, 0.1 + 0.2, 0.9):
            demo.controls["height"].value = height
            pictures.append(bytes(demo.image.value))
        assert len(drawn) == 11 and len({first, *pictures}) == 4, "all of this was drawn ahead"
        assert "height 0.9" in demo.image.tooltip
        await wait_for(lambda: len(drawn) >= 12)
        assert drawn[11:] == [(0.9, "dots")]

    asyncio.run(look())


def test_a_picture_that_cannot_be_drawn_ahead_is_no_error_until_it_is_wanted():
    demo, room, drawn = counted_page(height=(1, 9, 1, 3), kind=["line", "broken"])

    async def look():
        room.pixels = 100, 50
        await wait_for(lambda: (3, "broken") in drawn)
        with pytest.raises(RuntimeError, match="cannot draw this"):
            demo.controls["kind"].value = "broken"

    asyncio.run(look())


def test_a_notebooks_demo_draws_nothing_ahead_since_its_code_may_be_edited():
    drawn = []
    demo = bdl.demo(lambda height: drawn.append(height) or draw(height), height=(1, 9, 1, 3))

    async def look():
        demo.controls["height"].value = 4
        await asyncio.sleep(0.5)
        demo.controls["height"].value = 3

    asyncio.run(look())
    assert drawn == [3, 4, 3]
