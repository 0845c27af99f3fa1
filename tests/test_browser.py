"""What a learner does: open a lesson in JupyterLab, run all cells, drag a slider, and see the picture change.

A real JupyterLab, set up as `make lab` does it and without a network, in a real headless Chromium. By default the
quickest lesson is tried here (the notebook tests try every lesson's demos in its kernel); BDL_BROWSER_ALL=1 tries all.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from browsers import ERROR, PATIENCE, SECOND, digest, drag, is_elsewhere, wait_for_other_picture, wait_until
from execute_notebooks import ROOT, kernel_environment, notebooks, tidy
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page

EXPECTED_SECONDS = 60


def stated_seconds(path: Path) -> float:
    return nbformat.read(path, as_version=4).metadata.get("bdl", {}).get("seconds", 60)


LESSONS = [path for path in notebooks("lessons") if "bdl.demo(" in path.read_text(encoding="utf-8")]
if not os.environ.get("BDL_BROWSER_ALL"):
    LESSONS = sorted(LESSONS, key=stated_seconds)[:1]

TWO_DEMOS = (
    """
import bdlcore as bdl
from matplotlib.figure import Figure

def draw(n):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, n])
    return figure
""",
    "bdl.demo(lambda n: draw(1), n=(0, 9, 1, 5))",
    "bdl.demo(draw, n=(0, 9, 1, 5))",
)

STUDIO = (
    """
import bdlcore as bdl
import ipywidgets

studio = bdl.inpainting_studio(steps=10**6)
studio
""",
    """
report = ipywidgets.Label()
studio.canvas.observe(lambda _: setattr(report, "value", f"painted: {int((~studio.mask).sum())}"), "hole")
report
""",
)


@dataclass
class Lab:
    """A running JupyterLab: its address with a token, and the folder that it serves."""

    url: str
    token: str
    folder: Path


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the lessons, killed whatever happens."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "course"
    shutil.copytree(ROOT / "lessons", folder / "lessons", dirs_exist_ok=True) if LESSONS else folder.mkdir()
    for path in folder.rglob("*.ipynb"):
        path.write_text(nbformat.writes(without_outputs(nbformat.read(path, as_version=4))), encoding="utf-8")
    for name, cells in (("two_demos", TWO_DEMOS), ("studio", STUDIO)):
        scratch = tidy(new_notebook(cells=[new_code_cell(cell.strip()) for cell in cells]))
        nbformat.write(scratch, folder / f"{name}.ipynb")
    nbformat.write(
        tidy(new_notebook(cells=[new_code_cell("1 / 0"), new_code_cell("2")])), folder / "fails.ipynb"
    )
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # all cells in the page at once, not only those in view
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')

    places = {
        "IPYTHONDIR": "ipython",
        "BDL_DATA": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "share",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    env = kernel_environment(folder) | {name: str(home / place) for name, place in places.items()}
    env["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT / "tests" / "kernel"), os.environ.get("PYTHONPATH")])
    )
    env["JUPYTER_CONFIG_PATH"] = str(ROOT / "tools" / "jupyter")
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=localhost", "--ServerApp.port=0", f"--ServerApp.root_dir={folder}"),
    ]
    with open(home / "log.txt", "w") as log:
        server = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (info := read_json(home / "runtime" / f"jpserver-{server.pid}.json")):
            assert server.poll() is None and time.monotonic() < deadline, (home / "log.txt").read_text()[
                -3000:
            ]
            time.sleep(0.1)
        yield Lab(info["url"], info["token"], folder)
    finally:
        server.terminate()  # which stops the kernels too
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def without_outputs(notebook):
    """Empty prompts, so that a number in a prompt means: has been run here."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def read_json(path: Path) -> dict | None:
    """The file's content, or None while it is not there or half written."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@pytest.fixture(scope="module")
def opened(browser, lab):
    """A function that opens a notebook of the lab, runs all its cells, and returns the page; once per notebook."""
    pages: dict[str, Page] = {}

    def open_and_run(name: str, patience: float) -> Page:
        if name not in pages:
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            run_all_cells(page, lab, name, patience)
            pages[name] = page
        return pages[name]

    yield open_and_run
    for page in pages.values():
        page.close()


ALL_RAN_OR_ONE_FAILED = """error => document.querySelector(error)
    || [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(prompt => /\\d/.test(prompt.innerText))"""


def run_all_cells(page: Page, lab: Lab, name: str, patience: float) -> None:
    """Open a notebook and use the menu Run > Run All Cells, as a learner would; return when all cells have run."""
    page.set_default_timeout(PATIENCE * SECOND)
    elsewhere = []
    page.on("request", lambda request: elsewhere.append(request.url) if is_elsewhere(request.url) else None)
    # a workspace of its own: otherwise JupyterLab opens again what an earlier page had open
    page.goto(f"{lab.url}lab/workspaces/{Path(name).stem}/tree/{name}?token={lab.token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell, .jp-Dialog")
    assert not (asked := page.locator(".jp-Dialog").all_inner_texts()), (
        f"JupyterLab asks a learner: {asked[0]}"
    )
    wait_until(lambda: kernel_is_ready(page, lab, name), PATIENCE, "The kernel did not start.")
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
    page.wait_for_function(ALL_RAN_OR_ONE_FAILED, arg=ERROR, timeout=patience * SECOND)
    errors = page.locator(ERROR).all_inner_texts()
    assert not errors, f"A cell failed in the browser: {errors[0][-2000:]}"
    news = page.get_by_text("Would you like to get notified about official Jupyter news?")
    assert news.count() == 0, "JupyterLab asks a learner about news, which tools/jupyter should prevent."
    assert not elsewhere, f"The page asked for {elsewhere}, but a lesson works offline."


def kernel_is_ready(page: Page, lab: Lab, name: str) -> bool:
    """Whether the page is connected to an idle kernel of its notebook."""
    sessions = page.request.get(f"{lab.url}api/sessions?token={lab.token}").json()
    kernels = [session["kernel"] for session in sessions if session["path"] == name]
    return any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels)


def demos(page: Page) -> Locator:
    """The boxes that hold a slider and a picture."""
    return page.locator(".widget-vbox:has(.noUi-handle):has(img.widget-image)")


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_lesson_runs_and_its_slider_moves_the_picture(opened, path, record_property):
    page = opened(path.relative_to(ROOT).as_posix(), patience=PATIENCE + 10 * stated_seconds(path))
    redraws = drag(page, demos(page).first)
    record_property(
        "summary",
        f"{path.stem} in the browser: {statistics.median(redraws):.0f} ms from slider to new picture "
        f"(median of {len(redraws)} moves, slowest {max(redraws):.0f} ms)",
    )


def test_a_live_slider_passes(opened):
    page = opened("two_demos.ipynb", patience=PATIENCE)
    redraws = drag(page, demos(page).nth(1))
    assert len(redraws) >= 4 and min(redraws) > 0


def test_the_keyboard_alone_drives_a_demo(opened):
    page = opened("two_demos.ipynb", patience=PATIENCE)
    demo = demos(page).nth(1)
    picture, handle = demo.locator("img.widget-image"), demo.locator(".noUi-handle").first
    readout, shown = demo.locator(".widget-readout").first, digest(picture)
    assert handle.evaluate("handle => handle.tabIndex") == 0, "Tab passes the slider by."

    def changes(press: Callable[[], None], value: str) -> None:
        nonlocal shown
        press()
        wait_until(lambda: readout.inner_text() == value, PATIENCE, f"The slider did not come to {value}.")
        shown = wait_for_other_picture(picture, shown)

    handle.focus()
    before, lowest = float(readout.inner_text()), None
    changes(lambda: page.keyboard.press("Home"), handle.get_attribute("aria-valuemin").removesuffix(".0"))
    lowest = float(readout.inner_text())
    assert lowest < before
    changes(lambda: page.keyboard.press("ArrowRight"), f"{lowest + 1:g}")
    buttons = demo.locator("button")
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Reset":
            break
    assert buttons.count() and page.evaluate("document.activeElement.innerText") == "Reset"


def test_a_dead_slider_is_noticed(opened):
    page = opened("two_demos.ipynb", patience=PATIENCE)
    with pytest.raises(pytest.fail.Exception, match="no new picture came"):
        drag(page, demos(page).nth(0), patience=3)


def test_a_failing_cell_is_noticed(opened):
    with pytest.raises(AssertionError, match="(?s)A cell failed in the browser: .*ZeroDivisionError"):
        opened("fails.ipynb", patience=PATIENCE)


# --- the inpainting studio ---

# at each move of the mouse, right after the canvas has seen it and before the kernel can have: is there paint?
WATCH_PAINT = """canvas => {
    canvas.seen = [];
    document.addEventListener('pointermove', move => {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [move.clientX - box.left, move.clientY - box.top].map(v => v * canvas.width / box.width);
        const pixel = [...canvas.getContext('2d').getImageData(x, y, 1, 1).data];
        canvas.seen.push({pixel, milliseconds: performance.now() - move.timeStamp});
    });
}"""
PIXELS = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
PAINT = [225, 0, 190, 255]


def pixels(canvas: Locator) -> list[list[int]]:
    """The colours that a canvas shows, row by row."""
    values = canvas.evaluate(PIXELS)
    return [values[i : i + 4] for i in range(0, len(values), 4)]


def test_studio_paints_at_once_inpaints_and_stops(opened, record_property):
    page = opened("studio.ipynb", patience=PATIENCE)
    left, right = (page.locator(".jp-OutputArea canvas").nth(i) for i in (0, 1))
    line = page.locator(".widget-html-content").first
    left.scroll_into_view_if_needed()
    photo, box = pixels(left), left.bounding_box()
    assert len(photo) == 64 * 64 and PAINT not in photo and box["width"] == box["height"] >= 300

    left.evaluate(WATCH_PAINT)
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.2 * box["width"], height)
    page.mouse.down()
    for place in range(25, 75, 2):
        page.mouse.move(box["x"] + place / 100 * box["width"], height)
    page.mouse.move(box["x"] + 1.1 * box["width"], height)  # a stroke may leave the picture
    page.mouse.up()
    _, *dots, outside = left.evaluate("canvas => canvas.seen")
    assert len(dots) == 25 and all(dot["pixel"] == PAINT for dot in dots) and outside["pixel"] != PAINT
    delays = [dot["milliseconds"] for dot in dots]
    record_property(
        "summary", f"from mouse to paint: {statistics.median(delays):.1f} ms (slowest {max(delays):.1f})"
    )

    painted = [pixel == PAINT for pixel in pixels(left)]
    assert 300 < sum(painted) < 500, "a stroke 8 pixels wide from 0.2 of the width to the right edge"
    page.wait_for_selector(f"text=painted: {sum(painted)}", timeout=PATIENCE * SECOND)

    page.click('button:has-text("Inpaint")')
    page.wait_for_function("line => line.innerText.startsWith('Step')", arg=line.element_handle())
    first = line.inner_text()
    page.wait_for_function("([line, first]) => line.innerText !== first", arg=[line.element_handle(), first])
    page.click('button:has-text("Stop")')
    page.wait_for_function("line => line.innerText.startsWith('Stopped')", arg=line.element_handle())
    for before, hole, after in zip(photo, painted, pixels(right), strict=True):
        assert after != PAINT and (hole or after == before), "known pixels stay, the paint is gone"

    page.click('button:has-text("Clear")')
    wait_until(lambda: pixels(left) == photo, 20, "The paint stayed.")


def test_the_keyboard_alone_paints(opened):
    page = opened("studio.ipynb", patience=PATIENCE)
    canvas = page.locator(".jp-OutputArea canvas").first
    assert canvas.evaluate("canvas => canvas.tabIndex") == 0 and canvas.get_attribute("aria-label")
    canvas.hover()  # from where a mouse has left the brush: the middle
    canvas.focus()
    counts = []
    for key in ("Space", "Shift+ArrowRight", "Space", "ArrowDown", "Space"):
        page.keyboard.press(key)
        counts.append(pixels(canvas).count(PAINT))
    once, _, beside, _, below = counts
    assert 40 < once < 70 and once < beside < once + 15, "a dot 8 pixels wide, and its neighbour a pixel on"
    assert below > beside + 10
    page.wait_for_selector(f"text=painted: {below}", timeout=PATIENCE * SECOND)
