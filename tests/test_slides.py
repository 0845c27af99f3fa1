"""The decks of all lessons in a browser: no slide is taller than the screen, and nothing is lost or from afar."""

import re
import threading
from collections import Counter

import build_slides
import nbformat
import offline_scripts
import pytest
from claims_page import read_notebook
from execute_notebooks import LIVE, ROOT, notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from bdlcore.notebook.claims import stored_claims

EXPECTED_SECONDS = 90
LESSONS = notebooks("lessons")
WIDTH, HEIGHT = 1280, 720
PATIENCE = 120_000  # milliseconds, for what takes a few seconds on an idle machine

SLIDES = """() => [...document.querySelectorAll('.slides > section > section')].map(page => {
    const {h, v} = Reveal.getIndices(page);
    Reveal.slide(h, v);
    const unseen = '.notes, .code, mjx-math, mjx-assistive-mml';
    const shown = [...page.querySelectorAll('*')].filter(part => !part.closest(unseen));
    const corner = page.getBoundingClientRect(), boxes = shown.map(part => part.getBoundingClientRect());
    return {
        bottom: Math.max(...boxes.map(box => box.bottom - corner.top)),
        right: Math.max(page.scrollWidth, ...boxes.map(box => box.right - corner.left)),
        text: page.innerText.slice(0, 60),
        letters: Math.min(...shown.filter(p => p.matches('p, li, pre, td'))
            .map(p => parseFloat(getComputedStyle(p).fontSize))),
        asks: shown.findIndex(part => part.matches('.ask')),
        answers: shown.findLastIndex(part => part.matches('p') && /^Measured: /.test(part.textContent)),
        notes: [...page.querySelectorAll('.notes')].map(note => note.textContent.trim()),
        pictures: shown.filter(part => part.matches('img')).map(part => part.alt),
        claims: page.querySelectorAll('.claims li').length,
    };
})"""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    build_slides.build(folder)
    return folder


@pytest.fixture(scope="module")
def shown(decks, browser):
    """A function that opens a deck of a folder in a window, and returns its page when the slides are there."""
    with build_slides.server(decks) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_address[1]}"

        def show(name):
            page, problems = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}), []
            page.on(
                "request",
                lambda r: problems.append(r.url) if not r.url.startswith((address, "data:")) else None,
            )
            page.on("requestfailed", lambda request: problems.append(request.url))
            page.on(
                "response", lambda response: problems.append(response.url) if response.status >= 400 else None
            )
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(f"{address}/{name}.html")
            page.wait_for_function("window.Reveal?.isReady()", timeout=PATIENCE)
            return page, problems

        yield show
        server.shutdown()


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_every_slide_fits_and_nothing_is_lost(shown, path):
    page, problems = shown(path.stem)
    slides = page.evaluate(SLIDES)
    page.close()
    assert not problems, "A deck loads what lies beside it, and nothing else."
    assert len(slides) >= 10
    too_large = [s for s in slides if s["bottom"] > HEIGHT or s["right"] > WIDTH]
    assert not too_large, [(s["text"], s["bottom"], s["right"]) for s in too_large]
    assert min(s["letters"] for s in slides if s["letters"]) >= 13, "letters that nobody reads"
    assert not any(-1 < s["asks"] < s["answers"] for s in slides), "a question and its answer on one slide"

    kept = [c for c in read_notebook(path)["cells"] if kind(c) != "skip"]
    pictures = [o for c in kept for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    alt = Counter(o["metadata"].get("image/png", {}).get("alt", "") for o in pictures)
    assert Counter(alt for s in slides for alt in s["pictures"]) == alt
    assert sum(s["claims"] for s in slides) == len(stored_claims({**read_notebook(path), "cells": kept}))
    written = sum(kind(c) == "notes" for c in kept)
    assert len({note for s in slides for note in s["notes"]}) == written


def kind(cell):
    return cell["metadata"].get("slideshow", {}).get("slide_type")


def test_the_speaker_sees_the_notes(shown):
    page, problems = shown("03_priors_over_functions")
    page.evaluate("Reveal.slide(0, 1)")
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    speaker = opened.value
    speaker.wait_for_function(
        "document.querySelector('.speaker-controls-notes .value')?.innerText.includes('house prices')",
        timeout=PATIENCE,
    )
    speaker.close()
    assert not problems
    page.keyboard.press("c")
    assert page.locator("section.present details.code[open]").count() == 1, "C opens the code of a slide"
    page.close()


def test_cells_become_slides():
    def cell(source, kind=None):
        return new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}} if kind else {})

    cells = [
        cell("# Title\n\n⏱ A minute\n\ntext", "slide"),
        cell("*Speaker note.* Say this.", "notes"),
        cell("left out", "skip"),
        cell("below", "subslide"),
        cell("still here\n\n## Next\n\nmore", "slide"),
        new_code_cell("x = 1"),
        new_code_cell("bdl.demo()", outputs=[new_output("display_data", {"text/markdown": f"*{LIVE}*"})]),
    ]
    columns = build_slides.columns_of(nbformat.from_dict(new_notebook(cells=cells)))
    assert [len(column) for column in columns] == [2, 1]
    first, second = columns[0]
    assert first.notes == ["<p>Say this.</p>"] and "A minute" not in "".join(first.blocks)
    assert second.blocks == ["<p>below</p>", "<p>still here</p>"]
    last = "".join(columns[1][0].blocks)
    assert "make lab" in last and LIVE not in last and "<summary>Code" in last


def test_links_lead_to_decks_or_are_text():
    html = build_slides.html_of(
        "[a](../1_marginalization/01_model_averaging.ipynb) [b](../../CLAIMS.md) [c](https://example.org/x) "
        "[d](../../exercises/0_start/00_start_here.ipynb)"
    )
    assert re.findall(r'href="([^"]*)"', html) == ["01_model_averaging.html", "https://example.org/x"]


def test_what_is_not_there_is_said(tmp_path, capsys):
    assert build_slides.main(["--lesson", "3", "--folder", str(tmp_path / "decks")]) == 1
    assert "no lesson '3'" in capsys.readouterr().err and not (tmp_path / "decks").exists()
    with pytest.raises(LookupError, match="pytest no longer has the scripts"):
        offline_scripts._put("pytest", "/nowhere/", tmp_path, lambda inside: True)


def test_decks_have_an_index(decks):
    index = (decks / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'href="(\d\w+)\.html"', index) == [path.stem for path in LESSONS]
    assert ROOT not in decks.parents
