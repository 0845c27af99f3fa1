"""What a committed notebook must be like. Each rule yields a sentence for everything it finds wrong."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import nbformat
from execute_notebooks import ROOT, TREES, WIDGET, state_time
from nbformat import NotebookNode

from bdlcore.notebook.claims import MIME, stored_claims

MACHINE_PATH = re.compile(
    r"(?<![\w./~-])/(?:home|Users|root|tmp|private|var|mnt|opt|srv|work|workspace|content)/\S+"
    r"|\b[A-Z]:\\+Users\\+\S+|\S*site-packages/\S*|\bfile:///\S+"
)
ADDRESS = re.compile(r"<[^<>\n]+ at 0x[0-9a-f]{6,}[^<>\n]*>")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|\b(?:src|href)=[\"']([^\"']+)")
PICTURES = ("image/png", "image/svg+xml")
LONGEST_CELL = 32  # lines: what fits on a screen beside its output
ASKED = re.compile(r"""bdl\.guess\(\s*["']([^"']+)["']""")
ANSWERED = re.compile(r"""bdl\.answer\(\s*["']([^"']+)["']""")


@dataclass(frozen=True)
class Notebook:
    """A notebook with its place in the course."""

    path: Path
    root: Path = ROOT

    @property
    def node(self) -> NotebookNode:
        # plain JSON: nbformat.read would repair some of what the rules look for
        return nbformat.from_dict(json.loads(self.path.read_text(encoding="utf-8")))

    @property
    def tree(self) -> str:
        return self.path.relative_to(self.root).parts[0]

    @property
    def teaches(self) -> bool:
        """Whether it is a lesson proper, unlike 00_start_here, which need not ask, show or measure anything."""
        return not self.path.name.startswith("00_")


def source(cell: NotebookNode) -> str:
    return "".join(cell.source)


def outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Every stored output with the number of its cell."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            yield number, output


def texts(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """Everything a reader could read: sources and outputs, pictures left out."""
    for number, cell in enumerate(notebook.cells):
        yield number, source(cell)
    for number, output in outputs(notebook):
        yield number, "".join(output.get("text", ""))
        for mime, data in output.get("data", {}).items():
            if mime.startswith("text/"):
                yield number, "".join(data)
            elif mime.endswith("json"):
                yield number, json.dumps(data)


def valid(notebook: Notebook) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about ids, which the next rule looks at
            nbformat.validate(notebook.node)
    except nbformat.ValidationError as error:
        yield f"is not a valid notebook: {str(error).splitlines()[0]}"


def ids_unique(notebook: Notebook) -> Iterator[str]:
    for name, times in Counter(cell.get("id") for cell in notebook.node.cells).items():
        if name is None:
            yield f"has {times} cells without an id"
        elif times > 1:
            yield f"uses the cell id {name} {times} times"


def metadata_plain(notebook: Notebook) -> Iterator[str]:
    metadata = notebook.node.metadata
    if metadata.get("kernelspec", {}).get("name") != "python3":
        yield "does not name the kernel python3"
    if "widgets" in metadata or any(WIDGET in output.get("data", {}) for _, output in outputs(notebook.node)):
        yield "stores widgets, which a saved notebook cannot show"
    if any({"execution", "ExecuteTime"} & set(cell.metadata) for cell in notebook.node.cells):
        yield "stores times of execution"


def nothing_of_a_machine(notebook: Notebook) -> Iterator[str]:
    for number, text in texts(notebook.node):
        for found in MACHINE_PATH.findall(text):
            yield f"cell {number} holds a path of one machine: {found}"
        for found in ADDRESS.findall(text):
            yield f"cell {number} shows an object by its address: {found}"


def links_lead_somewhere(notebook: Notebook) -> Iterator[str]:
    for number, cell in enumerate(notebook.node.cells):
        if cell.cell_type == "markdown":
            for target in dead_links(source(cell), notebook.path.parent):
                yield f"cell {number} links to {target}, which does not exist"


def dead_links(markdown: str, folder: Path) -> Iterator[str]:
    """The relative links in a Markdown text that lead nowhere."""
    for in_markdown, in_html in LINK.findall(
        re.sub(r"```.*?```|`[^`\n]*`|\$[^$]*\$", "", markdown, flags=re.DOTALL)
    ):
        target = in_markdown or in_html
        if (
            not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:|#", target)
            and not (folder / unquote(target.partition("#")[0])).exists()
        ):
            yield target


def no_errors(notebook: Notebook) -> Iterator[str]:
    for number, output in outputs(notebook.node):
        if output.output_type == "error":
            yield f"cell {number} stores an error: {output.ename}: {output.evalue}"


def executed_in_order(notebook: Notebook) -> Iterator[str]:
    counts = [cell.execution_count for cell in notebook.node.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        yield f"was not executed top to bottom in a fresh kernel: its cells ran as {counts}"


def quiet(notebook: Notebook) -> Iterator[str]:
    for number, output in outputs(notebook.node):
        if output.output_type == "stream" and output.name == "stderr":
            yield f"cell {number} wrote to stderr: {''.join(output.text)[:200]}"


def untouched(notebook: Notebook) -> Iterator[str]:
    if any(cell.get("execution_count") or cell.get("outputs") for cell in notebook.node.cells):
        yield "holds outputs; a learner starts from an untouched notebook"


def has_title(notebook: Notebook) -> Iterator[str]:
    cells = notebook.node.cells
    if not cells or cells[0].cell_type != "markdown" or not source(cells[0]).startswith("# "):
        yield "does not begin with a title"


def title_asks(notebook: Notebook) -> Iterator[str]:
    title = source(notebook.node.cells[0]).partition("\n")[0].strip() if notebook.node.cells else ""
    if notebook.teaches and not title.endswith("?"):
        yield f"has a title that is not a question: {title!r}"


def time_stated(notebook: Notebook) -> Iterator[str]:
    measured = notebook.node.metadata.get("bdl", {})
    seconds = measured.get("two_cores")
    if not (seconds and measured.get("seconds")):
        yield "does not state its time: execute it with tools/execute_notebooks.py"
    elif state_time(title := source(notebook.node.cells[0]), seconds) != title:
        yield f"states another time in its title cell than the {seconds} s in its metadata"


def shows_a_figure(notebook: Notebook) -> Iterator[str]:
    if not any(mime in output.get("data", {}) for _, output in outputs(notebook.node) for mime in PICTURES):
        yield "stores no figure"


def has_a_live_demo(notebook: Notebook) -> Iterator[str]:
    if notebook.teaches and not any(
        "bdl.demo(" in source(c) for c in notebook.node.cells if c.cell_type == "code"
    ):
        yield "has no live demo"


def states_a_claim(notebook: Notebook) -> Iterator[str]:
    try:
        if not stored_claims(notebook.path) and notebook.teaches:
            yield "states no claim"
    except ValueError as error:
        yield str(error)


def claims_planned(notebook: Notebook) -> Iterator[str]:
    """Its claims were written down, with their thresholds, in `bdl.claims`; and all that were are still there."""
    measured = {
        output.data[MIME]["name"] for _, output in outputs(notebook.node) if MIME in output.get("data", {})
    }
    plan = notebook.node.metadata.get("bdl", {}).get("claims")
    if measured and not plan:
        yield "does not list its claims and their thresholds in its metadata (bdl.claims)"
    for name in (plan or {}).keys() - measured:
        yield f"planned the claim {name}, which it does not measure: a claim that failed stays"


def figures_are_described(notebook: Notebook) -> Iterator[str]:
    """A figure says in words what it shows, to those who cannot see it: `bdl.plots.describe`."""
    for number, output in outputs(notebook.node):
        shown = [mime for mime in PICTURES if mime in output.get("data", {})]
        if shown and not any(output.metadata.get(mime, {}).get("alt") for mime in shown):
            yield f"shows a figure in cell {number} without words: plots.describe(figure, ...) says what it shows"


def cells_fit_on_a_screen(notebook: Notebook) -> Iterator[str]:
    for number, cell in enumerate(notebook.node.cells):
        if cell.cell_type == "code" and (lines := len(source(cell).splitlines())) > LONGEST_CELL:
            yield f"has {lines} lines in cell {number}; split it, {LONGEST_CELL} fit on a screen"


def questions_are_answered(notebook: Notebook) -> Iterator[str]:
    """Every question that a reader may guess at has its answer further down, and the end counts the guesses."""
    open_questions: dict[str, int] = {}
    answered: set[str] = set()
    counted = False
    for number, cell in enumerate(notebook.node.cells):
        if cell.cell_type != "code":
            continue
        events = [(m.start(), m[1], True) for m in ASKED.finditer(source(cell))]
        events += [(m.start(), m[1], False) for m in ANSWERED.finditer(source(cell))]
        for _, name, asks in sorted(events):
            if asks:
                open_questions[name] = number
            elif name in open_questions:
                answered.add(name)
            else:
                yield f"answers {name!r} in cell {number} before it is asked"
        counted = counted or "bdl.tally()" in source(cell)
    for name in open_questions.keys() - answered:
        yield f"asks {name!r} in cell {open_questions[name]} and never answers it"
    if notebook.teaches and not open_questions:
        yield "lets nobody predict a result: ask with bdl.guess before one that surprises"
    if open_questions and not counted:
        yield "does not count the guesses at its end: bdl.tally()"


EVERYWHERE = (
    valid,
    ids_unique,
    metadata_plain,
    nothing_of_a_machine,
    links_lead_somewhere,
    no_errors,
    has_title,
)
RULES: dict[str, tuple[Callable[[Notebook], Iterator[str]], ...]] = {
    "lessons": (
        *EVERYWHERE, executed_in_order, quiet, title_asks, time_stated, shows_a_figure, has_a_live_demo, states_a_claim,
        claims_planned, figures_are_described, cells_fit_on_a_screen, questions_are_answered,
    ),
    "solutions": (*EVERYWHERE, executed_in_order, quiet),
    "exercises": (*EVERYWHERE, untouched),
}  # fmt: skip


def problems(path: Path, root: Path = ROOT) -> list[str]:
    """Everything wrong with one notebook."""
    notebook = Notebook(path, root)
    return [problem for rule in RULES[notebook.tree] for problem in rule(notebook)]


def misplaced(root: Path = ROOT) -> list[str]:
    """Notebooks whose path does not name a topic, or names one that has no lesson."""
    found = []
    for tree in TREES:
        for path in sorted((root / tree).rglob("*.ipynb")):
            topic = path.relative_to(root / tree)
            if ".ipynb_checkpoints" in topic.parts:
                continue
            if not re.fullmatch(r"(\d_[a-z0-9_]+/)?\d\d_[a-z0-9_]+\.ipynb", topic.as_posix()):
                found.append(
                    f"{tree}/{topic.as_posix()} should be named like 2_priors/04_priors_on_images.ipynb"
                )
            elif not (root / "lessons" / topic).exists():
                found.append(f"{tree}/{topic.as_posix()} has no lesson of the same path")
    return found
