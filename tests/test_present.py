"""The pages of live demos: which cells they run, what they show, and that their controls move the picture.

Voilà, as `make present` starts it, in a real headless Chromium without a network. What a page can do is tried on a
quick lesson that is made here; then a page of each unit is opened and moved, or with BDL_BROWSER_ALL=1 of each lesson.
"""

import os
import socket
import statistics
import subprocess
import symtable
import time
from dataclasses import dataclass

import nbformat
import present
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import ERROR, PATIENCE, SECOND, digest, drag, is_elsewhere, wait_for_other_picture
from execute_notebooks import kernel_environment, notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

EXPECTED_SECONDS = 40
LESSONS = [path for path in notebooks("lessons") if "bdl.demo(" in path.read_text(encoding="utf-8")]
QUICKEST = ("00", "01", "05", "06", "08", "12", "13", "14")  # of each unit, by what its demo has to compute
OPENED = [path for path in LESSONS if path.name.startswith(QUICKEST) or os.environ.get("BDL_BROWSER_ALL")]
WIDTH, HEIGHT = 1280, 720

LIGHT = new_notebook(
    metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    cells=[
        new_markdown_cell("# How high is it?\n\nWords above."),
        new_code_cell("import matplotlib.pyplot as plt\n\nimport bdlcore as bdl\n\ncourse = bdl.setup()"),
        new_markdown_cell("## The section\n\nIts words, $x^2$."),
        new_code_cell("raise RuntimeError('a cell that the demo does not need')"),
        new_code_cell(
            """
def draw(height, line):
    figure, ax = plt.subplots(figsize=(8, 3.4))
    ax.plot([0, 1], [0, height], line)
    ax.set(xlabel="input x", ylabel="f(x)", ylim=(0, 10), title=f"height {height}")
    return figure


bdl.demo(
    draw, presets={"High": {"height": 9, "line": ":"}}, height=(1, 9, 1, 3), line=["-", ":"], width=(1, 80, 1, 40)
)
""".replace("(height, line)", "(height, line, width)").strip()
        ),
        new_markdown_cell("*Speaker note.* Say this.", metadata={"slideshow": {"slide_type": "notes"}}),
        new_markdown_cell("## Another\n\nNot said."),
    ],
)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """A folder with one lesson that is quick to run."""
    root = tmp_path_factory.mktemp("light")
    (root / "lessons" / "0_light").mkdir(parents=True)
    nbformat.write(LIGHT, root / "lessons" / "0_light" / "00_light.ipynb")
    return root


# --- what is on a page ---


def names(cells: list[str]) -> tuple[set[str], set[str]]:
    """The names that the cells bind, and all that they use of the notebook."""
    table = symtable.symtable("\n".join(cells), "cells", "exec")
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    used, tables = {s.get_name() for s in table.get_symbols() if s.is_referenced()}, [*table.get_children()]
    while tables:
        inner = tables.pop()
        tables += inner.get_children()
        used |= {s.get_name() for s in inner.get_symbols() if s.is_global() and s.is_referenced()}
    return bound, used


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_a_page_makes_each_name_of_the_lesson_that_it_uses(path):
    lesson = nbformat.read(path, as_version=4)
    page = present.page_of(lesson)
    cells = [c.source.removeprefix("%%capture\n") for c in page.cells if c.cell_type == "code"]
    bound, used = names(cells)
    of_lesson, _ = names([c.source for c in lesson.cells if c.cell_type == "code"])
    assert not (used & of_lesson) - bound
    assert "bdl.setup(" in cells[0] and cells[1] == present.QUIET
    assert len(cells) < sum(c.cell_type == "code" for c in lesson.cells), "not the whole lesson"
    assert not any(c.get("outputs") for c in page.cells)


def test_a_page_has_the_demo_its_section_and_the_notes_but_no_other_cell():
    title, *runs, shown, notes = present.page_of(LIGHT).cells
    assert title.source == "# How high is it?"
    assert [cell.source.split("\n")[0] for cell in runs[2:]] == ["%%capture"] and "RuntimeError" not in str(
        runs
    )
    assert "titles=['The section']" in shown.source
    assert (
        notes.source.startswith("<details>") and "Say this." in notes.source and "Its words" in notes.source
    )
    assert "Words above" not in notes.source and "Not said" not in notes.source


def test_a_lesson_without_a_demo_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="no lesson '99' with a demo"):
        present.build(tmp_path / "pages", "99")
    assert not (tmp_path / "pages").exists()
    assert present.main(["--lesson", "3"]) == 1 and "two digits, such as 03" in capsys.readouterr().err


# --- in a browser ---


@dataclass
class Shown:
    """A page in the browser, what it asked for elsewhere, and what failed."""

    page: object
    elsewhere: list[str]
    problems: list[str]


@pytest.fixture(scope="module")
def served(light, tmp_path_factory):
    """The address of Voilà, as `make present` starts it, with the pages that are opened here."""
    folder = tmp_path_factory.mktemp("present")
    pages = present.build(folder / "pages", root=light)
    for path in OPENED:
        nbformat.write(present.page_of(nbformat.read(path, as_version=4)), folder / "pages" / path.name)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    env = kernel_environment(folder) | present.environment()
    with open(folder / "log.txt", "w") as log:
        command = present.command(pages[0].parent, "--no-browser", f"--port={port}", idle=4)
        server = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log.txt").read_text()[
                -3000:
            ]
            time.sleep(0.1)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()  # which stops the kernels too
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("localhost", port)) == 0


@pytest.fixture(scope="module")
def opened(browser, served):
    """A function that opens the page of a lesson, and returns when its picture has the pixels of its room."""
    pages = {}

    def show(name: str) -> Shown:
        if name in pages:
            return pages[name]
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(PATIENCE * SECOND)
        shown = pages[name] = Shown(page, [], [])
        page.on("request", lambda r: shown.elsewhere.append(r.url) if is_elsewhere(r.url) else None)
        page.on("pageerror", lambda error: shown.problems.append(str(error)))
        page.goto(f"{served}/voila/render/{name}.ipynb", wait_until="commit")
        page.wait_for_selector(f"img.widget-image, {FAILED}")
        failed = page.locator(FAILED)
        assert not failed.count(), failed.first.inner_text()[-2000:]
        page.wait_for_function(FILLS)
        return shown

    yield show
    for shown in pages.values():
        shown.page.close()


# the picture has as many pixels as its box in one direction, and no more in the other
FILLS = """() => {
    const picture = document.querySelector('img.widget-image'), box = picture.parentElement.getBoundingClientRect();
    const [across, down] = [box.width - picture.naturalWidth, box.height - picture.naturalHeight];
    return Math.min(across, down) > -1 && Math.min(across, down) <= 1;
}"""
BOXES = """() => [...document.querySelectorAll('h1, .bdl-controls > *, .bdl-controls button, .bdl-picture, summary')]
    .filter(part => part.offsetParent).map(part => part.getBoundingClientRect().toJSON())"""
LETTERS = """() => ['h1', '.widget-label', 'button', 'summary'].map(
    part => parseFloat(getComputedStyle(document.querySelector(part)).fontSize))"""
FAILED = f"{ERROR}, .jupyter-widgets-error-widget"


def check(shown: Shown) -> list[float]:
    """All is in the window and large, and each kind of control brings another picture; milliseconds of a drag."""
    page = shown.page
    assert not shown.elsewhere and not shown.problems
    boxes = page.evaluate(BOXES)
    assert len(boxes) >= 5 and min(box["x"] for box in boxes) >= 0 and min(box["y"] for box in boxes) >= 0
    assert max(box["right"] for box in boxes) <= WIDTH and max(box["bottom"] for box in boxes) <= HEIGHT
    assert min(page.evaluate(LETTERS)) >= 20
    assert page.locator(".bdl-picture").first.bounding_box()["height"] >= HEIGHT / 2
    assert page.locator("code, pre, .jp-InputPrompt").filter(visible=True).count() == 0, "a page without code"
    found = Axe().run(page).response["violations"]
    bad = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
    assert not bad
    return drag(page, page.locator(".bdl-page").first)


def picture_after(page, act) -> str:
    """The digest of the other picture that comes once `act` was done."""
    picture = page.locator("img.widget-image").first
    before = digest(picture)
    act()
    return wait_for_other_picture(picture, before)


def test_a_page_is_driven_by_mouse_keyboard_and_presets(opened, record_property):
    shown = opened("00_light")
    page = shown.page
    first, again = check(shown), drag(page, page.locator(".bdl-page").first)
    record_property(
        "summary",
        f"a live page: {statistics.median(first):.0f} ms from slider to new picture (slowest {max(first):.0f}), "
        f"{statistics.median(again):.0f} ms to one that was kept (slowest {max(again):.0f})",
    )
    first = picture_after(page, lambda: page.click('button:text-is("Reset")'))
    high = picture_after(page, lambda: page.click('button:text-is("High")'))
    assert (
        page.locator("img.widget-image")
        .get_attribute("title")
        .startswith("height 9, line :, width 40. height 9")
    )
    assert picture_after(page, lambda: page.click('button:text-is("Reset")')) == first != high
    page.focus(".noUi-handle")
    assert picture_after(page, lambda: page.keyboard.press("ArrowRight")) not in (first, high)
    page.set_viewport_size({"width": 1600, "height": 900})
    page.wait_for_function(FILLS)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.wait_for_function(FILLS)
    assert not page.get_by_text("Say this.").is_visible()
    page.click("summary")
    assert page.get_by_text("Say this.").is_visible() and page.locator("mjx-container").count()
    assert not shown.elsewhere and not shown.problems


def test_a_drag_leaves_no_queue_of_old_pictures(opened):
    page = opened("00_light").page
    page.locator(".bdl-controls").scroll_into_view_if_needed()
    slider = page.locator(".widget-slider").nth(1)  # of many values
    track = slider.locator(".noUi-base").bounding_box()
    handle = slider.locator(".noUi-handle").bounding_box()
    height = handle["y"] + handle["height"] / 2
    picture = page.locator("img.widget-image")
    picture.evaluate("p => { p.count = 0; p.addEventListener('load', () => p.count++); }")
    page.mouse.move(handle["x"] + handle["width"] / 2, height)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"], height, steps=60)
    page.mouse.up()
    seen = picture.evaluate("p => p.count")
    page.wait_for_function("() => /width 80\\b/.test(document.querySelector('img.widget-image').title)")
    page.wait_for_timeout(3000)
    assert picture.evaluate("p => p.count") - seen <= 3, "pictures of places that the slider has left"


def test_each_unit_has_a_page_that_is_opened():
    assert {path.parent for path in OPENED} == {path.parent for path in LESSONS}


@pytest.mark.parametrize("path", OPENED, ids=[path.stem for path in OPENED])
def test_a_page_of_each_unit_is_moved(opened, path, record_property):
    shown = opened(path.stem)
    redraws = check(shown)
    shown.page.close()  # its kernel ends, and leaves memory and cores to the next
    record_property("summary", f"{path.stem} as a page: {statistics.median(redraws):.0f} ms to a new picture")
