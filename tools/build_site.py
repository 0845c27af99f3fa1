"""Write the course as pages for a browser, from what is stored: `python tools/build_site.py [FOLDER]`.

Lays out the pages in build/site-source, under the paths that they have in the repository, and lets Sphinx with
docs/conf.py turn them into FOLDER (build/site). No notebook is run. The pages need no server and no network: what they
load lies beside them. At the end every link and every picture is looked up; a dead one fails.

Where CITATION.cff has a `repository-code`, pages also link to files that are not on the site, notebooks to Colab and
Binder, and the notebooks to download begin with a cell that installs the package where it is missing
(tools/colab_cell.py). Colab opens those, from the branch that the site is published on; what the repository holds stays
free of an address.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import api_pages
import colab_cell
import nbformat
from claims_page import number_of, question, read_notebook
from colab_cell import repository
from demo_frames import FRAMES, cells_of, digest
from execute_notebooks import LIVE, ROOT, notebooks
from offline_scripts import put_mathjax
from PIL import Image
from sphinx.cmd.build import build_main

SITE = ROOT / "build" / "site"
PUBLISHED = "gh-pages"  # the branch of the repository on which GitHub Pages finds the site
GUIDES = {  # page of the repository -> its name beside the text
    "docs/setup.md": "Setting up",
    "docs/scale.md": "From a laptop to many processes",
    "docs/class.md": "A class on one server, or on many",
    "docs/teaching.md": "Teaching with this course",
    "CONTRIBUTING.md": "Contributing",
}
PACKAGE = {
    "docs/bdlcore.md": "What is in bdlcore",
    "api/index.md": "Name by name",
    "bdlcore/README.md": "The map of its rooms",
    "benchmarks/results/README.md": "How fast it is",
}
# code and mathematics, in which brackets are no links; else a picture or a link, whose text may hold either
MARKUP = re.compile(
    r"```.*?```|\$\$.*?\$\$"
    r"|!\[[^\]]*\]\((?P<picture>[^)\s]+)\)"
    r"|\[(?P<text>(?:`[^`]*`|!\[[^\]]*\]\([^)]*\)|[^\[\]`])*)\]\((?P<link>[^)\s]+)\)"
    r"|`[^`\n]*`|<a id=\"(?P<anchor>[^\"]+)\"></a>",
    re.DOTALL,
)
SHOWN = ("image/png", "image/svg+xml", "text/html", "text/markdown", "text/plain")


class DeadLinks(ValueError):
    """The site links to what is not there, or loads something from elsewhere."""


# --- laying out the pages ---


class Layout:
    """The pages of the site in a folder, as Markdown and notebooks whose links hold on the site."""

    def __init__(self, folder: Path, root: Path = ROOT, address: str = ""):
        self.folder, self.root, self.address = folder, root, address
        self.lessons = [path.relative_to(root).as_posix() for path in notebooks("lessons", root=root)]
        exercises = [path.relative_to(root).as_posix() for path in notebooks("exercises", root=root)]
        self.exercises = {name.partition("/")[2]: name for name in exercises}
        self.rooms = api_pages.pages()
        own = ["README.md", "CLAIMS.md", "docs/glossary.md", *GUIDES, *PACKAGE]
        self.pages = {*self.lessons, *exercises, *own}

    def write(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in self.pages:
            if name.startswith("api/"):
                continue
            text = (self.root / name).read_text(encoding="utf-8")
            if name.endswith(".ipynb"):
                self.put(name, json.dumps(self.notebook(name, json.loads(text)), indent=1))
            elif name == "README.md":
                self.put("index.md", self.markdown(text, name) + self.contents())
            else:
                self.put(name, self.markdown(text, name))
        for room, text in self.rooms.items():
            self.put(f"api/{room}.md", text)

    def put(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8")

    def contents(self) -> str:
        """The hidden lists of pages, which give the menu beside the text, and previous and next."""
        trees: dict[str, list[str]] = {}
        for name in self.lessons:
            topic = name.partition("/")[2]
            unit = topic.partition("/")[0].partition("_")[2].replace("_", " ").capitalize()
            title = question(read_notebook(self.root / name)).replace("<", "&lt;")
            number = number_of(Path(name))
            trees.setdefault(unit, []).append(f"{number} · {title} <{name}>")
            if topic in self.exercises:
                trees[unit].append(f"{number} · Exercises <{self.exercises[topic]}>")
        trees["Reference"] = ["Every claim <CLAIMS.md>", "Symbols and terms <docs/glossary.md>"]
        trees["bdlcore"] = [f"{title} <{name}>" for name, title in PACKAGE.items()]
        trees["Guides"] = [f"{title} <{name}>" for name, title in GUIDES.items()]
        return "".join(
            "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""])
            for caption, entries in trees.items()
        )

    # --- links ---

    def markdown(self, text: str, page: str) -> str:
        """The text with links that hold on the site: to pages, to files of the repository, or to nothing at all."""

        def rewritten(found: re.Match) -> str:
            if found["picture"]:
                return self.picture(found, page)
            if found["link"]:
                return self.link(self.markdown(found["text"], page), found["link"], page)
            return f'<span id="{found["anchor"]}"></span>' if found["anchor"] else found[0]

        return MARKUP.sub(rewritten, text)

    def picture(self, found: re.Match, page: str) -> str:
        source = self.target(found["picture"], page)
        if source is not None:
            (self.folder / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / source, self.folder / source)
        return found[0]

    def target(self, link: str, page: str) -> str | None:
        """The path in the repository that a link of a page leads to; None for one that leads out of it."""
        if re.match(r"[a-zA-Z][\w+.-]*:|#", link):
            return None
        path = (self.root / page).parent / unquote(link.partition("#")[0])
        return os.path.relpath(os.path.normpath(path), self.root).replace(os.sep, "/")

    def link(self, text: str, link: str, page: str) -> str:
        target, anchor = self.target(link, page), link.partition("#")[2]
        if target is None and not link.startswith("#"):
            return f"[{text}]({link})"
        # an anchor in HTML, of which MyST knows nothing
        in_html = anchor and f'id="{anchor}"' in self.html_source(target or page)
        if target is None:
            return f'<a href="#{anchor}">{plain_html(text)}</a>' if in_html else f"[{text}]({link})"
        if target in self.pages:
            name = "index.md" if target == "README.md" else target
            here = Path("index.md" if page == "README.md" else page).parent
            there = os.path.relpath(name, here).replace(os.sep, "/")
            if in_html:
                return f'<a href="{there.removesuffix(".md")}.html#{anchor}">{plain_html(text)}</a>'
            return f"[{text}]({there}{'#' if anchor else ''}{anchor})"
        if self.address:
            kind = "tree" if (self.root / target).is_dir() else "blob"
            return f"[{text}]({self.address}/{kind}/main/{quote(target)})"
        return text

    def html_source(self, page: str) -> str:
        """The text of a page in Markdown, which may have HTML in it."""
        return (self.root / page).read_text(encoding="utf-8") if page.endswith(".md") else ""

    # --- notebooks ---

    def notebook(self, name: str, stored: dict) -> dict:
        """A notebook for reading: without the speaker's notes, and with the ways to run it below its title."""
        cells = []
        slider = self.slider(name, stored)
        for cell in stored["cells"]:
            if cell["metadata"].get("slideshow", {}).get("slide_type") == "notes":
                continue
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                source = self.markdown(source, name)
            elif collapsed(cell):
                cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
            cells.append({**cell, "source": source})
            for output in cell.get("outputs", []):
                if "data" in output:
                    output["data"] = {kind: data for kind, data in output["data"].items() if kind in SHOWN}
                if LIVE in "".join(output.get("data", {}).get("text/markdown", "")):
                    said = "▶ *A live demo: its controls work where the notebook runs.*"
                    output["data"] = {"text/html": slider} if slider else {"text/markdown": said}
                    slider = ""  # of the first demo
        texts = [cell for cell in cells if cell["cell_type"] == "markdown"]
        if not any(
            re.search(r"^## ", cell["source"], re.MULTILINE) for cell in texts
        ):  # no level may be left out
            for cell in texts:
                cell["source"] = re.sub(r"^###", "##", cell["source"], flags=re.MULTILINE)
        title, _, rest = cells[0]["source"].partition("\n")
        cells[0]["source"] = f"{title}\n\n{self.doors(name)}\n{rest}"
        return {**stored, "cells": cells}

    def slider(self, name: str, stored: dict) -> str:
        """The slider of a lesson's first demo that shows stored frames; "" where there are none of the present code."""
        folder = self.root / FRAMES.relative_to(ROOT) / Path(name).stem
        if not name.startswith("lessons/") or not (folder / "frames.json").exists():
            return ""
        kept = json.loads((folder / "frames.json").read_text(encoding="utf-8"))
        if kept["code"] != digest(cells_of(stored)):
            return ""
        up, start, frames = "../" * name.count("/"), kept["start"], kept["frames"]
        at = f"{up}_static/frames/{folder.name}"
        with Image.open(folder / f"{start}.webp") as picture:
            width, height = picture.size
        control, data = escape(kept["control"]), escape(json.dumps(frames), quote=True)
        return (
            f'<figure class="frames" data-at="{at}" data-frames="{data}"><div><label>{control} '
            f'<input type="range" min="0" max="{len(frames) - 1}" value="{start}" autocomplete="off" '
            f'aria-valuetext="{escape(frames[start]["value"])}"></label> '
            f"<output>{escape(frames[start]['value'])}</output></div>"
            f'<img src="{at}/{start}.webp" width="{width}" height="{height}" alt="{escape(frames[start]["words"])}">'
            "<figcaption>Stored pictures: the demo has all its controls where the notebook runs.</figcaption></figure>"
        )

    def doors(self, name: str) -> str:
        """Links from a notebook's page to its other half and to the places where it runs."""
        tree, _, topic = name.partition("/")
        up = "../" * name.count("/")
        links = []
        if tree == "exercises":
            links.append((f"{up}lessons/{topic.removesuffix('.ipynb')}.html", "The lesson"))
        elif topic in self.exercises:
            links.append((f"{up}exercises/{topic.removesuffix('.ipynb')}.html", "Exercises"))
        links.append((f"{up}notebooks/{name}", "Download the notebook"))
        owner = urlsplit(self.address).path.strip("/")
        if urlsplit(self.address).netloc == "github.com":
            copy = f"{owner}/blob/{PUBLISHED}/notebooks/{name}"
            links.append((f"https://colab.research.google.com/github/{copy}", "Open in Colab"))
            place = quote(f"lab/tree/{name}", safe="")
            links.append((f"https://mybinder.org/v2/gh/{owner}/main?urlpath={place}", "Open in Binder"))
        shown = "".join(f'<a href="{escape(where)}">{text}</a>' for where, text in links)
        return f'<nav class="doors" aria-label="This notebook">{shown}</nav>\n'


def collapsed(cell: dict) -> bool:
    """Whether a code cell's source is no part of the story: set-up, helpers, and the code of the opening figure."""
    metadata = cell["metadata"]
    return (
        metadata.get("jupyter", {}).get("source_hidden", False)
        or "figure" in metadata.get("tags", [])
        or metadata.get("slideshow", {}).get("slide_type") == "skip"
    )


def plain_html(markdown: str) -> str:
    return re.sub(r"\\([\\*_|])", r"\1", escape(markdown))


# --- building ---


def build(folder: Path = SITE, root: Path = ROOT, address: str | None = None) -> None:
    """Write the site to `folder`; ValueError where Sphinx warns, or a link of the site leads nowhere."""
    address = repository(root) if address is None else address
    source = folder.with_name(folder.name + "-source")
    layout = Layout(source, root, address)
    layout.write()
    options = [
        "-b",
        "html",
        "-c",
        str(root / "docs"),
        "-q",
        "-W",
        "--keep-going",
        "-d",
        str(source / ".doctrees"),
    ]
    shutil.rmtree(folder, ignore_errors=True)
    if build_main([*options, str(source), str(folder)]):
        raise ValueError("Sphinx refused a page; see above which one, and why.")
    for name in [*layout.lessons, *layout.exercises.values()]:
        (folder / "notebooks" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / "notebooks" / name)
        if address:
            notebook = nbformat.read(root / name, as_version=4)
            colab_cell.put_into(notebook, address)
            nbformat.write(notebook, folder / "notebooks" / name)
    put_mathjax(folder / "_static" / "mathjax")
    frames = root / FRAMES.relative_to(ROOT)
    if frames.exists():
        shutil.copytree(frames, folder / "_static" / "frames", ignore=shutil.ignore_patterns("*.json"))
    if dead := [*dead_links(folder)]:
        raise DeadLinks("\n".join(dead))


class Page(HTMLParser):
    """What an HTML page links to, loads and can be linked at."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") not in ("canonical", "next", "prev", "search", "index"):
            self.loads.append(found.get("href", ""))
        elif "src" in found:
            self.loads.append(found["src"])


def dead_links(folder: Path) -> Iterator[str]:
    """A sentence for each link, script, style or picture of the pages in a folder that is not there."""
    pages = {
        path: Page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.parts
    }
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto"):
                continue
            if parts.scheme or parts.netloc:
                if link in page.loads:
                    yield f"{name} loads {link}, but the site works without a network"
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{name} links to {link}, which is not there"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name} links to {link}, but that page has no such place"


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SITE, help="where to (default: build/site)")
    folder = parser.parse_args(arguments).folder.resolve()
    try:
        build(folder)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"The site is in {folder}: open {folder / 'index.html'}")
    if not repository():
        print(
            "It has no links to Colab and Binder: CITATION.cff does not say where the course is (repository-code)."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
