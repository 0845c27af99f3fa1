"""What a learner has solved is kept in one file, shown on a page, and never in the way of a check."""

import json
import subprocess

import learner_copy
import pytest
from execute_notebooks import ROOT, execute
from nbformat.v4 import new_code_cell, new_notebook, writes

from bdlcore.exercises import _machine, _solved, check, exercise, score_card

COUNT = "exercises/0_start/00_count.ipynb"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A course of two exercises, of which a learner's home keeps the record."""
    monkeypatch.setattr(_machine, "_registry", {})
    monkeypatch.setattr(_machine, "registered", lambda: _machine._registry)
    monkeypatch.setattr(_machine, "session", _machine._Session())
    monkeypatch.setattr(_solved.record, "__defaults__", (tmp_path / "course",))
    monkeypatch.setattr(_solved.summary, "__defaults__", (tmp_path / "course",))
    monkeypatch.setenv("BDL_SOLVED", str(tmp_path / "home" / "solved.json"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    notebook = tmp_path / "course" / COUNT
    notebook.parent.mkdir(parents=True)
    notebook.write_text("")
    for id, wanted in (("how-many", 2), ("how-much", 3)):

        @exercise(id, trials=1)
        def count(answer, trial, wanted=wanted):
            trial.expect_number(answer, wanted)

        _machine._registry[id] = _machine.Exercise(id, "count", 1, (), 1, count)
    return tmp_path / "home"


def test_a_correct_answer_is_kept_and_nothing_else(home, capsys):
    check("how-many", ...)
    check("how-many", 3)
    assert not home.exists()
    check("how-many", 2)
    first = (home / "solved.json").read_text()
    assert list(json.loads(first)) == ["how-many"]
    check("how-many", 3)
    assert (home / "solved.json").read_text() == first, "once solved, it stays so"
    check("how-much", 3)
    assert [path.name for path in home.iterdir()] == ["solved.json"]
    assert list(_solved.solved()) == ["how-many", "how-much"]


def test_the_page_shows_every_lesson(home, tmp_path):
    check("how-many", 2)
    text = (tmp_path / "course" / _solved.PAGE).read_text()
    assert "1 of 2 exercises, by `" in text
    assert f"| 00 · [Count]({COUNT}) | 1 of 2 | ✓ How many<br>○ How much |" in text
    (home / "solved.json").unlink()
    _solved.write_page(_machine._registry, tmp_path / "course")
    assert "0 of 2 exercises" in (tmp_path / "course" / _solved.PAGE).read_text()


def test_a_notebook_ends_with_one_line_about_the_course(home, capsys, monkeypatch):
    check("how-many", 2)
    score_card()
    line = "Solved so far on this computer: 1 of the course's 2 exercises, listed in `my_progress.md`."
    assert capsys.readouterr().out.count(line) == 1
    monkeypatch.setenv("BDL_SOLVED", "0")
    score_card()
    assert "Solved so far" not in capsys.readouterr().out


def test_nothing_is_kept_where_nothing_should_be(home, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(_machine, "GRADING", True)
        check("how-many", 2)
    with monkeypatch.context() as patch:
        patch.setenv("JPY_SESSION_NAME", "/course/solutions/0_start/00_count.ipynb")
        check("how-many", 2)
    with monkeypatch.context() as patch:
        patch.setenv("BDL_SOLVED", "0")
        check("how-many", 2)
    assert not home.exists() and not (tmp_path / "course" / _solved.PAGE).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_file_that_is_something_else_is_left_alone(home, text, capsys):
    home.mkdir()
    (home / "solved.json").write_text(text)
    check("how-many", 2)
    score_card()
    assert "✓ correct" in capsys.readouterr().out and (home / "solved.json").read_text() == text


def test_a_place_where_nothing_can_be_written_costs_nothing(home, capsys):
    home.write_text("a file where the folder should be")
    check("how-many", 2)
    assert "✓ correct" in capsys.readouterr().out


def test_running_notebooks_in_tests_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("BDL_SOLVED", str(tmp_path / "solved.json"))
    source = "from bdlcore._support.environment import solved_file\nassert solved_file() is None"
    path = tmp_path / "plain.ipynb"
    path.write_text(writes(new_notebook(cells=[new_code_cell(source)])))
    execute(path)


def test_the_record_and_the_page_are_no_part_of_the_repository():
    page = _solved.COURSE / _solved.PAGE
    ignored = subprocess.run(["git", "check-ignore", "-q", str(page)], cwd=ROOT)
    assert ignored.returncode == 0 and _solved.COURSE == ROOT / learner_copy.MINE
