"""The inpainting studio without a browser: what the mouse and the buttons do, done from code.

tests/test_browser.py does the same with a mouse in JupyterLab.
"""

import datetime
import io
import subprocess
import sys
import threading
import time

import nbformat
import pytest
import torch
from execute_notebooks import LIVE, execute, tidy
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

import bdlcore as bdl
from bdlcore.notebook import inpainting_studio as studio_module
from bdlcore.restoration.quality import psnr

EXPECTED_SECONDS = 30
FOREVER = 10**6
PATIENCE = 600  # seconds, for what takes a few on an idle machine


@pytest.fixture
def make():
    """Makes studios, whose fits end with the test."""
    made = []

    def make_studio(size=16, steps=30, **more):
        made.append(bdl.inpainting_studio(size=size, steps=steps, **more))
        return made[-1]

    yield make_studio
    for studio in made:
        studio.stop()
        assert studio.wait(PATIENCE)


def paint_all(studio):
    for x in range(studio.size):
        for y in range(studio.size):
            studio.paint(x, y)


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def fits():
    return [thread for thread in threading.enumerate() if thread.name == "inpainting"]


# --- painting ---


def test_painting_takes_a_disc_out_of_the_mask(make):
    studio = make(size=32)
    assert studio.mask.shape == (32, 32) and studio.mask.dtype == torch.bool and studio.mask.all()
    studio.brush.value = 6
    studio.paint(20, 5)  # x to the right, y down
    row, column = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    assert torch.equal(~studio.mask, (row - 5) ** 2 + (column - 20) ** 2 <= 9)
    studio.paint(0, 31)
    assert not studio.mask[31, 0] and not studio.mask[5, 20]
    studio.clear_button.click()
    assert studio.mask.all()


@pytest.mark.parametrize(("x", "y", "pixels"), [(3, 4, 1), (3.5, 4.5, 4), (-5, 3, 0)])
def test_smallest_brush_hits_a_pixel_wherever_it_is(make, x, y, pixels):
    studio = make()
    studio.brush.value = 1
    studio.paint(x, y)
    assert int((~studio.mask).sum()) == pixels


def test_strokes_in_the_browser_arrive_whole_and_are_not_sent_back(make):
    studio, sent = make(), []
    hole = bytes([1, 0, 0, 1] * 64)
    studio.canvas._send = lambda message, buffers=None: sent.append(message)
    studio.canvas._handle_custom_msg({"event": "painted"}, [memoryview(hole)])
    assert torch.equal(~studio.mask, torch.tensor(list(hole), dtype=torch.bool).reshape(16, 16))
    assert not sent, "an echo that comes late would undo what was painted since"
    studio.canvas.clear()
    assert len(sent) == 1


# --- inpainting ---


def test_hole_is_filled_and_everything_else_kept(make):
    studio = make(size=32, steps=200)
    studio.paint(16, 16)
    mask, image = studio.mask, studio.image.clone()
    assert studio.restoration is None and studio.inpainted is None and studio.wait()
    studio.start()
    assert studio.wait(PATIENCE) and not fits() and studio.stop_button.disabled
    filled = studio.inpainted
    assert torch.equal(filled[:, mask], image[:, mask]) and torch.equal(studio.image, image)
    assert torch.equal(filled[:, ~mask], studio.restoration.image[:, ~mask])
    grey = torch.where(mask, image, 0.5)
    assert psnr(filled, image, ~mask) > psnr(grey, image, ~mask), "the fit looks at the pixels around"
    assert studio.message.startswith("Done after 200 steps") and studio.message in studio.line.value
    assert bytes(studio.result.picture) == studio_module.Canvas(filled).picture

    studio.start()
    studio.wait(PATIENCE)
    assert torch.equal(studio.inpainted, filled), "the same seed and hole give the same picture"


def test_members_are_averaged(make):
    studio = make(members=3)
    studio.paint(8, 8)
    studio.start()
    assert studio.wait(PATIENCE) and len(studio.restoration) == 3
    hole = ~studio.mask
    assert torch.equal(studio.inpainted[:, hole], studio.restoration.chosen.mean(0)[:, hole])


def test_line_tells_the_held_out_error_on_the_way(make):
    studio, said, shown = make(members=2), [], []
    studio.line.observe(lambda change: said.append(change["new"]), "value")
    studio.result.observe(lambda change: shown.append(change["new"]), "picture")
    studio.paint(8, 8)
    studio.start()
    assert studio.wait(PATIENCE)
    errors = studio.restoration.held_out_error.mean(1)
    wanted = [
        f"Step {n} of 30: mean squared error on held-out pixels {errors[n - 1]:.4f}" for n in (1, 15, 30)
    ]
    assert said[1:-1] == wanted and len(shown) >= 3


def test_stop_keeps_what_there_is(make):
    studio = make(steps=FOREVER)
    studio.paint(8, 8)
    studio.start()
    until(lambda: studio.message.startswith("Step"))
    assert not studio.wait(0.01) and not studio.stop_button.disabled
    studio.stop_button.click()
    assert studio.wait(PATIENCE)
    done = len(studio.restoration.loss)
    assert done < FOREVER and studio.message.startswith(f"Stopped after {done} steps")
    assert torch.equal(studio.inpainted[:, studio.mask], studio.image[:, studio.mask])


def test_second_start_replaces_the_first(make):
    studio = make(steps=FOREVER)
    studio.paint(4, 4)
    studio.start()
    until(lambda: studio.message.startswith("Step"))
    studio.paint(12, 12)
    studio.start_button.click()
    assert len(fits()) == 1
    until(lambda: studio.message.startswith("Step"))
    studio.stop()
    assert studio.wait(PATIENCE) and not fits()
    assert (studio.inpainted != studio.image)[:, 12, 12].any(), "it works on the mask of the second start"


def test_another_photo_ends_the_fit_and_starts_afresh(make):
    studio = make(steps=FOREVER)
    studio.paint(8, 8)
    studio.start()
    until(lambda: studio.message.startswith("Step"))
    studio.photos.value = "camera"
    assert not fits() and studio.mask.all() and studio.restoration is None and studio.inpainted is None
    assert torch.equal(studio.image, bdl.photo("camera", 16)) and studio.message == studio_module.HOW_TO
    studio.paint(8, 8)
    studio.steps = 15
    studio.start()
    assert studio.wait(PATIENCE) and studio.inpainted.shape == (1, 16, 16)


# --- what can go wrong ---


def test_nothing_painted_over(make):
    studio = make()
    studio.start()
    assert not fits() and studio.restoration is None
    assert studio.message.startswith("Nothing is painted over yet. Drag")


def test_everything_painted_over(make):
    studio = make()
    paint_all(studio)
    studio.start()
    assert studio.wait(PATIENCE)
    assert "0 of 256 pixels observed: nothing to fit" in studio.message and studio.restoration is None


def test_errors_of_the_fit_are_shown(make, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("The loss <became> NaN")

    monkeypatch.setattr(studio_module, "deep_image_prior", fails)
    studio = make()
    studio.paint(8, 8)
    studio.start()
    assert studio.wait(PATIENCE) and studio.stop_button.disabled
    assert studio.message == "The loss <became> NaN"
    assert studio.line.value == "The loss &lt;became&gt; NaN"


@pytest.mark.parametrize("wrong", [{"size": 4}, {"steps": 0}, {"members": 0}, {"seed": -1}], ids=str)
def test_bad_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        bdl.inpainting_studio(**wrong)


# --- pictures of one's own ---


def choose(studio, name, content):
    """What the upload button does when a file has been chosen."""
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file = {"name": name, "type": "", "size": len(content), "last_modified": now}
    studio.upload.value = ({**file, "content": memoryview(content)},)


def png(colour, size=(40, 20)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_own_picture(make):
    studio = make()
    studio.paint(8, 8)
    choose(studio, "mine.png", png((255, 0, 0)))
    assert torch.equal(studio.image, torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 16, 16))
    assert (
        studio.mask.all()
        and studio.photos.value is None
        and studio.file_line.value == "Own picture: mine.png"
    )
    choose(studio, "mine.png", png((0, 0, 255)))
    assert studio.image[2].min() == 1, "the same name once more"
    studio.photos.value = "astronaut"
    assert torch.equal(studio.image, bdl.photo("astronaut", 16)) and studio.file_line.value == ""


def sixteen_bits():
    buffer = io.BytesIO()
    Image.new("I;16", (20, 20)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture at all", "is not an image that Pillow can read"),
        (b"", "is not an image that Pillow can read"),
        (png((9, 9, 9))[:60], "is not an image that Pillow can read"),
        (sixteen_bits(), "has more than 8 bits per channel"),
    ],
    ids=["text", "empty", "half", "16 bits"],
)
def test_broken_file_costs_nothing(make, content, reason):
    studio = make()
    studio.paint(8, 8)
    image, mask = studio.image, studio.mask
    studio.start()
    choose(studio, "<broken>.png", content)
    assert studio.wait(PATIENCE) and studio.message.startswith("Done after 30 steps")
    said = studio.file_line.value
    assert said.startswith(f"&lt;broken&gt;.png {reason}") and "PNG or JPEG" in said and "BytesIO" not in said
    assert studio.image is image and torch.equal(studio.mask, mask) and studio.photos.value == "astronaut"
    choose(studio, "mine.png", png((255, 0, 0)))
    assert studio.image[0].min() == 1


# --- in a notebook, and at its end ---


def test_saved_notebook_says_that_it_is_live(tmp_path):
    cells = [
        "import bdlcore as bdl\nstudio = bdl.inpainting_studio()\nstudio",
        "import threading\nprint([t.name for t in threading.enumerate() if t.name == 'inpainting'])",
    ]
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), tmp_path / "studio.ipynb")
    executed = execute(tmp_path / "studio.ipynb").notebook
    shown, threads = (cell.outputs for cell in tidy(executed).cells)
    assert [output.data for output in shown] == [{"text/plain": f"▶ {LIVE}", "text/markdown": f"▶ *{LIVE}*"}]
    assert [output.text for output in threads] == ["[]\n"]


def test_python_ends_while_a_fit_runs():
    code = f"""
import bdlcore as bdl
studio = bdl.inpainting_studio(size=16, steps={FOREVER})
studio.paint(8, 8)
studio.start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_are_read_from_either_ipywidgets():
    file = {"content": memoryview(b"x")}
    (new,) = studio_module._files(({**file, "name": "a.png"},))
    (old,) = studio_module._files({"a.png": {**file, "metadata": {"name": "a.png"}}})
    assert new[0] == old[0] == "a.png" and new[1]["content"] == old[1]["content"]
