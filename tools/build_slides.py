"""Write every lesson as a deck of slides, from what is stored: `python tools/build_slides.py [--lesson 03] [--serve]`.

A deck is one page with reveal.js. No notebook is run, and what a deck loads lies beside it. Cells follow their slide
metadata: `slide` and `subslide` begin a slide, `notes` go to the speaker view (key S), `skip` is left out. Of a code
cell the picture comes first, and its code is folded (key C). tools/slides/deck.js, which sees how tall everything is,
divides what is taller than a screen of 1280 x 720 over more slides, and begins one after each question.
"""

from __future__ import annotations

import argparse
import base64
import re
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from claims_page import number_of, question, read_notebook
from execute_notebooks import LIVE, ROOT, notebooks
from nbconvert.filters import markdown2html
from offline_scripts import put_mathjax, put_reveal
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from bdlcore.notebook.claims import MIME, SYMBOLS, Claim

SLIDES = ROOT / "build" / "slides"
PARTS = Path(__file__).parent / "slides"
PICTURE = (1168, 560)  # the room for a picture below the heading of a slide of 1280 x 720
ENLARGE = 1.5  # a stored picture has so many pixels; more than this shows them
NOTE = "*Speaker note.*"
TALLY = "**Your predictions:**"  # of who ran the notebook: nobody, in a stored one


@dataclass
class Slide:
    """The blocks of a slide in HTML, the code behind them, and what the speaker sees."""

    blocks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def columns_of(notebook: dict) -> list[list[Slide]]:
    """The slides of a notebook as reveal.js lays them out: columns side by side, each of slides one below the other."""
    columns = [[Slide()]]
    for cell in notebook["cells"]:
        kind = cell["metadata"].get("slideshow", {}).get("slide_type")
        source = re.sub(
            r"^⏱.*\n+", "", "".join(cell["source"]), flags=re.MULTILINE
        )  # how long the lesson runs
        if kind == "skip":
            continue
        if kind == "notes" or source.startswith(NOTE):
            columns[-1][-1].notes.append(html_of(source.removeprefix(NOTE)))
            continue
        if cell["cell_type"] == "code":
            add(columns, kind, code_blocks(cell, source))
            continue
        parts = [source] if "```" in source else re.split(r"^(?=#{1,3} )", source, flags=re.MULTILINE)
        parts = [part for part in parts if part.strip()]
        for i, part in enumerate(parts):
            begins = kind if i == 0 else "subslide"
            if part.startswith("## "):
                begins = "slide"
            elif i == 0 < len(parts) - 1 and not part.startswith("#"):
                begins = None  # what stands above a heading belongs to the slide before
            add(columns, begins, [html_of(part)])
    return columns


def add(columns: list[list[Slide]], kind: str | None, blocks: list[str]) -> None:
    """Add blocks to the last slide, or to one that they begin: beside it (`slide`) or below it (`subslide`)."""
    last = columns[-1][-1]
    if kind == "slide" and last != Slide():
        columns.append([Slide()])
    elif kind == "subslide" and any(not is_code(block) for block in last.blocks):
        columns[-1].append(Slide())
    columns[-1][-1].blocks += blocks


def is_code(block: str) -> bool:
    return block.startswith("<details class='code'")


# --- what is in a cell ---


def html_of(markdown: str) -> str:
    """Markdown as HTML; links lead to other decks and to the web, and others are text."""
    html = re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html(markdown.strip()))
    return re.sub(r'<a href="([^"]*)"[^>]*>(.*?)</a>', _link, html, flags=re.DOTALL).strip()


def _link(found: re.Match) -> str:
    lesson = re.search(r"(?:^|/)(\d\d_\w+)\.ipynb$", found[1])
    if lesson and "exercises/" not in found[1]:
        return f'<a href="{lesson[1]}.html">{found[2]}</a>'
    return found[0] if found[1].startswith(("https://", "http://")) else found[2]


def code_blocks(cell: dict, source: str) -> list[str]:
    """The folded code of a cell, then what it showed: pictures, what it says, what it printed, claims."""
    code = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))
    blocks = [f"<details class='code'><summary>Code</summary><pre>{code}</pre></details>"]
    outputs = cell.get("outputs", [])
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    claims = [Claim.from_record(output["data"][MIME]) for output in outputs if MIME in output.get("data", {})]
    blocks += [picture(output) for output in pictures]
    for output in outputs:
        data = output.get("data", {})
        said = "".join(data.get("text/markdown", ""))
        if output in pictures or MIME in data or said.startswith(TALLY):
            continue
        if LIVE in said:
            blocks.append(
                "<p class='live'>▶ Live: the lesson itself has the controls: <code>make lab</code>.</p>"
            )
        elif said.startswith("**Predict first"):
            blocks.append(f"<div class='ask'>{html_of(said)}</div>")
        elif said:
            blocks.append(html_of(said))
        elif "text/html" in data:
            blocks.append(f"<div class='html'>{''.join(data['text/html'])}</div>")
        elif text := "".join(output.get("text", data.get("text/plain", ""))).strip("\n"):
            blocks.append(f"<pre class='printed'>{escape(text)}</pre>")
    if claims:
        blocks.append("<ul class='claims'>" + "".join(map(claim_item, claims)) + "</ul>")
    return blocks


def claim_item(claim: Claim) -> str:
    regime = f" <span class='regime'>[{escape(claim.regime)}]</span>" if claim.regime else ""
    numbers = (
        f"{claim.quantity}: {claim.number} · {claim.favourable} of {claim.independent} · {claim.evidence}"
    )
    return (
        f"<li class='{claim.verdict.replace(' ', '-')}'><b>{SYMBOLS[claim.verdict]} "
        f"{claim.verdict.capitalize()}:</b> {escape(claim.statement)}{regime}"
        f"<br><small>{escape(numbers)}</small></li>"
    )


def picture(output: dict) -> str:
    """A stored picture with its description, as large as a slide has room for."""
    png = base64.b64decode("".join(output["data"]["image/png"]))
    width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    zoom = min(PICTURE[0] / width, PICTURE[1] / height, ENLARGE)
    alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
    data = base64.b64encode(png).decode()
    return (
        f"<img src='data:image/png;base64,{data}' alt='{escape(alt)}' "
        f"width='{zoom * width:.0f}' height='{zoom * height:.0f}'>"
    )


# --- pages ---


def deck(notebook: dict) -> str:
    """The page of a lesson's deck."""
    title, columns = question(notebook), []
    for column in columns_of(notebook):
        heading, slides = "", []
        for slide in column:
            html = "\n".join(slide.blocks)
            if found := re.search(r"<h([1-3])[^>]*>(.*?)</h\1>", html, re.DOTALL):
                heading = found[2]
            elif heading:
                html = f"<p class='running'>{heading}</p>\n{html}"
            notes = f"<aside class='notes'>{''.join(slide.notes)}</aside>" if slide.notes else ""
            slides.append(f"<section>\n{html}\n{notes}</section>")
        columns.append("<section>\n" + "\n".join(slides) + "\n</section>")
    template = (PARTS / "deck.html").read_text(encoding="utf-8")
    return template.replace("{{title}}", plain(title)).replace("{{columns}}", "\n".join(columns))


def plain(title: str) -> str:
    return escape(re.sub(r"[*`$]", "", title))


def contents(decks: dict[str, str]) -> str:
    items = "".join(
        f'<li><a href="{name}.html">{name[:2]} · {plain(title)}</a></li>' for name, title in decks.items()
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Slides</title><link rel='icon' href='data:,'>"
        "<meta name='viewport' content='width=device-width'><style>body { font: 1.3rem/1.7 system-ui; margin: 3rem; }"
        "ul { list-style: none; padding: 0; } kbd { border: 1px solid; border-radius: .3em; padding: 0 .4em; }</style>"
        f"<h1>Slides</h1><ul>{items}</ul><p><kbd>S</kbd> speaker view with notes · <kbd>C</kbd> code of a slide · "
        "<kbd>F</kbd> full screen · <kbd>O</kbd> overview · <kbd>?</kbd> all keys</p></html>"
    )


def build(folder: Path = SLIDES, lesson: str = "", root: Path = ROOT) -> list[Path]:
    """Write the decks of all lessons, or of the one with a number, to a folder; ValueError where there is none."""
    found = [path for path in notebooks("lessons", root=root) if lesson in ("", number_of(path))]
    if not found:
        raise ValueError(f"There is no lesson {lesson!r}; a lesson's number has two digits, such as 03.")
    shutil.rmtree(folder, ignore_errors=True)
    put_reveal(folder / "static" / "reveal")
    put_mathjax(folder / "static" / "mathjax")
    style = (PARTS / "deck.css").read_text(encoding="utf-8") + HtmlFormatter(
        style="friendly", nobackground=True
    ).get_style_defs(".code pre")
    (folder / "static" / "deck.css").write_text(style, encoding="utf-8")
    shutil.copy(PARTS / "deck.js", folder / "static")
    decks, titles = [], {}
    for path in found:
        notebook = read_notebook(path)
        titles[path.stem] = question(notebook)
        decks.append(folder / f"{path.stem}.html")
        decks[-1].write_text(deck(notebook), encoding="utf-8")
    (folder / "index.html").write_text(contents(titles), encoding="utf-8")
    return decks


# --- showing them ---


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the folder for this machine alone, at a free port unless told one."""
    return ThreadingHTTPServer(("localhost", port), partial(Quiet, directory=str(folder)))


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lesson", default="", help="the number of one lesson, such as 03 (default: all)")
    parser.add_argument("--folder", type=Path, default=SLIDES, help="where to (default: build/slides)")
    parser.add_argument("--serve", action="store_true", help="then show them, until Control-C")
    parser.add_argument("--port", type=int, default=0, help="at this port (default: a free one)")
    options = parser.parse_args(arguments)
    try:
        decks = build(options.folder, options.lesson)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{len(decks)} deck(s) of slides are in {options.folder}.")
    if options.serve:
        with server(options.folder, options.port) as shown, suppress(KeyboardInterrupt):
            page = decks[0].name if options.lesson else ""
            print(
                f"Open http://localhost:{shown.server_address[1]}/{page} and press S for the speaker view. "
                "Control-C ends it.",
                flush=True,
            )
            shown.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
