"""Confirmation on fresh seeds: what is stored, what is run again, and what it says of a verdict."""

import json
import subprocess
from pathlib import Path

import confirm
import nbformat
import pytest
from confirm import Confirmation, confirmed, digest, file_of, leaning, result_of, table
from execute_notebooks import main as execute
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bdlcore.notebook import claims
from bdlcore.notebook.claims import claim

EXPECTED_SECONDS = 30
PACKAGE = Path(claims.__file__).parents[1]
HOLDS, UNCLEAR, OPPOSITE = (
    [1.0, 1.1, 1.2, 1.0, 0.9],
    [-2.0, 0.5, 1.0, 2.0, -1.0],
    [-1.0, -1.1, -1.2, -1.0, -0.9],
)


@pytest.fixture
def made(monkeypatch):
    """Makes the claim of one run."""

    def made(name, values, number=0, **more):
        monkeypatch.setenv("JPY_SESSION_NAME", "lessons/1/01_a.ipynb")
        monkeypatch.setenv("BDL_SEED", str(number))
        given = {
            "seeds": [1000 * number + i for i in range(len(values))],
            "varies": "data set",
            "above": 0,
        } | more
        return claim(name, "A statement.", values, quantity="gain", **given)

    return made


def stored(made, name, runs, **more):
    """The confirmation of one claim, a list of values per set."""
    sets = {n: result_of([made(name, values, n, **more)], 2.0) for n, values in enumerate(runs, 101)}
    return Confirmation("1/01_a", "digest", {name: {"above": 0}}, [], sets)


# --- what is said of a verdict ---


def test_the_verdict_over_all_values_and_how_many_sets_agree(made):
    found = confirmed(made("solid", HOLDS), stored(made, "solid", [HOLDS] * 9 + [UNCLEAR]))
    assert (found.verdict, found.same, found.sets) == ("holds", 9, 10)
    assert found.overall.independent == 50
    assert found.overall.seeds[:2] == (101_000, 101_001)


def test_a_verdict_that_holds_in_fewer_than_nine_of_ten_is_lost(made):
    found = confirmed(made("lucky", HOLDS), stored(made, "lucky", [HOLDS] * 8 + [UNCLEAR] * 2))
    assert (found.overall.verdict, found.same, found.verdict) == ("holds", 8, "not shown")
    found = confirmed(made("wrong", OPPOSITE), stored(made, "wrong", [OPPOSITE] * 5 + [UNCLEAR] * 5))
    assert (found.overall.verdict, found.verdict) == ("contradicted", "not shown")


def test_more_values_may_decide_what_one_run_could_not(made):
    weak = [0.2, 0.9, -0.4, 0.9, -0.2]
    run = made("weak", weak, 101)
    assert run.verdict == "not shown"
    found = confirmed(run, stored(made, "weak", [weak] * 10))
    assert (found.overall.verdict, found.same, found.verdict) == ("holds", 0, "not shown")


def test_a_failed_set_is_one_in_which_the_verdict_was_not_the_same(made):
    confirmation = stored(made, "solid", [HOLDS] * 8)
    confirmation.sets |= {n: {"failed": "RuntimeError: diverged"} for n in (109, 110)}
    found = confirmed(made("solid", HOLDS), confirmation)
    assert (found.same, found.sets, found.verdict) == (8, 10, "not shown")


def test_runs_that_are_observations_agree_by_the_side_of_their_mean(made):
    few = [1.0, 1.1, 0.9]
    found = confirmed(made("few", few), stored(made, "few", [few] * 10))
    assert made("few", few).verdict == "observation"
    assert (found.verdict, found.same, found.overall.independent) == ("holds", 10, 30)
    assert leaning(made("few", [-1.0, -2.0])) == "contradicted"
    assert leaning(made("few", [1.0, 2.0], above=None, between=(0, 3))) == "holds"
    assert leaning(made("few", [1.0, 2.0], above=None, below=1.2)) == "contradicted"


def test_edges_clusters_and_mixing_are_kept(made):
    more = {"clusters": ["a", "a", "b", "b", "c"], "varies": ("photo", "noise")}
    found = confirmed(made("photos", HOLDS, **more), stored(made, "photos", [HOLDS] * 10, **more))
    assert found.overall.independent == 3 and found.verdict == "observation"
    mixed = {"rhat": 1.3, "rhat_limit": 1.1, "at_edge": ["low", "", "", "", ""]}
    found = confirmed(made("stuck", HOLDS, **mixed), stored(made, "stuck", [HOLDS] * 10, **mixed))
    assert (found.verdict, found.overall.lower) == ("not mixed", None)


def test_a_claim_that_no_set_measured_is_not_confirmed(made):
    assert confirmed(made("new", HOLDS), stored(made, "old", [HOLDS] * 10)) is None


def test_a_changed_value_is_noticed(made):
    confirmation = stored(made, "solid", [HOLDS] * 3)
    confirmation.sets[102]["claims"]["solid"]["values"] = OPPOSITE
    with pytest.raises(
        ValueError, match="Set 102 .* stores 'solid' as 'holds', but its values give 'contradicted'"
    ):
        confirmed(made("solid", HOLDS), confirmation)


def test_table_puts_the_least_stable_first_and_lines_up(made):
    solid, lucky = made("solid", HOLDS), made("lucky", HOLDS)
    rows = [
        (solid, confirmed(solid, stored(made, "solid", [HOLDS] * 3))),
        (lucky, confirmed(lucky, stored(made, "lucky", [HOLDS, UNCLEAR, UNCLEAR]))),
        (made("new", HOLDS), None),
    ]
    lines = table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["lucky", "solid"]
    assert "3 of 3" in lines[3]


# --- what is stored, and what must be run ---


def test_a_confirmation_comes_back_from_its_file(made, tmp_path):
    confirmation = stored(made, "solid", [HOLDS] * 2)
    confirmation.spent = [1, 2]
    confirmation.store(tmp_path / "confirmation" / "1" / "01_a.json")
    again = Confirmation.load(tmp_path / "confirmation" / "1" / "01_a.json")
    assert again == confirmation
    kept = again.sets[101]
    assert kept["claims"]["solid"]["values"] == HOLDS
    assert "torch" in kept["versions"] and kept["processor"] and kept["seconds"] == 2
    assert Confirmation.load(tmp_path / "none.json") is None
    assert again.plan == {"solid": {"above": 0}}
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="is no confirmation"):
        Confirmation.load(tmp_path / "bad.json")


def test_only_missing_sets_are_run_and_changed_code_spends_the_old_ones(made):
    confirmation = stored(made, "solid", [HOLDS] * 3)
    assert confirmation.missing(5) == [104, 105]
    assert confirmation.missing(3) == []
    written = {"cells": [], "metadata": {"bdl": {"claims": {"solid": {"above": 1}}}}}
    confirmation.digest = digest(written)
    assert confirmation.of(written) is confirmation
    other = {**written, "cells": [{"cell_type": "code", "source": ["x = 1"]}]}
    fresh = confirmation.of(other)
    assert (fresh.sets, fresh.spent, fresh.missing(2)) == ({}, [101, 102, 103], [104, 105])
    assert fresh.digest == digest(other) and fresh.plan == {"solid": {"above": 1}}


def test_digest_sees_code_and_nothing_else():
    def notebook(code="x = 1", text="# Why?", outputs=()):
        return {"cells": [{"cell_type": "markdown", "source": [text]}, {"cell_type": "code", "source": [code], "outputs": outputs}]}  # fmt: skip # noqa: E501

    assert digest(notebook()) == digest(notebook(text="# How?", outputs=["1"]))
    assert digest(notebook()) != digest(notebook("x = 2"))


# --- end to end ---


SOURCE = f"""
# the package without what its __init__ loads, which takes seconds
import os, sys, types
sys.modules['bdlcore'] = bare = types.ModuleType('bdlcore')
bare.__path__ = [{str(PACKAGE)!r}]
from bdlcore.notebook.claims import claim
k = int(os.environ['BDL_SEED'])
if k == 102:
    raise RuntimeError('set 102 diverges')
if k == 103:
    print('set 103 is off its mode', file=sys.stderr)
gains = [1 + 0.01 * k + 0.1 * i for i in range(5)]
claim('gain', 'It gains.', gains, quantity='gain', above=0, seeds=range(1000 * k, 1000 * k + 5), varies='split')
"""


@pytest.fixture
def course(tmp_path):
    path = tmp_path / "lessons" / "1_a" / "01_one.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Why?"), new_code_cell(SOURCE)]), path)
    assert execute([str(path)]) == 0
    return tmp_path, path


def test_sets_are_run_kept_and_not_run_again(course, capsys):
    root, path = course
    lesson = path.read_text()
    capsys.readouterr()
    assert confirm.main([str(path), "--sets", "3", "--jobs", "2"], root) == 1
    said = capsys.readouterr().out
    assert "0 sets are there, 3 to run" in said
    assert "1_a/01_one, BDL_SEED=102: FAILED: RuntimeError: set 102 diverges" in said
    assert "cell 1 WARNED: set 103 is off its mode" in said and said.count("WARNED") == 1
    assert "2 of 3" in said.splitlines()[-1]
    assert path.read_text() == lesson
    file = file_of(path, root)
    assert file == root / "confirmation" / "1_a" / "01_one.json"
    kept = Confirmation.load(file)
    assert sorted(kept.sets) == [101, 102, 103] and kept.spent == []
    assert kept.sets[101]["claims"]["gain"]["values"] == pytest.approx([2.01, 2.11, 2.21, 2.31, 2.41])
    assert kept.sets[101]["claims"]["gain"]["seeds"] == list(range(101_000, 101_005))
    assert kept.sets[103]["warned"] == {"1": "set 103 is off its mode"} and "warned" not in kept.sets[101]
    assert kept.digest == digest(json.loads(lesson))
    before = file.read_bytes()
    assert confirm.main([str(path), "--sets", "3"], root) == 0
    assert "3 sets are there, 0 to run" in capsys.readouterr().out
    assert file.read_bytes() == before
    path.write_text(lesson.replace("It gains.", "It gains more."))
    assert confirm.main([str(path), "--sets", "1"], root) == 0
    changed = Confirmation.load(file)
    assert sorted(changed.sets) == [104] and changed.spent == [101, 102, 103]


def test_code_that_computes_the_same_keeps_its_sets(course, capsys):
    root, path = course
    file = file_of(path, root)
    lesson = path.read_text()
    assert confirm.main([str(path), "--sets", "1"], root) == 0
    kept = Confirmation.load(file)

    def said(text, **plan):
        notebook = json.loads(text)
        notebook["metadata"].setdefault("bdl", {})["claims"] = plan
        path.write_text(json.dumps(notebook))
        capsys.readouterr()
        return confirm.main([str(path), "--same"], root), capsys.readouterr().out

    assert said(lesson) == (0, "1_a/01_one: nothing to compare: the code has not changed\n")
    other = lesson.replace("+ 0.1 * i", "+ 0.2 * i")
    assert said(other) == (
        1,
        "1_a/01_one: FAILED: set 101 gives other values of gain; its sets are spent\n",
    )
    again = lesson.replace("+ 0.1 * i for", "+ i * 0.1 for")
    assert said(again, gain={"above": 0.0})[1].startswith(
        "1_a/01_one: FAILED: the plan of its claims has changed"
    )
    assert Confirmation.load(file) == kept
    code, words = said(again)
    assert code == 0 and "set 101 gives the stored values to the last digit: 1 sets are kept" in words
    now = Confirmation.load(file)
    assert now.sets == kept.sets and now.spent == [] and now.digest == digest(json.loads(path.read_text()))
    now.sets[101]["processor"] = "another"
    now.store(file)
    assert "no set comes from this processor" in said(lesson)[1]
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a lesson"]):
        subprocess.run([*git, *command], check=True)
    assert "what is committed is not the code" in said(lesson)[1]
    path.write_text(json.dumps(json.loads(again)))
    subprocess.run([*git, "commit", "-qam", "the code of the set"], check=True)
    assert "gives other values of gain" in said(other)[1]
    code, words = said(lesson)
    assert code == 0 and "set 101 gives the values of the code that is committed to the last digit" in words
    Confirmation("1_a/01_one", "of other code").store(file)
    assert said(lesson) == (0, "1_a/01_one: nothing to compare: no sets are stored\n")


def test_jobs_of_an_array_share_the_sets_and_write_no_file_of_another(course, capsys):
    root, path = course
    file = file_of(path, root)
    beside = confirm.sets_beside(file)
    for part, sets in (("2/2", ["102"]), ("1/2", ["101", "102", "103"])):
        assert confirm.main([str(path), "--sets", "3", "--part", part], root) == (part == "2/2")
        assert sorted(f.stem for f in beside.iterdir()) == sets and not file.exists()
    capsys.readouterr()
    assert confirm.main([str(path), "--sets", "3", "--part", "1/2"], root) == 0
    assert "0 to run" in capsys.readouterr().out
    (beside / "104.json").write_text(json.dumps({"digest": "of other code", "set": {}}))
    assert confirm.main([str(path), "--sets", "3"], root) == 0
    said = capsys.readouterr().out
    assert "4 sets of jobs are taken in" in said and "3 sets are there, 0 to run" in said and "2 of 3" in said
    kept = Confirmation.load(file)
    assert sorted(kept.sets) == [101, 102, 103] and kept.spent == [104] and not beside.exists()
    assert kept.sets[103]["claims"]["gain"]["values"] == pytest.approx([2.03, 2.13, 2.23, 2.33, 2.43])
    beside.mkdir()
    (beside / "105.json").write_text('{"digest"')
    with pytest.raises(ValueError, match="105.json is no set.*Remove it"):
        confirm.main([str(path), "--sets", "3"], root)


@pytest.mark.parametrize(
    "arguments",
    [["--sets", "0"], ["nowhere"], ["--jobs", "0"], *(["--part", p] for p in ("3", "0/2", "3/2", "a/b"))],
)
def test_bad_arguments_are_explained(arguments, capsys):
    with pytest.raises(SystemExit):
        confirm.main(arguments)
    assert "must be" in (said := capsys.readouterr().err) or "no such" in said
