"""A real headless Chromium for tests of pages, and what they share: dragging a slider, and digests of pictures."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Locator, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HOW_TO = (
    "No Chromium was found, so no page was opened. Install it (Debian and Ubuntu: `sudo apt install chromium`; "
    "any system: `.venv/bin/python -m playwright install chromium`) and run this test again."
)
SECOND = 1000  # Playwright counts in milliseconds
PATIENCE = 600  # seconds, for what takes a few on an idle machine
ERROR = (
    '[data-mime-type="application/vnd.jupyter.stderr"]'  # what JupyterLab shows in red: tracebacks, warnings
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium for which no name but this machine's resolves, so that a page which needs the internet shows it.

    No sandbox and no shared memory, because containers often have neither.
    """
    with sync_playwright() as playwright:
        executable = find_chromium(playwright)
        if executable is None:
            (pytest.fail if os.environ.get("BDL_REQUIRE_BROWSER") else pytest.skip)(HOW_TO)
        arguments = [
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
        ]
        launched = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield launched
        launched.close()


def find_chromium(playwright) -> str | None:
    """A Chromium on the PATH, or the one that Playwright has installed for itself."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    own = playwright.chromium.executable_path
    return found or (own if Path(own).exists() else None)


def is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://localhost:", "ws://localhost:", "data:", "blob:"))


def wait_until(condition: Callable[[], bool], patience: float, otherwise: str) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


DIGEST = """async picture => {
    const bytes = await (await fetch(picture.src)).arrayBuffer();
    return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].join();
}"""


def digest(picture: Locator) -> str:
    """What stands for an image's pixels."""
    return picture.evaluate(DIGEST)


def wait_for_other_picture(picture: Locator, before: str) -> str:
    """The digest of an image, once it is another than `before`."""
    shown = before

    def changed() -> bool:
        nonlocal shown
        try:
            shown = digest(picture)
        except Error:  # the next picture has just taken its place
            return False
        return shown != before

    wait_until(changed, PATIENCE, "No other picture came.")
    return shown


# a picture whose words change is loaded once more, so only one with other pixels than the last counts
WATCH = f"""async picture => {{
    const digest = {DIGEST};
    const watched = 'redraws' in picture;
    picture.redraws = [];
    if (watched) return;
    picture.last = await digest(picture);
    addEventListener('mousemove', () => {{ picture.moved = performance.now(); }}, true);
    picture.addEventListener('load', async () => {{
        const milliseconds = performance.now() - picture.moved;
        const shown = await digest(picture).catch(() => picture.last);  // another one has taken its place
        if (shown !== picture.last) picture.redraws.push(milliseconds);
        picture.last = shown;
    }});
}}"""


def drag(page: Page, demo: Locator, patience: float = PATIENCE) -> list[float]:
    """Drag a demo's first slider along its track. Returns the milliseconds from each move to the new picture.

    Fails unless every move that changes the slider's value brings another picture.
    """
    picture, slider = demo.locator("img.widget-image"), demo.locator(".widget-slider").first
    slider.scroll_into_view_if_needed()
    picture.evaluate(WATCH)
    readout = slider.locator(".widget-readout")
    track, handle = slider.locator(".noUi-base").bounding_box(), slider.locator(".noUi-handle").bounding_box()
    height = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, height)
    page.mouse.down()
    moves = 0
    for place in (0.1, 0.3, 0.5, 0.7, 0.9):
        value, seen = readout.inner_text(), picture.evaluate("picture => picture.redraws.length")
        page.mouse.move(track["x"] + place * track["width"], height)
        if readout.inner_text() == value:
            continue  # the slider has few values, and this is the same one
        moves += 1
        try:
            drawn = picture.element_handle()
            page.wait_for_function(
                "([p, seen]) => p.redraws.length > seen", arg=[drawn, seen], timeout=patience * SECOND
            )
        except Error:
            pytest.fail(f"The slider moved from {value} to {readout.inner_text()}, but no new picture came.")
    page.mouse.up()
    assert moves >= 2, "The slider did not follow the mouse."
    return picture.evaluate("picture => picture.redraws")
