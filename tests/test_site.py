"""The site: built once from what is stored, with no dead link, nothing from elsewhere, and nothing serious for axe."""

import re
import warnings

import build_site
import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from claims_page import read_notebook
from execute_notebooks import ROOT, notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

EXPECTED_SECONDS = 60
LESSON = "lessons/1_marginalization/01_model_averaging"
PAGES = [
    "index",
    LESSON,
    LESSON.replace("lessons", "exercises"),
    "CLAIMS",
    "docs/glossary",
    "docs/teaching",
    "benchmarks/results/README",
    "search",
    "api/inference",
    "api/evaluation",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages; building raises where Sphinx warns or a link is dead."""
    folder = tmp_path_factory.mktemp("built") / "site"
    with warnings.catch_warnings(action="ignore"):  # about what a theme uses of Sphinx
        build_site.build(folder, address="")
    return folder


@pytest.fixture
def layout(tmp_path):
    return build_site.Layout(tmp_path / "source", address="https://example.org/owner/course")


def test_every_lesson_and_exercise_has_a_page_and_its_notebook(site):
    for path in notebooks("lessons", "exercises"):
        name = path.relative_to(ROOT).as_posix()
        assert (site / name).with_suffix(".html").exists()
        assert (site / "notebooks" / name).read_bytes() == path.read_bytes()
    assert 'rel="next"' in (site / LESSON).with_suffix(".html").read_text(encoding="utf-8")


def test_the_reference_has_every_public_name(site):
    import bdlcore as bdl

    anchors = set().union(
        *(build_site.Page(p.read_text(encoding="utf-8")).anchors for p in site.glob("api/*.html"))
    )
    modules = {"data", "nets", "dynamics", "corruptions", "prior_functions", "plots"}
    assert {f"bdl.{name}" for name in bdl.__all__ if name not in modules} <= anchors
    assert {"bdl.data.curve", "bdl.nets.mlp", "bdl.Model.sample_prior"} <= anchors


def test_the_reference_quotes_no_other_library(layout):
    assert not any("recipe for forward pass" in text for text in layout.rooms.values())  # torch.nn.Module's


def test_mathematics_needs_no_network(site):
    html = (site / LESSON).with_suffix(".html").read_text(encoding="utf-8")
    script = re.search(r'src="([^"]*mathjax/tex-chtml\.js[^"]*)"', html)[1].partition("?")[0]
    assert ((site / LESSON).parent / script).exists()
    assert [*(site / "_static/mathjax").rglob("*.woff")]


def test_dead_links_and_what_comes_from_elsewhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="#here">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<script src="https://example.org/x.js"></script><a href="https://example.org">4</a>'
    )
    (tmp_path / "b.html").write_text("")
    found = [*build_site.dead_links(tmp_path)]
    assert len(found) == 3
    assert "no such place" in found[0] and "c.html, which is not there" in found[1] and "loads" in found[2]


def test_links_hold_on_the_site(layout):
    def rewritten(text):
        return layout.markdown(text, "CONTRIBUTING.md")

    assert rewritten("[a](README.md#course-map)") == "[a](index.md#course-map)"
    assert (
        rewritten("[`x`](bdlcore/__init__.py)")
        == "[`x`](https://example.org/owner/course/blob/main/bdlcore/__init__.py)"
    )
    assert rewritten("`[a](README.md)`") == "`[a](README.md)`"
    claim = re.search(r'<a id="([^"]+)">', (ROOT / "CLAIMS.md").read_text(encoding="utf-8"))[1]
    there = layout.markdown(f"[*a* claim](../../CLAIMS.md#{claim})", f"{LESSON}.ipynb")
    assert there == f'<a href="../../CLAIMS.html#{claim}">*a* claim</a>', (
        "MyST knows nothing of anchors in HTML"
    )
    layout.address = ""
    assert rewritten("see [`x`](bdlcore/__init__.py).") == "see `x`.", (
        "no link to where nothing is known to be"
    )


def test_ways_to_run_a_notebook(layout):
    layout.address = "https://github.com/owner/course"
    doors = layout.doors(f"{LESSON}.ipynb")
    assert (
        f"/github/owner/course/blob/gh-pages/notebooks/{LESSON}.ipynb" in doors and "Open in Binder" in doors
    )
    for layout.address in ("", "https://example.org/owner/course"):
        doors = layout.doors(f"{LESSON}.ipynb")
        assert "Download the notebook" in doors and "Colab" not in doors and "Binder" not in doors


def test_speaker_notes_are_left_out(layout):
    note = new_markdown_cell("Say this.", metadata={"slideshow": {"slide_type": "notes"}})
    notebook = new_notebook(cells=[new_markdown_cell("# Why?"), note, new_code_cell("1")])
    shown = layout.notebook(f"{LESSON}.ipynb", notebook)
    assert "Say this." not in nbformat.writes(nbformat.from_dict(shown)) and len(shown["cells"]) == 2


def test_pictures_are_described_as_their_outputs_say(site):
    for path in notebooks("lessons"):
        outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
        stored = [
            o.metadata.get("image/png", {}).get("alt") for o in outputs if "image/png" in o.get("data", {})
        ]
        html = (site / path.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        for alt in filter(None, stored):
            assert re.sub(r"\W+", "", alt) in re.sub(r"\W+", "", html.replace("&#x27;", "")), alt


def test_a_slider_shows_stored_pictures_without_python(site, browser):
    page = browser.new_page(viewport={"width": 390, "height": 720})
    page.goto((site / f"{LESSON}.html").as_uri())
    figure = page.locator("figure.frames")
    picture, shown = figure.locator("img"), figure.locator("output")
    seen = {}
    figure.locator("input").focus()
    for key in ("Home", "ArrowRight", "End"):
        page.keyboard.press(key)
        page.wait_for_function(
            "() => { const p = document.querySelector('.frames img'); return p.complete; }"
        )
        assert picture.evaluate("p => p.naturalWidth") > 400
        value = figure.locator("input").get_attribute("aria-valuetext")
        assert value == shown.inner_text() and f"samples {value}," in picture.get_attribute("alt")
        seen[value] = picture.get_attribute("src")
    assert list(seen)[::2] == ["1", "60"] and len(set(seen.values())) == 3


def test_frames_of_other_code_are_not_shown(layout):
    lesson = read_notebook(ROOT / f"{LESSON}.ipynb")
    assert layout.slider(f"{LESSON}.ipynb", lesson)
    demo = next(cell for cell in lesson["cells"] if "bdl.demo(" in "".join(cell["source"]))
    demo["source"] = [*demo["source"], "\n# changed"]
    assert not layout.slider(f"{LESSON}.ipynb", lesson)
    shown = layout.notebook(f"{LESSON}.ipynb", lesson)
    assert "its controls work where the notebook runs" in str(shown) and "figure class" not in str(shown)


def test_pages_read_offline_on_a_phone_and_have_nothing_serious_for_axe(site, browser):
    for name in PAGES:
        page, failed = browser.new_page(viewport={"width": 1280, "height": 720}), []
        page.on("requestfailed", lambda request, failed=failed: failed.append(request.url))
        page.goto((site / f"{name}.html").as_uri())
        page.evaluate("async () => { await window.MathJax?.startup?.promise }")
        page.wait_for_timeout(300)
        assert not failed
        axes = [Axe().run(page)]
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 720})
            shown = page.evaluate("document.documentElement.scrollWidth")
            assert shown <= width, f"{name} is {shown} wide in a window of {width}"
        axes += [Axe().run(page)] if name == "index" else []
        bad = [
            v for axe in axes for v in axe.response["violations"] if v["impact"] in ("serious", "critical")
        ]
        assert not bad, (name, [(v["id"], v["nodes"][0]["html"][:200]) for v in bad])
        page.close()
