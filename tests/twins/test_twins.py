"""Twins of headline claims: short, independent of bdlcore, measured as they are, at one with lessons or explained."""

import ast
import json

import pytest
from execute_notebooks import ROOT, notebooks
from twins import LONGEST, Twin, main, twins_of

from bdlcore.notebook.claims import stored_claims

TWINS = twins_of()
CLAIMS = {claim.name: claim for path in notebooks("lessons") for claim in stored_claims(path)}
QUICK = (
    "circular-convolution-is-equivariant",
    "effective-dimension-is-contraction",
    "gp-evidence-falls",
    "least-squares-explodes",
    "monte-carlo-kernel-agrees",
    "one-sample-prefers-cold",
    "overstated-noise-prefers-cold",
    "polynomial-average-beats-plug-in",
    "wide-prior-collapses-probability",
    "wrong-support-stays-wrong",
    "yet-it-prefers-simple-ones",
)


@pytest.fixture(params=TWINS.values(), ids=TWINS)
def twin(request):
    return request.param


def test_there_is_a_twin_for_about_twenty_claims_from_every_unit():
    assert len(TWINS) >= 20
    units = {CLAIMS[name].lesson.split("/")[0] for name in TWINS}
    assert {f.name for f in (ROOT / "lessons").iterdir() if f.is_dir()} - units <= {
        "0_start",
        "6_architecture",
    }


def test_a_twin_is_short_and_stands_on_its_own(twin):
    tree = ast.parse(twin.text)
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    tops = {name.split(".")[0] for name in imported}
    assert tops <= {"math", "numpy", "scipy", "torch", "sklearn", "skimage"}
    assert len(twin.text.splitlines()) <= LONGEST
    assert len(ast.get_docstring(tree)) > 100, "say what is measured, on which data"


def test_a_twin_is_measured_and_agrees_or_says_why(twin):
    assert twin.name in CLAIMS, "no lesson claims this"
    assert len(twin.values) >= 5, "run `make twins`"
    verdicts = twin.measured(CLAIMS[twin.name]).verdict, CLAIMS[twin.name].verdict
    assert (verdicts[0] == verdicts[1]) != bool(twin.difference), f"{verdicts}: see tools/twins.py"


@pytest.mark.parametrize("name", QUICK)
def test_a_stored_value_comes_out_again(name):
    """Of deterministic arithmetic: to rounding, on any processor."""
    twin = TWINS[name]
    assert twin.module().value(1) == pytest.approx(twin.values[1], rel=1e-3, abs=1e-9)


@pytest.fixture
def course(tmp_path):
    """A course with one lesson, which claims that a gain is positive, and an empty folder of twins."""
    lesson = next(path for path in notebooks("lessons") if path.stem.startswith("00"))
    target = tmp_path / lesson.relative_to(ROOT)
    target.parent.mkdir(parents=True)
    target.write_text(lesson.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "tests" / "twins").mkdir(parents=True)
    return tmp_path


def test_values_belong_to_the_code_that_gave_them(course, capsys):
    (claim,) = stored_claims(next((course / "lessons").rglob("*.ipynb")))
    path = course / "tests" / "twins" / f"{claim.name.replace('-', '_')}.py"
    path.write_text('"""A twin."""\n\nVALUES = 5\n\n\ndef value(seed):\n    return 0.1 + 0.01 * seed\n')
    assert twins_of(course)[claim.name].values == ()
    assert main(["--jobs", "1"], course) == 0
    assert f"✔ {claim.name}: 0.120 ± 0.016" in capsys.readouterr().out
    assert twins_of(course)[claim.name].values == pytest.approx((0.1, 0.11, 0.12, 0.13, 0.14))
    path.write_text(path.read_text().replace("0.1 +", "9 +"))
    assert twins_of(course)[claim.name].values == ()
    main(["--jobs", "1"], course)
    assert "DIFFERS" in capsys.readouterr().out
    assert len(json.loads((course / "tests" / "twins" / "results.json").read_text())) == 1


def test_a_twin_of_no_claim_and_an_unknown_name_are_refused(course, capsys):
    (course / "tests" / "twins" / "no_claim.py").write_text('"""A twin."""\n')
    with pytest.raises(SystemExit):
        main([], course)
    assert "no lesson claims no-claim" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["nobody"], course)
    assert "no twin named nobody" in capsys.readouterr().err


def test_the_reason_of_a_difference_is_read_from_the_docstring(tmp_path):
    path = tmp_path / "a_claim.py"
    path.write_text('"""What.\n\nDiffers from the lesson: its data\nare larger.\n\nMore.\n"""\n')
    assert Twin(path).difference == "its data are larger."
    path.write_text('"""What."""\n')
    assert Twin(path).difference == ""
