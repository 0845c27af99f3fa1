"""The generator and the prover of checks on a tiny course: what they make, what they refuse, what they find missing.

The mutants here are faults of an author: a leaked line, a check that lets a mistake pass, a stub that reads as an
answer, exercises that are out of step with their solutions.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import make_exercises
import nbformat
import prove_checks
import pytest
from execute_notebooks import ThisPythonKernel
from exercise_notebooks import leaks, mark, read_lesson
from exercise_rules import problems
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import determine_grade
from traitlets.config.loader import PyFileConfigLoader

from bdlcore.exercises import _machine

ROOT = Path(__file__).parents[2]
EXPECTED_SECONDS = 150

POINTS = {"average-probabilities": 2, "fix-the-scale": 1, "how-many": 1, "which-one": 1}
PATH = Path("1_tiny/01_tiny.ipynb")


# what bdlcore/exercises/checks/tiny.py would hold
CHECKS = """
import torch

from bdlcore.exercises import exercise

@exercise("average-probabilities", points=2, hints=("Softmax first.",))
def average_probabilities(answer, trial):
    logits = trial.randn(7, 5, 3)
    got = trial.call(answer, logits)
    mistakes = {"You averaged the logits.": logits.mean(0).softmax(-1)}
    trial.judge(got, logits.softmax(-1).mean(0), mistakes, "Not the averaged probabilities.")

@exercise("fix-the-scale", hints=("What is the unit of a variance?",))
def fix_the_scale(answer, trial):
    mean, variance, noise = trial.randn(4), trial.rand(4) + 1.5, trial.randn(4)
    got = trial.call(answer, mean, variance, noise)
    trial.unchanged_if_close(got, mean + variance * noise)
    trial.expect_close(got, mean + torch.sqrt(variance) * noise, "Not the standard deviation.")

@exercise("how-many", hints=("Count.",))
def how_many(answer, trial):
    trial.expect_number(answer, 4.0, "Count again.")

@exercise("which-one", hints=("Read.",))
def which_one(answer, trial):
    trial.expect_choice(answer, "b", because={"a": "Not a, since.", "c": "Not c, since."})
"""

# the code of each exercise: solution, what is checked, variants
SOURCES = {
    "average-probabilities": (
        '''
def average_probabilities(logits):
    """The averaged probabilities."""
    ### BEGIN SOLUTION
    probabilities = logits.softmax(-1)
    return probabilities.mean(0)
    ### END SOLUTION''',
        "average_probabilities",
        """
@v.right
def with_a_loop(logits):
    return sum(one.softmax(-1) for one in logits) / len(logits)
@v.right
def with_exp(logits):
    return (logits.exp() / logits.exp().sum(-1, keepdim=True)).mean(0)
@v.wrong("averaged the logits")
def averages_logits(logits):
    return logits.mean(0).softmax(-1)
@v.wrong("Not the averaged")
def sums(logits):
    return logits.softmax(-1).sum(0)
@v.wrong("a `return` missing")
def forgets(logits):
    logits.softmax(-1)""",
    ),
    "fix-the-scale": (
        """
def draw(mean, variance, noise):
    ### BEGIN SOLUTION
    scale = variance.sqrt()
    ### STUB
    # scale = variance
    ### END SOLUTION
    return mean + scale * noise""",
        "draw",
        """
v.right(value=lambda mean, variance, noise: mean + variance**0.5 * noise, name="power")
v.right(value=lambda mean, variance, noise: mean + (variance.log() / 2).exp() * noise, name="log")
v.wrong("Not the standard", value=lambda mean, variance, noise: mean + variance**2 * noise, name="squared")
v.wrong("Not the standard", value=lambda mean, variance, noise: mean + noise, name="no scale")
v.wrong("Not the standard", value=lambda mean, variance, noise: noise * variance, name="no mean")""",
    ),
    "how-many": (
        """
### BEGIN SOLUTION
seasons = len(["spring", "summer", "autumn", "winter"])
### STUB
# seasons = ...  # your answer here
### END SOLUTION""",
        "seasons",
        """
v.right(value=4.0, name="float")
v.right(value=[4], name="list")
v.wrong("Count again", value=3, name="three")
v.wrong("Count again", value=12, name="months")
v.wrong("not numbers", value="four", name="text")""",
    ),
    "which-one": (
        """
choice = ...
### BEGIN SOLUTION
choice = "b"
### END SOLUTION""",
        "choice",
        """
v.right(value="B", name="capital")
v.right(value=["b"], name="list")
v.wrong("Not a", value="a")
v.wrong("Not c", value="c")
v.wrong("Answer with one of", value="d")""",
    ),
}


def notebook(edit: str = "", by: str = "", sources: dict = SOURCES) -> nbformat.NotebookNode:
    """The tiny solutions notebook, with one text in its cells replaced."""
    cells = [
        new_markdown_cell("# A tiny lesson", id="title"),
        new_code_cell(
            "%matplotlib inline\nfrom bdlcore.exercises import check, score_card, variants", id="setup"
        ),
    ]
    for number, (name, (solution, answer, variants)) in enumerate(sources.items(), start=1):
        cells += [
            new_markdown_cell(f"### Exercise {number} · {name}  ★☆☆ · 5 min\n\nDo it.", id=f"text-{number}"),
            new_code_cell(solution.strip(), id=f"solution-{number}"),
            new_code_cell(f'check("{name}", {answer})', id=f"check-{number}"),
            new_code_cell(f'v = variants("{name}"){variants}\nv.show()', id=f"variants-{number}"),
        ]
    cells.append(new_code_cell("score_card()", id="card"))
    assert not edit or any(edit in cell.source for cell in cells)
    for cell in cells:
        cell.source = cell.source.replace(edit, by) if edit else cell.source
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python", "version": "3.99"}})


def register(source: str) -> None:
    """Runs the source of a check module as bdlcore/exercises/checks/tiny.py."""
    exec(source, {"__name__": "bdlcore.exercises.checks.tiny"})


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder with the course's nbgrader configuration and a function that puts a marked notebook under solutions/."""
    _machine.registered()
    monkeypatch.setattr(_machine, "_registry", {})
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    register(CHECKS)
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)

    def put(made: nbformat.NotebookNode, path: Path = PATH, marked: bool = True) -> Path:
        file = tmp_path / "solutions" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, file)
        if marked:
            lesson = read_lesson(tmp_path, path)
            mark(lesson, POINTS)
            nbformat.write(lesson.notebook, file)
        return tmp_path

    return put


def sources_of(path: Path) -> dict[str, str]:
    return {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}


# --- the generator ---


def test_exercises_hold_stubs_and_no_variants(course):
    root = course(notebook(), marked=False)
    assert make_exercises.main([], root) == 0
    made = sources_of(root / "exercises" / PATH)
    assert made["solution-1"] == (
        'def average_probabilities(logits):\n    """The averaged probabilities."""\n    ...  # your code here'
    )
    assert made["solution-2"] == (
        "def draw(mean, variance, noise):\n    scale = variance\n    return mean + scale * noise"
    )
    assert made["solution-3"] == "seasons = ...  # your answer here"
    assert made["solution-4"] == "choice = ...\n...  # your code here"
    assert made["check-1"] == (
        "from bdlcore.exercises import check as _check\n\n"
        '_check("average-probabilities", average_probabilities)'
    )
    assert not [id for id in made if id.startswith("variants")]
    metadata = {
        cell.id: cell.metadata for cell in nbformat.read(root / "exercises" / PATH, as_version=4).cells
    }
    assert metadata["check-1"].editable is False and metadata["check-1"].nbgrader.points == 2
    assert metadata["setup"].editable is False and metadata["setup"].nbgrader.locked
    assert metadata["solution-1"].deletable is False and "editable" not in metadata["solution-1"]


def test_generating_twice_and_from_an_executed_notebook_gives_the_same_bytes(course):
    root = course(notebook())
    assert make_exercises.main([], root) == 0
    first = (root / "exercises" / PATH).read_bytes()
    executed = nbformat.read(root / "solutions" / PATH, as_version=4)
    executed.metadata = {"language_info": {"name": "python", "version": "3.98"}, "widgets": {}}
    for cell in executed.cells:
        cell.metadata["execution"] = {"iopub.status.busy": "2020-01-01"}
        if cell.cell_type == "code":
            cell.execution_count = 3
            cell.outputs = [nbformat.v4.new_output("stream", text="seen")]
    nbformat.write(executed, root / "solutions" / PATH)
    assert make_exercises.main([], root) == 0
    assert (root / "exercises" / PATH).read_bytes() == first
    assert not list(root.rglob("*.db"))


WRONG = "def average_probabilities(logits):\n    return logits.mean(0).softmax(-1)"
# cells before the first exercise that would turn a wrong answer into points
TAMPERING = {
    "forgets the mode": 'import os\nos.environ.pop("NBGRADER" + "_EXECUTION")',
    "redefines check": "def check(*given):\n    pass\n_check = check",
    "replaces check": 'import importlib\nimportlib.import_module("bdlcore" + ".exercises").check = print',
}
NOTHING = dict.fromkeys(POINTS, 0)


def hand_in(root: Path, student: str, answers: dict[str, str], first: str = "", without: str = "") -> None:
    """A student's notebook: the exercises with cells filled in by id, one cell put first, or one left out."""
    handed_in = nbformat.read(root / "exercises" / PATH, as_version=4)
    for cell in handed_in.cells:
        cell.source = answers.get(cell.id, cell.source)
    handed_in.cells = [cell for cell in handed_in.cells if cell.id != without]
    if first:
        handed_in.cells.insert(0, new_code_cell(first, id="first"))
    file = root / "submitted" / student / PATH
    file.parent.mkdir(parents=True)
    nbformat.write(handed_in, file)


def test_from_release_to_gradebook_whatever_is_handed_in(course):
    made = notebook()
    made.cells[1].source += CHECKS
    root = course(made)
    assert make_exercises.main([], root) == 0
    ours = (root / "exercises" / PATH).read_bytes()
    _nbgrader(root, "generate_assignment")
    assert (root / "exercises" / PATH).read_bytes() == ours
    solved = sources_of(root / "solutions" / PATH)
    solved = {id: source for id, source in solved.items() if id.startswith("solution")}
    hand_in(root, "right", solved)
    uneven = {"solution-3": "while True:\n    pass", "solution-4": 'choice = "a"'}
    hand_in(root, "uneven", solved | uneven, without="check-1")
    hand_in(root, "crashing", solved | {"solution-2": "import os\nos._exit(1)"})
    for number, first in enumerate(TAMPERING.values()):
        hand_in(root, f"tampering-{number}", {"solution-1": f"{WRONG}\n{first}"}, first=first)
    _nbgrader(root, "autograde", "--create", "--ExecuteAll.timeout=25")
    from nbgrader.api import Gradebook

    scores = {}
    with Gradebook(f"sqlite:///{root}/gradebook.db") as gradebook:
        for submission in gradebook.assignment_submissions(PATH.parts[0]):
            (graded,) = submission.notebooks
            scores[submission.student.id] = {g.name.removesuffix("-check"): g.score for g in graded.grades}
    tampered = {f"tampering-{number}": NOTHING for number in range(len(TAMPERING))}
    assert scores == {
        "right": POINTS,
        "uneven": NOTHING | {"fix-the-scale": 1},
        "crashing": NOTHING | {"average-probabilities": 2},
        **tampered,
    }


HALF = """
def average_and_spread(f, noise_std):
    return f.mean(0), f.std(0)
"""
FORGED = """
display("", raw=True, metadata={"bdl": {"state": "not yet", "exercise": "average-and-spread", "earned": "2"}})"""


@pytest.mark.parametrize(
    "answer, more, points",
    [(HALF, "", 1), (HALF, FORGED, 0), (HALF, "1 / 0", 0), ("average_and_spread = 3", "", 0)],
)
def test_an_answer_of_which_a_part_is_right_earns_its_share(monkeypatch, answer, more, points):
    """As autograding does it: run, judged by what the check cell shows, read by nbgrader."""
    (judge,) = [
        kind
        for kind in PyFileConfigLoader(str(ROOT / "nbgrader_config.py"))
        .load_config()
        .Autograde.autograde_preprocessors
        if kind.__name__ == "OnlyVerdictsCount"
    ]
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    graded = {"grade": True, "grade_id": "average-and-spread-check", "locked": True, "points": 2}
    call = '_check("average-and-spread", average_and_spread)'
    made = new_notebook(
        cells=[
            new_code_cell(answer),
            new_code_cell(
                f"from bdlcore.exercises import check as _check\n{more}\n{call}",
                metadata={"nbgrader": graded},
            ),
        ]
    )
    NotebookClient(made, kernel_manager_class=ThisPythonKernel, allow_errors=True).execute()
    judged, _ = judge().preprocess(made, {})
    assert determine_grade(judged.cells[1]) == (points, 2)


def _nbgrader(root: Path, command: str, *options: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "nbgrader", command, PATH.parts[0], *options],
        cwd=root,
        check=True,
        capture_output=True,
    )


def test_check_names_the_cell_that_differs(course, capsys):
    root = course(notebook())
    make_exercises.main([], root)
    assert make_exercises.main(["--check"], root) == 0
    file = root / "exercises" / PATH
    edited = nbformat.read(file, as_version=4)
    edited.cells[3].source += "\n    # changed by hand"
    nbformat.write(edited, file)
    capsys.readouterr()
    assert make_exercises.main(["--check"], root) == 1
    told = capsys.readouterr().err
    assert "exercises/1_tiny/01_tiny.ipynb differs in cell 4 (id solution-1)" in told
    assert "-    # changed by hand" in told and "make exercises" in told
    assert make_exercises.main([], root) == 0
    assert make_exercises.main(["--check"], root) == 0


def test_check_names_missing_and_orphaned_notebooks_and_broken_files(course, capsys):
    root = course(notebook())
    assert make_exercises.main(["--check"], root) == 1
    assert "01_tiny.ipynb is missing" in capsys.readouterr().err
    make_exercises.main([], root)
    (root / "exercises" / "1_tiny" / "02_gone.ipynb").write_bytes((root / "exercises" / PATH).read_bytes())
    (root / "exercises" / PATH).write_text("{")
    assert make_exercises.main(["--check"], root) == 1
    told = capsys.readouterr().err
    assert "02_gone.ipynb has no source" in told and "01_tiny.ipynb cannot be read" in told
    assert make_exercises.main([], root) == 1  # whatever it was, it may be somebody's work
    assert make_exercises.main(["--force"], root) == 0
    assert make_exercises.main(["--check"], root) == 0
    assert not (root / "exercises" / "1_tiny" / "02_gone.ipynb").exists()


def test_a_learners_work_is_not_overwritten(course, capsys):
    root = course(notebook())
    make_exercises.main([], root)
    file = root / "exercises" / PATH
    worked = nbformat.read(file, as_version=4)
    worked.cells[3].update(source="my answer", execution_count=4)
    nbformat.write(worked, file)
    assert make_exercises.main([], root) == 1
    assert "may hold a learner's work: copy it elsewhere, or pass --force" in capsys.readouterr().err
    assert "my answer" in file.read_text()
    assert make_exercises.main(["--force"], root) == 0
    assert "my answer" not in file.read_text()


# --- the rules: each edit of the notebook, and the sentence that refuses it ---

AVERAGE = "### BEGIN SOLUTION\n    probabilities"
REFUSED = {
    "unclosed": ("mean(0)\n    ### END SOLUTION", "mean(0)", "`### BEGIN SOLUTION` without `### END SOLUTION`"),
    "unopened": (AVERAGE, "probabilities", "`### END SOLUTION` without `### BEGIN SOLUTION`"),
    "nested": (AVERAGE, f"### BEGIN SOLUTION\n    {AVERAGE}", "regions cannot be nested"),
    "misspelt": (AVERAGE, AVERAGE.replace("###", "##"), "write the marker exactly as"),
    "lower case": (AVERAGE, AVERAGE.replace("BEGIN", "begin"), "write the marker exactly as"),
    "end misindented": ("mean(0)\n    ### END", "mean(0)\n### END", "is not indented like its"),
    "line misindented": ('choice = ...\n', 'if True:\n    pass\n    ', "is indented less than"),
    "empty region": ('### BEGIN SOLUTION\nchoice = "b"', "### BEGIN SOLUTION", "nothing stands above"),
    "live stub": ("# scale = variance", "scale = variance", "must be commented out"),
    "no region": (
        '### BEGIN SOLUTION\nchoice = "b"\n### END SOLUTION',
        "choice = 2",
        "is marked as a solution cell but has no `### BEGIN SOLUTION`",
    ),
    "not Python": ("probabilities = logits", "probabilities logits", "is not Python: invalid syntax in line 4"),
    "other variants": ('variants("how-many")', 'variants("which-one")', "the ids must be equal"),
    "no variants": ('v = variants("how-many")', "v = 3", "a variants cell must come first for the one in cell 12"),
    "no last variants": ('v = variants("which-one")', "v = 3", "a variants cell is missing after it"),
    "no check": ('check("how-many", seasons)', "seasons", "here stands a variants cell, but a check cell must"),
    "unregistered": ("how-many", "how-few", 'no check is registered for "how-few"'),
    "heading": ("### Exercise 3 ·", "### Exercise 4 ·", "needs a heading such as `### Exercise 3 · Title"),
    "difficulty": ("Exercise 2 · fix-the-scale  ★☆☆", "Exercise 2 · fix-the-scale  *", "needs a heading such as"),
    "no score card": ("score_card()", "print()", "the last cell must be `score_card()`"),
    "two checks": ('check("how-many", seasons)', 'check("how-many", 4)\ncheck("how-many", 4)', "checks one exercise"),
}  # fmt: skip


@pytest.mark.parametrize("edit, by, told", REFUSED.values(), ids=REFUSED)
def test_author_is_told(course, capsys, edit, by, told):
    marked = nbformat.read(course(notebook()) / "solutions" / PATH, as_version=4)
    metadata = {cell.id: cell.metadata for cell in marked.cells}
    made = notebook(edit, by)
    for cell in made.cells:
        cell.metadata = metadata[cell.id]
    root = course(made, marked=False)
    found = "\n".join(problems(read_lesson(root, PATH), POINTS))
    assert told in found and found.startswith("solutions/1_tiny/01_tiny.ipynb")
    with pytest.raises(make_exercises.Refused):
        make_exercises.generate(root, root / "made", POINTS)


METADATA = {
    "unmarked": (lambda cells: cells["solution-1"].metadata.clear(), "is not marked as a solution cell"),
    "ungraded": (lambda cells: cells["check-1"].metadata.clear(), "is not marked as a locked grade cell"),
    "untagged": (lambda cells: cells["variants-1"].metadata.clear(), "lacks the tag `variants`"),
    "points": (lambda cells: cells["check-1"].metadata.nbgrader.update(points=9), "has 9 points, its registered"),
    "grade id": (lambda cells: cells["solution-1"].metadata.nbgrader.update(grade_id="x"), 'with grade id "x"'),
    "grade id twice": (
        lambda cells: cells["solution-1"].metadata.nbgrader.update(grade_id="which-one"),
        'the grade id "which-one" is used 2 times',
    ),
    "no cell id": (lambda cells: cells["solution-1"].pop("id"), "has no id"),
    "cell id twice": (lambda cells: cells["solution-1"].update(id="title"), "the cell id title is used 2 times"),
    "solution in text": (
        lambda cells: cells["text-1"].update(source="### BEGIN SOLUTION"),
        "holds a solution region but is not marked",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage, told", METADATA.values(), ids=METADATA)
def test_damaged_metadata_is_named(course, damage, told):
    lesson = read_lesson(course(notebook()), PATH)
    damage({cell.id: cell for cell in lesson.notebook.cells})
    assert told in "\n".join(problems(lesson, POINTS))


def test_marking_repairs_metadata(course, capsys):
    root = course(notebook(), marked=False)
    assert make_exercises.main(["--check"], root) == 1
    assert "not marked" in capsys.readouterr().err
    assert make_exercises.main([], root) == 0
    assert "marked 12 cells" in capsys.readouterr().out
    assert make_exercises.main([], root) == 0
    assert "marked" not in capsys.readouterr().out


def test_notebook_without_exercises_is_refused(course, capsys):
    root = course(notebook(sources={}))
    assert make_exercises.main([], root) == 1
    assert "it has no exercise: a lesson has 4 to 8" in capsys.readouterr().err


def test_ids_are_unique_in_the_course_and_notebooks_lie_in_units(course, capsys):
    course(notebook())
    course(notebook(), Path("2_other/02_other.ipynb"))
    root = course(notebook(), Path("top.ipynb"))
    assert make_exercises.main([], root) == 1
    told = capsys.readouterr().err
    assert '2_other/02_other.ipynb: "how-many" is also in 1_tiny/01_tiny.ipynb' in told
    assert "solutions/top.ipynb: must lie in a unit folder" in told


LEAKS = {
    "in the text": ("Do it.", "Do it: `return probabilities.mean(0)`.", "return probabilities.mean(0)"),
    "in code": (
        "%matplotlib inline",
        "probabilities   =  logits.softmax(-1)",
        "probabilities = logits.softmax(-1)",
    ),
    "in the stub": ("# scale = variance", "# scale = variance.sqrt()", "scale = variance.sqrt()"),
}


@pytest.mark.parametrize("edit, by, line", LEAKS.values(), ids=LEAKS)
def test_leaked_line_is_refused(course, capsys, edit, by, line):
    root = course(notebook(edit, by))
    assert make_exercises.main([], root) == 1
    told = capsys.readouterr().err
    assert "shows a line of the solution of" in told and told.strip().endswith(line)


def test_leaked_metadata_attachment_and_variants_are_seen(course):
    root = course(notebook())
    make_exercises.main([], root)
    lesson, made = read_lesson(root, PATH), nbformat.read(root / "exercises" / PATH, as_version=4)
    assert leaks(lesson, made) == []
    made.cells[0].metadata["note"] = "return probabilities.mean(0)"
    made.cells[1].source = 'v = variants("how-many")'
    assert len(leaks(lesson, made)) == 2


# --- the prover: an author's mutants ---


def proven(root: Path) -> prove_checks.LessonProof:
    return prove_checks.prove(root, read_lesson(root, PATH))


def faults(proof: prove_checks.LessonProof) -> str:
    each = [f"{one.id}: {fault}" for one in proof.exercises.values() for fault in one.faults]
    return "\n".join([*proof.faults, *each])


def test_a_complete_lesson_has_no_faults_and_a_full_kill_score(course, capsys):
    root = course(notebook())
    make_exercises.main([], root)
    proof = proven(root)
    assert faults(proof) == ""
    assert prove_checks.summary(proof) == ("1_tiny/01_tiny", 4, 8, 12, 12)
    assert prove_checks.kill_score(root) == [("1_tiny/01_tiny", 4, 8, 12, 12)]
    capsys.readouterr()
    assert prove_checks.main([], root) == 0
    assert "12 of 12" in capsys.readouterr().out


MUTANTS = {
    "wrong answer that passes": (
        "return logits.softmax(-1).sum(0)",
        "return logits.softmax(-1).mean(0)",
        'average-probabilities: wrong answer sums must fail, but it reads "correct"',
    ),
    "wrong answer with another message": (
        '@v.wrong("averaged the logits")',
        '@v.wrong("softmax of the mean")',
        "average-probabilities: wrong answer averages_logits must be told 'softmax of the mean'",
    ),
    "right answer that fails": (
        "for one in logits) / len(logits)",
        "for one in logits)",
        "average-probabilities: right answer with_a_loop must pass, but it reads",
    ),
    "too few variants": (
        '@v.wrong("Not the averaged")',
        "",
        "average-probabilities: has 2 right and 2 wrong variants; at least 2 and 3",
    ),
    "solution that fails": (
        "return probabilities.mean(0)",
        "return probabilities.sum(0)",
        "average-probabilities: the solution reads 'not yet' at seed 0",
    ),
    "stub that reads as an answer": (
        "# scale = variance",
        "# scale = 0 * variance",
        'fix-the-scale: the untouched stub must read "not attempted", but reads "not yet"',
    ),
    "stub that stops the notebook": (
        "# seasons = ...  # your answer here",
        "# # your answer here",
        "exercises/1_tiny/01_tiny.ipynb does not run to its end: cell 11 (id check-3): NameError",
    ),
    "solution that stops the notebook": (
        "seasons = len(",
        "seasons = lens(",
        "solutions/1_tiny/01_tiny.ipynb does not run to its end: cell 12 (id solution-3): NameError",
    ),
    "check out of reach": (
        'check("how-many", seasons)',
        'if False:\n    check("how-many", seasons)',
        "how-many: solutions/1_tiny/01_tiny.ipynb does not come to its check",
    ),
    "score card out of reach": (
        "score_card()",
        "if False:\n    score_card()",
        "exercises/1_tiny/01_tiny.ipynb does not show its score card",
    ),
}


@pytest.mark.parametrize("edit, by, told", MUTANTS.values(), ids=MUTANTS)
def test_prover_finds(course, edit, by, told):
    root = course(notebook(edit, by))
    make_exercises.main([], root)
    proof = proven(root)
    assert told in faults(proof)
    assert prove_checks.main([], root) == 1
    if "wrong answer" in told:
        assert prove_checks.summary(proof)[-2:] == (12, 11)


def test_prover_finds_checks_that_are_too_lenient_slow_or_without_hints(course, monkeypatch):
    root = course(notebook())
    make_exercises.main([], root)

    register(
        "from bdlcore.exercises import exercise\n"
        "@exercise('how-many')\n"
        "def how_many(answer, trial):\n"
        "    sum(range(10**5))\n"
    )
    monkeypatch.setattr(prove_checks, "SECONDS", 1e-3)
    told = faults(proven(root))
    assert "how-many: a senseless answer, '?' or a function that returns it, reads 'correct'" in told
    assert "how-many: its check takes" in told
    assert "how-many: has no hints" in told
    assert "how-many: wrong answer three must fail" in told


def test_prover_compares_ids_with_the_check_module(course):
    root = course(notebook())
    make_exercises.main([], root)

    register("from bdlcore.exercises import exercise\nexercise('extra')(lambda answer, trial: None)")
    assert "/tiny.py registers" in faults(proven(root))


def test_prover_wants_four_exercises_of_a_lesson_and_two_of_the_start(course):
    two = {name: SOURCES[name] for name in ("how-many", "which-one")}
    root = course(notebook(sources=two))
    make_exercises.main([], root)
    assert "has 2 exercises; 4 to 8 are due" in faults(proven(root))
    lesson = read_lesson(root, PATH)
    lesson.path = Path("0_start/00_start.ipynb")
    assert prove_checks._wrong_number(lesson) == []


def test_missing_exercise_notebook_is_named(course):
    assert "exercises/1_tiny/01_tiny.ipynb is missing; run `make exercises`" in faults(
        proven(course(notebook()))
    )


# --- right answers on many seeds ---


def test_right_answers_are_counted_stored_and_gone_on_with(course, tmp_path):
    root, store = course(notebook()), tmp_path / "proofs.json"
    lesson = read_lesson(root, PATH)
    first = prove_checks.prove_right([lesson], 3, store, root=root)["1_tiny/01_tiny"]
    assert (first["right"], first["seeds"], first["refused"]) == (12, 3, [])  # four solutions, eight variants
    assert prove_checks.prove_right([lesson], 15, store, root=root, minutes=0)["1_tiny/01_tiny"] == first
    second = prove_checks.prove_right([lesson], 15, store, root=root)["1_tiny/01_tiny"]
    assert second == first | {"seeds": 15}
    assert json.loads(store.read_text())["lessons"] == {"1_tiny/01_tiny": second}
    assert "180 times a right answer was checked, and 0 times refused" in prove_checks.right_table(
        {"1_tiny/01_tiny": second}
    )


def test_a_changed_check_begins_anew_and_its_refusals_are_told(course, tmp_path):
    root, store = course(notebook()), tmp_path / "proofs.json"
    prove_checks.prove_right([read_lesson(root, PATH)], 3, store, root=root)
    stricter = CHECKS.replace(
        "    got = trial.call(answer, logits)\n", "    trial.expect(trial.seed != 1, 'No.')\n", 1
    )
    stricter = stricter.replace("    trial.judge(got, ", "    trial.judge(trial.call(answer, logits), ", 1)
    file = root / "bdlcore/exercises/checks/tiny.py"
    file.parent.mkdir(parents=True)
    file.write_text(stricter)
    register(stricter)
    found = prove_checks.prove_right([read_lesson(root, PATH)], 2, store, root=root)["1_tiny/01_tiny"]
    assert (found["seeds"], len(found["refused"])) == (2, 3)
    assert all("at seed 1: No." in line for line in found["refused"])
