"""A learner's own copy of the course: what is untouched follows the course, what is theirs stays."""

import os
import subprocess
from pathlib import Path

import learner_copy
import pytest

ROOT = Path(__file__).resolve().parents[1]
LESSON, PAGE = "lessons/0_start/00_start_here.ipynb", "README.md"


@pytest.fixture
def course(tmp_path):
    files = {
        LESSON: "{}",
        PAGE: "old",
        "docs/setup.md": "how",
        "docs/bdlcore.md": "[rooms](../bdlcore/README.md)",
        "bdlcore/README.md": "the rooms",
        "bdlcore/hmc.py": "code",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert learner_copy.update(tmp_path) == []
    return tmp_path


def test_everything_that_is_read_or_run_is_copied(course):
    mine = course / "my_course"
    files = {path.relative_to(mine).as_posix() for path in mine.rglob("*") if path.is_file()}
    assert files == {LESSON, PAGE, "docs/setup.md", "docs/bdlcore.md", "rooms/README.md", ".copied.json"}


def test_no_folder_hides_the_package(course):
    """A folder bdlcore beside a notebook is imported in place of a package that is installed as editable."""
    assert not (course / "my_course" / "bdlcore").exists()
    assert "(../rooms/README.md)" in (course / "my_course/docs/bdlcore.md").read_text()


def test_what_is_untouched_follows_and_what_is_changed_stays(course):
    mine = course / "my_course"
    (mine / LESSON).write_text("mine")
    assert learner_copy.update(course) == []  # the course has nothing newer
    (course / LESSON).write_text("{new}")
    (course / PAGE).write_text("new")
    for _ in range(2):
        assert learner_copy.update(course) == [LESSON]
    assert (mine / LESSON).read_text() == "mine" and (mine / PAGE).read_text() == "new"
    (mine / LESSON).rename(mine / "lessons/0_start/mine.ipynb")
    assert learner_copy.update(course) == []
    assert (mine / LESSON).read_text() == "{new}"
    assert (mine / "lessons/0_start/mine.ipynb").read_text() == "mine"


def test_what_the_course_no_longer_has_goes_unless_it_was_changed(course):
    mine = course / "my_course"
    (mine / PAGE).write_text("my notes")
    (course / PAGE).unlink()
    (course / "docs/setup.md").unlink()
    assert learner_copy.update(course) == []
    assert (mine / PAGE).read_text() == "my notes" and not (mine / "docs/setup.md").exists()


def test_a_damaged_record_loses_nothing(course):
    mine = course / "my_course"
    (mine / PAGE).write_text("my notes")
    (mine / ".copied.json").write_text("{")
    (course / LESSON).write_text("{new}")
    assert learner_copy.update(course) == [PAGE, LESSON] or learner_copy.update(course) == [LESSON, PAGE]
    assert (mine / PAGE).read_text() == "my notes"


def test_a_full_disk_leaves_files_whole(course, monkeypatch):
    (course / PAGE).write_text("new")

    def full(target, content):
        target.write_text("ne")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_bytes", full)
        learner_copy.update(course)
    assert (course / "my_course" / PAGE).read_text() == "old"
    assert learner_copy.update(course) == [] and (course / "my_course" / PAGE).read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="git may be missing")
def test_links_hold_in_the_copy_and_git_ignores_it():
    copied = learner_copy._files(ROOT)
    linked = {"CLAIMS.md", "docs/teaching.md", "docs/one_network_or_many.png", "bdlcore/README.md"}
    assert linked <= set(copied) and len([name for name in copied if name.startswith("lessons/")]) >= 15
    ignored = subprocess.run(["git", "check-ignore", "-q", "my_course/README.md"], cwd=ROOT)
    assert ignored.returncode == 0
