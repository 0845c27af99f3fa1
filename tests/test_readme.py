"""README's generated sections: they agree with the notebooks, and they hide nothing."""

import json

import pytest
import update_readme
from execute_notebooks import ROOT
from update_readme import OutOfDate, claims_table, course_map, kill_score_table, main, question

from bdlcore.notebook.claims import MIME, claim

MARKERS = "".join(
    f"<!-- BEGIN {name}: note -->\nstale\n<!-- END {name} -->\n" for name in update_readme.SECTIONS
)


def test_readme_agrees_with_the_stored_lessons():
    """The kill score, which is measured by running all exercises, is compared in the exercise tests."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    stored = {name: write for name, write in update_readme.SECTIONS.items() if name != "kill-score"}
    assert update_readme.updated(readme, ROOT, stored) == readme, (
        "README.md is out of date: run `make readme`."
    )


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two lessons with a claim of each verdict, and a README with markers."""
    monkeypatch.setitem(update_readme.SECTIONS, "kill-score", lambda root: "kill score here")

    def lesson(name, title, seconds, **rules):
        path = tmp_path / "lessons" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("JPY_SESSION_NAME", str(path))
        records = [
            claim(
                key,
                f"{key} p(y|x) is right.",
                [1.0, 2.0, 3.0],
                quantity="gain",
                seeds=range(3),
                unit="nats",
                **rule,
            )
            for key, rule in rules.items()
        ]
        outputs = [
            {"output_type": "display_data", "metadata": {}, "data": {MIME: c.record()}} for c in records
        ]
        cells = [
            {"cell_type": "markdown", "source": [f"# {title}\n", "\n", "Text."]},
            {"cell_type": "code", "outputs": outputs, "source": ""},
        ]
        path.write_text(json.dumps({"metadata": {"bdl": {"seconds": seconds}}, "cells": cells}))
        return path

    first = lesson("1_a/01_one.ipynb", "Why a|b?", 30, holding={"above": 0, "regime": "3 points"})
    lesson("2_b/02_two.ipynb", "How?", 130, unclear={"above": 2}, wrong={"below": 0})
    for tree in ("exercises", "solutions"):
        (tmp_path / tree / "1_a").mkdir(parents=True)
        (tmp_path / tree / "1_a" / "01_one.ipynb").write_text("{}")
    (tmp_path / "README.md").write_text(f"# Title\n\n{MARKERS}\nLast words.\n")
    return tmp_path, first


def test_course_map_links_every_tree(course):
    rows = course_map(course[0]).splitlines()[2:]
    assert rows[0] == (
        r"| 01 | [Why a\|b?](lessons/1_a/01_one.ipynb) | about 30 seconds | "
        "[exercises](exercises/1_a/01_one.ipynb) · [solutions](solutions/1_a/01_one.ipynb) |"
    )
    assert rows[1] == "| 02 | [How?](lessons/2_b/02_two.ipynb) | about 2 minutes |  |"


def test_claims_table_shows_failures_as_plainly(course):
    text = claims_table(course[0])
    assert "3 claims measured at small scale: holds **1**, not shown **1**, contradicted **1**." in text
    holding, unclear, wrong = (
        next(line for line in text.splitlines() if f"| {n} p" in line)
        for n in ("holding", "unclear", "wrong")
    )
    assert holding.startswith("| ✔ holds |")
    assert unclear.startswith("| **? not shown** |")
    assert wrong.startswith("| **✘ contradicted** |")
    assert r"p(y\|x) is right. *(3 points)*" in holding
    assert "gain: **2.0 ± 1.0 nats**; 95 % lower bound 0.314 > 0" in holding
    assert "| 3 of 3 | [01](lessons/1_a/01_one.ipynb) |" in holding
    assert "| 0 of 3 | [02](lessons/2_b/02_two.ipynb) |" in wrong
    openly, folded = text.split("**All claims, by lesson**")
    assert "| unclear p" in openly and "| wrong p" in openly and "| holding p" not in openly
    assert "<summary>01 Why a|b? — 1 holds</summary>" in folded
    assert "<summary>02 How? — 1 not shown, 1 contradicted</summary>" in folded
    assert folded.count("| claim |") == 2 and folded.count("</details>") == 2


def test_kill_score_adds_up():
    text = kill_score_table([("1_a/01_one", 5, 11, 16, 16), ("2_b/02_two", 4, 8, 12, 11)])
    assert "| [01_one](exercises/1_a/01_one.ipynb) | 5 | 11 | 16 of 16 |" in text
    assert "| **all** | **9** | **19** | **27 of 28** |" in text
    assert kill_score_table([]) == "There are no exercises yet."


def test_writing_checking_and_drifting(course, capsys):
    root, first = course
    assert main(["--check"], root) == 1
    assert "make readme" in capsys.readouterr().err
    assert main([], root) == 0
    written = (root / "README.md").read_text()
    assert written.startswith("# Title\n") and written.endswith("\nLast words.\n")
    assert "kill score here" in written and "stale" not in written and ": note -->" in written
    assert main(["--check"], root) == 0
    first.write_text(first.read_text().replace("is right.", "is wrong."))
    assert main(["--check"], root) == 1
    assert (root / "README.md").read_text() == written
    assert "+| ✔ holds | holding p(y\\|x) is wrong." in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["no marker", "twice", "no end", "no file"])
def test_readme_without_its_markers_is_explained(course, capsys, broken):
    root, _ = course
    readme = root / "README.md"
    text = {
        "no marker": MARKERS.replace("BEGIN claims", "BEGIN other"),
        "twice": MARKERS + MARKERS,
        "no end": MARKERS.replace("<!-- END claims -->", ""),
        "no file": None,
    }[broken]
    readme.unlink() if text is None else readme.write_text(text)
    assert main([], root) == 1
    assert ("does not exist" if text is None else "exactly one section") in capsys.readouterr().err
    assert text is None or readme.read_text() == text


def test_an_edited_output_stops_the_table(course, capsys):
    root, first = course
    first.write_text(first.read_text().replace('"mean": 2.0', '"mean": 20.0'))
    assert main([], root) == 1
    assert "instead of editing its outputs" in capsys.readouterr().err


def test_names_are_unique_in_the_course(course):
    root, first = course
    second = first.with_name("03_three.ipynb")
    second.write_text(first.read_text().replace("1_a/01_one", "1_a/03_three"))
    with pytest.raises(OutOfDate, match=r"share a name: holding\. Rename"):
        claims_table(root)


def test_lesson_without_time_or_title_is_named(course):
    root, first = course
    first.write_text(first.read_text().replace('"seconds"', '"minutes"'))
    with pytest.raises(OutOfDate, match=r"01_one.ipynb has no measured time"):
        course_map(root)
    with pytest.raises(OutOfDate, match="must begin with a title"):
        question({"cells": [{"source": ["No title"]}]})


def test_empty_course_says_so(tmp_path):
    assert claims_table(tmp_path) == "No lesson has measured a claim yet."
