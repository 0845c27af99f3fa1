"""The committed notebooks keep the rules, and each rule is shown to notice what it is for."""

import copy
import json

import pytest
from execute_notebooks import ROOT, WIDGET, notebooks, state_time
from notebook_rules import RULES, dead_links, misplaced, problems

from bdlcore.notebook.claims import MIME, claim

ALL = notebooks()


@pytest.mark.parametrize("path", ALL, ids=[path.relative_to(ROOT).as_posix() for path in ALL])
def test_notebook_keeps_the_rules(path):
    assert problems(path) == []


def test_notebooks_are_where_they_belong():
    assert misplaced() == []


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda page: page.name
)
def test_links_of_pages_lead_somewhere(page):
    assert list(dead_links(page.read_text(encoding="utf-8"), page.parent)) == []


# --- each rule, on a notebook that breaks only it ---


def markdown(id, text):
    return {"cell_type": "markdown", "id": id, "metadata": {}, "source": [text]}


def code(id, count, text, *outputs):
    return {
        "cell_type": "code",
        "id": id,
        "metadata": {},
        "execution_count": count,
        "source": [text],
        "outputs": list(outputs),
    }


def shown(alt="A line that rises with x.", **data):
    metadata = {"image/png": {"alt": alt}} if alt and "image/png" in data else {}
    return {"output_type": "display_data", "metadata": metadata, "data": data}


def stream(name, text):
    return {"output_type": "stream", "name": name, "text": [text]}


ASKING = 'bdl.demo(draw)\nbdl.guess("size", "How large?")\nbdl.answer("size", 3)\nbdl.tally()'


@pytest.fixture
def good(tmp_path, monkeypatch):
    """A lesson that keeps every rule, and a function that says what is wrong with a changed copy of it."""
    topic = "1_unit/01_one.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", f"lessons/{topic}")
    gains = [1.0, 1.1, 1.2, 1.0, 0.9]
    record = claim(
        "gain", "It gains.", gains, quantity="gain", above=0, seeds=range(5), varies="data set"
    ).record()
    lesson = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
            "bdl": {"seconds": 60, "two_cores": 40, "claims": {"gain": {"above": 0.0}}},
        },
        "cells": [
            markdown(
                "a",
                state_time(
                    "# Why does it?\n\nSee [this](01_one.ipynb#x) and [that](https://example.org).", 40
                ),
            ),
            code("b", 1, ASKING, shown(**{"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})),
            code(
                "c",
                2,
                "claim()",
                shown(**{MIME: record, "text/plain": "holds"}),
                stream("stdout", "1/2 and/or 3"),
            ),
        ],
    }

    def check(change=lambda notebook: None, tree="lessons", name=topic):
        notebook = copy.deepcopy(lesson)
        change(notebook)
        path = tmp_path / tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook))
        return problems(path, tmp_path)

    return check


def test_good_notebooks_pass(good):
    assert good() == []
    assert good(tree="solutions") == []
    assert good(emptied, tree="exercises") == []


def emptied(notebook):
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)


def change_cell(number, **fields):
    return lambda notebook: notebook["cells"][number].update(fields)


def add_output(output):
    return lambda notebook: notebook["cells"][1]["outputs"].append(output)


def add_text(text):
    return lambda notebook: notebook["cells"][1].update(source=[f"{ASKING}\n{text}"])


def without_claim(notebook):
    del notebook["cells"][2]["outputs"][0]
    notebook["metadata"]["bdl"].pop("claims", None)


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
BROKEN = {
    "extra field": (lambda nb: nb.update(extra=1), "is not a valid notebook"),
    "same id": (change_cell(2, id="b"), "uses the cell id b 2 times"),
    "no id": (lambda nb: nb["cells"][2].pop("id"), "has 1 cells without an id"),
    "kernel": (
        lambda nb: nb["metadata"]["kernelspec"].update(name="mine"),
        "does not name the kernel python3",
    ),
    "widget state": (lambda nb: nb["metadata"].update(widgets={}), "stores widgets"),
    "widget view": (add_output(shown(**{WIDGET: {"model_id": "1"}})), "stores widgets"),
    "timestamps": (change_cell(1, metadata={"execution": {"started": "now"}}), "stores times of execution"),
    "path in source": (
        add_text("open('/home/ada/data.csv')"),
        "cell 1 holds a path of one machine: /home/ada/data.csv",
    ),
    "path in text": (
        add_output(stream("stdout", "saved to /Users/ada/x.png")),
        "path of one machine: /Users/ada/x.png",
    ),
    "path in a table": (
        add_output(shown(**{"text/html": "<td>/root/x</td>"})),
        "path of one machine: /root/x",
    ),
    "path in JSON": (
        add_output(shown(**{"application/json": {"at": "C:\\Users\\ada"}})),
        "path of one machine: C:",
    ),
    "installed file": (
        add_output(stream("stdout", "lib/site-packages/torch/x.py:3")),
        "path of one machine: lib/site",
    ),
    "address": (
        add_output(shown(**{"text/plain": "<Line2D at 0x7f00aa11bb22>"})),
        "shows an object by its address",
    ),
    "dead link": (
        lambda nb: nb["cells"].append(markdown("d", "[next](02_two.ipynb)")),
        "links to 02_two.ipynb, which",
    ),
    "dead picture": (
        lambda nb: nb["cells"].append(markdown("d", '<img src="a.png">')),
        "cell 3 links to a.png, which",
    ),
    "error": (add_output(ERROR), "cell 1 stores an error: ValueError: no"),
    "skipped cell": (change_cell(1, execution_count=None), "its cells ran as [None, 2]"),
    "ran twice": (change_cell(2, execution_count=3), "its cells ran as [1, 3]"),
    "stderr": (add_output(stream("stderr", "Warning: careful")), "cell 1 wrote to stderr: Warning: careful"),
    "no title": (change_cell(0, source=state_time("Why does it?", 40)), "does not begin with a title"),
    "statement": (
        change_cell(0, source=state_time("# It does", 40)),
        "has a title that is not a question: '# It does'",
    ),
    "no time": (lambda nb: nb["metadata"]["bdl"].pop("two_cores"), "does not state its time"),
    "other time": (
        lambda nb: nb["metadata"]["bdl"].update(two_cores=400),
        "states another time in its title cell",
    ),
    "no figure": (lambda nb: nb["cells"][1]["outputs"].clear(), "stores no figure"),
    "no demo": (change_cell(1, source=[ASKING.replace("bdl.demo", "")]), "has no live demo"),
    "no words": (
        lambda nb: nb["cells"][1]["outputs"][0].update(metadata={}),
        "shows a figure in cell 1 without words",
    ),
    "long cell": (add_text("pass\n" * 40), "has 44 lines in cell 1"),
    "no question": (change_cell(1, source=["bdl.demo(draw)"]), "lets nobody predict a result"),
    "no answer": (
        change_cell(1, source=[ASKING.replace("answer", "show")]),
        "asks 'size' in cell 1 and never answers it",
    ),
    "answer first": (
        change_cell(1, source=['bdl.answer("size", 3)\n' + ASKING]),
        "answers 'size' in cell 1 before it is asked",
    ),
    "no tally": (change_cell(1, source=[ASKING.replace("bdl.tally()", "")]), "does not count the guesses"),
    "no claim": (without_claim, "states no claim"),
    "no unit": (
        lambda nb: nb["cells"][2]["outputs"][0]["data"][MIME].pop("varies"),
        "does not say what varies from value to value",
    ),
    "no plan": (lambda nb: nb["metadata"]["bdl"].pop("claims"), "does not list its claims"),
    "lost claim": (
        lambda nb: nb["metadata"]["bdl"]["claims"].update(loss={"below": 0.0}),
        "planned the claim loss, which it does not measure",
    ),
    "other verdict": (
        lambda nb: nb["cells"][2]["outputs"][0]["data"][MIME].update(verdict="contradicted"),
        "instead of editing its outputs",
    ),
    "other lesson": (
        lambda nb: nb["cells"][2]["outputs"][0]["data"][MIME].update(lesson="1_unit/09_nine"),
        "holds the claim 'gain' of the lesson '1_unit/09_nine'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_rule_notices(good, name):
    change, message = BROKEN[name]
    found = good(change)
    assert any(message in problem for problem in found), found
    assert len({problem.partition(":")[0] for problem in found}) <= 2, (
        f"more is broken than was meant: {found}"
    )


def test_every_rule_is_broken_somewhere(good, monkeypatch):
    """Take one rule away: some broken notebook must then pass, or the rule is not tested."""
    for rule in RULES["lessons"]:
        rest = tuple(other for other in RULES["lessons"] if other is not rule)
        monkeypatch.setitem(RULES, "lessons", rest)
        assert any(good(change) == [] for change, _ in BROKEN.values()), rule.__name__
        monkeypatch.undo()


def test_exercises_may_hold_no_outputs(good):
    assert good(tree="exercises") == ["holds outputs; a learner starts from an untouched notebook"]


def test_start_page_needs_neither_question_nor_demo_nor_claim(good):
    def start(notebook):
        notebook["cells"][0]["source"] = [state_time("# Start here", 40)]
        notebook["cells"][1]["source"] = ["draw()"]
        without_claim(notebook)

    assert good(start, name="0_start/00_start_here.ipynb") == []


@pytest.mark.parametrize(
    "harmless",
    [
        "https://example.org/home/page and www.example.org/root/x",
        "p(y|x)/p(x) and/or 1/2, ~/data, ./tmp/x, lessons/home/x",
        "the root / home directory, </td></tr>, $a/tmp/b$",
    ],
)
def test_harmless_slashes_are_no_machine_paths(good, harmless):
    assert good(add_output(stream("stdout", harmless))) == []


def test_links_in_code_and_formulas_are_no_links(tmp_path):
    text = "`[a](b)` and $f[x](y)$\n```\n[c](d)\n```\n[here](#part), [mail](mailto:a@b.c), [x](y%20z.md)"
    (tmp_path / "y z.md").touch()
    assert list(dead_links(text, tmp_path)) == []


def test_misplaced_notebooks_are_named(tmp_path):
    for name in ("lessons/1_unit/01_one.ipynb", "solutions/1_unit/02_two.ipynb", "lessons/Untitled.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    untitled, orphan = misplaced(tmp_path)
    assert untitled.startswith("lessons/Untitled.ipynb should be named like")
    assert orphan == "solutions/1_unit/02_two.ipynb has no lesson of the same path"
