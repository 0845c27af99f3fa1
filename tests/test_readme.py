"""The generated pages: they agree with the notebooks and their confirmations, and they hide nothing."""

import base64
import json
import re
import xml.etree.ElementTree as ET

import claims_page
import confirm
import numpy as np
import pytest
import torch
import update_readme
from claims_page import OutOfDate, holm, page, question, rows_of
from confirm import Confirmation, file_of, result_of
from execute_notebooks import ROOT
from update_readme import SECTIONS, claims_summary, class_needs, course_map, kill_score_table, main, needs

from bdlcore.notebook.claims import MIME, claim

EXPECTED_SECONDS = 25
PIXEL = base64.b64encode(b"\x89PNG a picture").decode()


def section(name, text="stale"):
    return f"<!-- BEGIN {name}: note -->\n{text}\n<!-- END {name} -->\n"


# --- of this course ---


def test_pages_agree_with_the_stored_lessons():
    """The kill score, which is measured by running all exercises, is compared in the exercise tests."""
    quick = {**SECTIONS, "docs/teaching.md": {}}
    for name, current in update_readme.current_files(ROOT, quick).items():
        assert (ROOT / name).read_bytes() == current, f"{name} is out of date: run `make readme`."


def test_readme_fits_on_a_page_and_its_pictures_are_small():
    assert len((ROOT / "README.md").read_bytes()) <= 8 * 1024
    pictures = [ROOT / update_readme.FIRST_FIGURE, *(ROOT / claims_page.PICTURES).glob("*.svg")]
    assert len(pictures) > 10
    assert all(picture.stat().st_size <= 200 * 1024 for picture in pictures)


def test_readme_names_the_command_that_continuous_integration_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^make \w+", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands and all(f"\n{command} " in readme for command in commands)


def test_the_ten_lines_of_readme_run():
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line]) <= 12
    found = {}
    exec(code, found)
    assert found["posterior"].rhat.max() < 1.2
    assert torch.isfinite(found["predictive"].mean).all()


def test_every_published_claim_says_its_unit_and_where_its_numbers_are_from():
    rows = rows_of(ROOT)
    text = page(ROOT)
    assert len(rows) > 150
    for row in rows:
        assert row.claim.varies
        assert text.count(f'<a id="{row.claim.name}"></a>') == 1
        assert f"(#{row.claim.name})" in text


# --- of a course of two lessons ---


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two lessons with a claim of each kind, and pages with markers."""
    monkeypatch.setitem(SECTIONS, "docs/teaching.md", {"kill-score": lambda root: "kill score here"})

    def lesson(name, title, seconds, plan=None, **rules):
        path = tmp_path / "lessons" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("JPY_SESSION_NAME", str(path))
        records = []
        for key, rule in rules.items():
            given = {"values": [1.0, 2.0, 3.0, 2.5, 1.5], "varies": "split", "unit": "nats"} | rule
            seeds = range(len(given["values"]))
            text = f"{key} p(y|x) is right."
            records.append(claim(key, text, quantity="gain", seeds=seeds, **given).record())
        outputs = [{"output_type": "display_data", "metadata": {}, "data": {MIME: r}} for r in records]
        outputs.append({"output_type": "display_data", "metadata": {}, "data": {"image/png": PIXEL}})
        cells = [
            {
                "cell_type": "markdown",
                "source": [f"# {title}\n", "\n", "**You need** [it](../1_a/01_one.ipynb)."],
            },
            {"cell_type": "code", "outputs": outputs, "source": f"{name}"},
            {"cell_type": "markdown", "source": ["## Where it is weak\n", "\n", "It is small."]},
            {"cell_type": "markdown", "source": ["## Take-aways\n", "\n", "Little."]},
        ]
        plan = {key: {r["rule"]: r["threshold"]} for key, r in zip(rules, records)} if plan is None else plan
        metadata = {
            "bdl": {"seconds": seconds, "two_cores": seconds, "megabytes": 10 * seconds, "claims": plan}
        }
        path.write_text(json.dumps({"metadata": metadata, "cells": cells}))
        return path

    lesson.root = tmp_path
    lesson.first = lesson(
        "1_a/01_one.ipynb", "Why a|b?", 30, holding={"above": 0, "regime": "3 points", "fixed": "the images"}
    )
    lesson.second = lesson(
        "2_b/02_two.ipynb",
        "How?",
        132,
        unclear={"above": 2},
        wrong={"below": 0},
        stuck={"above": 0, "rhat": 1.5, "rhat_limit": 1.1},
        few={"above": 0, "values": [1.0, 2.0, 3.0]},
    )
    for tree in ("exercises", "solutions"):
        (tmp_path / tree / "1_a").mkdir(parents=True)
        (tmp_path / tree / "1_a" / "01_one.ipynb").write_text("{}")
    markers = section("course-map") + section("claims")
    (tmp_path / "README.md").write_text(f"# Title\n\n{markers}\nLast words.\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "class.md").write_text(section("class-needs"))
    (tmp_path / "docs" / "teaching.md").write_text(section("kill-score"))
    return lesson


def row_in(text, name):
    return next(line for line in text.splitlines() if f'<a id="{name}"></a>' in line)


def test_course_map_says_what_each_lesson_asks_takes_and_needs(course):
    rows = course_map(course.root).splitlines()[2:]
    assert rows[0] == (
        r"| 01 | [Why a\|b?](lessons/1_a/01_one.ipynb) · [exercises](exercises/1_a/01_one.ipynb) | 0.5 | 01 |"
    )
    assert rows[1] == "| 02 | [How?](lessons/2_b/02_two.ipynb) | 2.2 | 01 |"


def test_a_class_needs_what_its_hungriest_lesson_needs(course):
    rows = class_needs(course.root).splitlines()
    assert rows[2] == "| [01_one](../lessons/1_a/01_one.ipynb) | 300 | 30 |"
    seconds = [
        json.loads(path.read_text())["metadata"]["bdl"]["seconds"] for path in (course.first, course.second)
    ]
    assert f"| **all** | | **{sum(seconds)}** |" in rows
    assert rows[-3] == "| 10 | 15 |"  # 10 (1,320 + 130) MB
    lesson = json.loads(course.second.read_text())
    del lesson["metadata"]["bdl"]["megabytes"]
    course.second.write_text(json.dumps(lesson))
    with pytest.raises(OutOfDate, match=r"2_b/02_two\.ipynb has no measured memory"):
        class_needs(course.root)


@pytest.mark.parametrize(
    ("paragraph", "numbers"),
    [
        ("**You need** lessons [01](../a/01_x.ipynb) (averages) and [02](02_y.ipynb).", ["01", "02"]),
        ("**You need** [lesson 01](01_x.ipynb) (HMC). [Lesson 06](06_z.ipynb) helps.", ["01"]),
        ("**You need** Python.", []),
        ("Nothing.", []),
        ("**You need** [lesson 01](01_x.ipynb).\n\nLater [lesson 02](02_y.ipynb) goes on.", ["01"]),
    ],
)
def test_needs_are_the_lessons_linked_as_needed(paragraph, numbers):
    assert needs({"cells": [{"source": [f"# Why?\n\n{paragraph}"]}]}) == numbers


def test_claims_page_shows_unit_values_and_failures(course):
    text = page(course.root)
    assert (
        "5 claims, measured at small scale: 1 holds, 1 not shown, 1 contradicted, 1 not mixed, 1 observation."
        in text
    )
    assert row_in(text, "holding").startswith("| ✔ holds |")
    assert row_in(text, "unclear").startswith("| **? not shown** |")
    assert row_in(text, "wrong").startswith("| **✘ contradicted** |")
    assert row_in(text, "stuck").startswith("| **≈ not mixed** |")
    assert row_in(text, "few").startswith("| **○ observation** |")
    holding = row_in(text, "holding")
    assert r"p(y\|x) is right. *(3 points)*" in holding
    assert "gain: **2.00 ± 0.79 nats** over 5 values, each with its own split; fixed: the images; " in holding
    assert "95 % lower bound 1.25 > 0 | 5 of 5 | not confirmed yet |" in holding
    failures, _, folded = text.split("## By lesson")[0].partition("<details>")
    for name in ("unclear", "wrong", "stuck", "few"):
        assert f"](#{name})" in failures
    assert "](#holding)" in folded
    assert text.index("contradicted: 1**") < text.index("not shown: 1**")
    assert "### 02 [How?](lessons/2_b/02_two.ipynb)" in text and "docs/claims/02_two.svg" in text


def test_a_claim_that_came_later_or_moved_is_marked(course):
    course(
        "2_b/02_two.ipynb",
        "How?",
        130,
        plan={"moved": {"above": 0.5}},
        moved={"above": 0},
        later={"above": 0},
    )
    text = page(course.root)
    assert row_in(text, "moved").startswith("| ✔ holds t |")
    assert row_in(text, "later").startswith("| ✔ holds + |")
    assert row_in(text, "holding").startswith("| ✔ holds |")


def test_a_planned_claim_that_is_gone_stops_the_page(course, capsys):
    course("2_b/02_two.ipynb", "How?", 130, plan={"gone": {"above": 0.5}}, other={"above": 0})
    assert main([], course.root) == 1
    assert (
        "planned claims that it does not measure: gone. A claim that failed stays" in capsys.readouterr().err
    )


def test_many_claims_are_corrected_for_their_number(course):
    weak = {f"weak-{i}": {"above": 0, "values": [0.2, 0.9, -0.2, 0.8, 0.6]} for i in range(9)}
    strong = {"strong": {"above": 0, "values": [1.0, 1.001, 1.002, 1.0, 0.999]}}
    course("2_b/02_two.ipynb", "How?", 130, **weak, **strong)
    course("1_a/01_one.ipynb", "Why?", 30, **{f"none-{i}": {"above": 2.0} for i in range(9)})
    rows = {row.claim.name: row for row in rows_of(course.root)}
    assert rows["weak-0"].verdict == "holds" and 0.02 < rows["weak-0"].claim.p < 0.05
    assert not rows["weak-0"].fdr and not rows["weak-0"].holm
    assert rows["strong"].fdr and rows["strong"].holm
    text = page(course.root)
    assert "Of 10 decided verdicts 1 survive a false-discovery rate of 5 %" in text
    assert row_in(text, "weak-3").startswith("| ✔ holds f |")


def test_holm_is_the_step_down_of_bonferroni():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    rng = np.random.default_rng(0)
    wrong = np.mean([(holm(rng.uniform(size=20)) < 0.05).any() for _ in range(4000)])
    assert wrong < 0.05 + 5 * (0.05 * 0.95 / 4000) ** 0.5


# --- confirmation on the page ---


def confirmed_by(course, path, numbers, values, monkeypatch, **more):
    """Store a confirmation of the claim `holding`, one list of values per set."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    code = confirm.digest(json.loads(path.read_text()))
    stored = Confirmation(path.relative_to(course.root / "lessons").with_suffix("").as_posix(), code, **more)
    for number, found in zip(numbers, values, strict=True):
        monkeypatch.setenv("BDL_SEED", str(number))
        seeds = [1000 * number + i for i in range(5)]
        again = claim(
            "holding", "S.", found, quantity="gain", above=0, seeds=seeds, varies="split", unit="nats"
        )
        stored.sets[number] = result_of([again], 3.0)
    stored.store(file_of(path, course.root))
    monkeypatch.delenv("BDL_SEED")


GOOD, WEAK = [1.0, 2.0, 3.0, 2.5, 1.5], [-1.0, 3.0, 2.0, -0.5, 1.0]


def test_the_published_verdict_rests_on_all_values(course, monkeypatch):
    confirmed_by(course, course.first, range(101, 111), [GOOD] * 9 + [WEAK], monkeypatch)
    holding = row_in(page(course.root), "holding")
    assert holding.startswith("| ✔ holds |")
    assert "over 50 values" in holding and "| holds in 9 of 10 sets |" in holding
    assert "1 of 5 claims are confirmed, 1 of them with the lesson's own verdict." in page(course.root)
    assert "1 of them are confirmed" in claims_summary(course.root)


def test_a_verdict_that_fewer_than_nine_of_ten_sets_come_to_is_lost(course, monkeypatch):
    confirmed_by(course, course.first, range(101, 111), [GOOD] * 8 + [WEAK] * 2, monkeypatch)
    holding = row_in(page(course.root), "holding")
    assert holding.startswith("| **? not shown** |")
    assert "holds in 8 of 10 sets; in the lesson: **holds**" in holding


def test_a_few_sets_are_not_yet_a_confirmation(course, monkeypatch):
    confirmed_by(course, course.first, (101, 102), [WEAK] * 2, monkeypatch)
    holding = row_in(page(course.root), "holding")
    assert holding.startswith("| ✔ holds |") and "over 5 values" in holding
    assert (
        "not confirmed yet: holds in 0 of 2 sets" in holding or "not confirmed yet: not shown in" in holding
    )


def test_a_lesson_that_has_changed_since_is_not_confirmed(course, monkeypatch):
    confirmed_by(course, course.first, range(101, 111), [GOOD] * 10, monkeypatch)
    assert "holds in 10 of 10" in page(course.root)
    course.first.write_text(
        course.first.read_text().replace('"source": "1_a', '"source": "changed = 1  # 1_a')
    )
    assert "not confirmed yet: the lesson has changed since" in row_in(page(course.root), "holding")


# --- what a lesson says of its own confirmation ---


def told(path):
    """Where the lesson says what became of its verdicts, and what it says."""
    cells = json.loads(path.read_text())["cells"]
    [(place, text)] = [(i, "".join(c["source"])) for i, c in enumerate(cells) if c.get("id") == "fresh-seeds"]
    return place, text


def test_a_confirmed_lesson_says_that_its_verdicts_are_the_same(course, monkeypatch):
    confirmed_by(course, course.first, range(101, 111), [GOOD] * 10, monkeypatch)
    assert main([], course.root) == 0
    place, text = told(course.first)
    assert place == 2 and text.startswith("## On other seeds\n\n")
    assert "on 10 more sets" in text and text.endswith("1 of 1 verdicts are the same there.")
    assert not [c for c in json.loads(course.second.read_text())["cells"] if c.get("id") == "fresh-seeds"]
    before = course.first.read_bytes()
    assert main([], course.root) == 0
    assert course.first.read_bytes() == before


def test_a_lesson_says_which_verdicts_fresh_seeds_do_not_come_to(course, monkeypatch):
    confirmed_by(course, course.first, range(101, 111), [GOOD] * 5 + [WEAK] * 5, monkeypatch)
    assert main(["--check"], course.root) == 1
    assert main([], course.root) == 0
    _, text = told(course.first)
    assert "0 of 1 verdicts are the same there, but not this:\n\n- [holding p(y|x) is right.](" in text
    assert "(../../CLAIMS.md#holding): holds above, published as not shown, since only 5 of 10 runs" in text


def test_a_lesson_that_has_changed_says_nothing_of_its_old_confirmation(course, monkeypatch):
    confirmed_by(course, course.first, range(101, 111), [GOOD] * 10, monkeypatch)
    assert main([], course.root) == 0
    told(course.first)
    course.first.write_text(
        course.first.read_text().replace('"source": "1_a', '"source": "changed = 1  # 1_a')
    )
    assert main([], course.root) == 0
    assert "On other seeds" not in course.first.read_text()


def test_an_edited_confirmation_stops_the_page(course, monkeypatch, capsys):
    confirmed_by(course, course.first, range(101, 111), [GOOD] * 10, monkeypatch)
    file = file_of(course.first, course.root)
    file.write_text(file.read_text().replace('"verdict": "holds"', '"verdict": "contradicted"', 1))
    assert main([], course.root) == 1
    assert "Set 101 of 1_a/01_one stores 'holding' as 'contradicted'" in capsys.readouterr().err


# --- the pictures ---


def circles(picture, line=0):
    """(x, fill) of the dots of one line of a picture."""
    dots = [c for c in ET.fromstring(picture).iter() if c.tag.endswith("circle")]
    return [(float(c.get("cx")), c.get("fill")) for c in dots if abs(float(c.get("cy")) - 24 * line - 12) < 1]


def test_dots_lie_on_the_claimed_side_to_the_right_and_hollow_at_a_grids_end(course):
    edges = ["low", "", "", "", ""]
    course("2_b/02_two.ipynb", "How?", 130, small={"below": 2.0, "at_edge": edges}, near={"between": (0, 4)})
    picture = claims_page.pictures(course.root)["docs/claims/02_two.svg"]
    middle = (330 + 840) / 2
    small, near = circles(picture, 0), circles(picture, 1)
    assert [x > middle for x, _ in small] == [True, False, False, False, True]  # below 2: 1.0 and 1.5
    assert [fill == "#fff" for _, fill in small] == [True, False, False, False, False]
    assert all(abs(x - middle) < (840 - 330) / 4 * 1.1 for x, _ in near)


def test_clustered_values_are_one_dot_a_cluster(course):
    values = [1.0, 2.0, 3.0, 2.5, 1.5, 1.0]
    where = {"clusters": ["a", "a", "b", "b", "c", "c"], "varies": ("photo", "network start")}
    course("2_b/02_two.ipynb", "How?", 130, photos={"above": 0, "values": values, **where})
    assert len(circles(claims_page.pictures(course.root)["docs/claims/02_two.svg"])) == 3
    assert "3 photos, each with 2 network starts" in row_in(page(course.root), "photos")


def test_the_overview_has_a_mark_for_each_claim(course):
    picture = ET.fromstring(claims_page.pictures(course.root)["docs/claims/all.svg"])
    marks = [each for each in picture.iter() if each.tag.endswith(("circle", "path"))]
    assert len(marks) == 5 + len(claims_page.VERDICTS)  # and the legend
    assert len({mark.get("d") or mark.get("fill") for mark in marks}) >= 5


# --- writing ---


def test_kill_score_adds_up():
    text = kill_score_table([("1_a/01_one", 5, 11, 16, 16), ("2_b/02_two", 4, 8, 12, 11)])
    assert "| [01_one](../exercises/1_a/01_one.ipynb) | 5 | 11 | 16 of 16 |" in text
    assert "| **all** | **9** | **19** | **27 of 28** |" in text
    assert kill_score_table([]) == "There are no exercises yet."


def test_writing_checking_and_drifting(course, capsys):
    root = course.root
    assert main(["--check"], root) == 1
    assert "make readme" in capsys.readouterr().err
    assert main([], root) == 0
    written = (root / "README.md").read_text()
    assert written.startswith("# Title\n") and written.endswith("\nLast words.\n")
    assert "**5 claims: 1 holds" in written and "the [4 that do not hold first]" in written
    assert "stale" not in written and ": note -->" in written
    assert "kill score here" in (root / "docs" / "teaching.md").read_text()
    assert (root / update_readme.FIRST_FIGURE).read_bytes() == b"\x89PNG a picture"
    assert main(["--check"], root) == 0
    course.first.write_text(course.first.read_text().replace("is right.", "is wrong."))
    assert main(["--check"], root) == 1
    assert (root / "README.md").read_text() == written
    assert "+| ✔ holds |" in (said := capsys.readouterr().err) and "is wrong." in said
    course.second.rename(course.second.with_name("03_two.ipynb"))
    changed = course.second.with_name("03_two.ipynb")
    changed.write_text(changed.read_text().replace("2_b/02_two", "2_b/03_two"))
    assert main([], root) == 0
    assert not (root / "docs" / "claims" / "02_two.svg").exists()


@pytest.mark.parametrize("broken", ["no marker", "twice", "no end", "no file"])
def test_a_page_without_its_markers_is_explained(course, capsys, broken):
    readme = course.root / "README.md"
    markers = section("course-map") + section("claims")
    text = {
        "no marker": markers.replace("BEGIN claims", "BEGIN other"),
        "twice": markers + markers,
        "no end": markers.replace("<!-- END claims -->", ""),
        "no file": None,
    }[broken]
    readme.unlink() if text is None else readme.write_text(text)
    assert main([], course.root) == 1
    assert ("does not exist" if text is None else "exactly one section") in capsys.readouterr().err
    assert text is None or readme.read_text() == text


def test_an_edited_output_stops_the_page(course, capsys):
    course.first.write_text(course.first.read_text().replace('"mean": 2.0', '"mean": 20.0'))
    assert main([], course.root) == 1
    assert "instead of editing its outputs" in capsys.readouterr().err


def test_names_are_unique_in_the_course(course):
    second = course.first.with_name("03_three.ipynb")
    second.write_text(course.first.read_text().replace("1_a/01_one", "1_a/03_three"))
    with pytest.raises(OutOfDate, match=r"share a name: holding\. Rename"):
        page(course.root)


def test_lesson_without_time_or_title_is_named(course):
    course.first.write_text(course.first.read_text().replace('"two_cores"', '"minutes"'))
    with pytest.raises(OutOfDate, match=r"01_one.ipynb has no measured time"):
        course_map(course.root)
    with pytest.raises(OutOfDate, match="must begin with a title"):
        question({"cells": [{"source": ["No title"]}]})


def test_empty_course_says_so(tmp_path):
    assert "No lesson has measured a claim yet." in page(tmp_path)
    assert claims_summary(tmp_path) == "No lesson has measured a claim yet."
