"""Re-running verdicts on fresh seeds: the counts add up, and what is unstable comes first."""

from pathlib import Path

import nbformat
import pytest
import reseed
from execute_notebooks import main as execute
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from reseed import summarise, table

from bdlcore.notebook import claims
from bdlcore.notebook.claims import claim

EXPECTED_SECONDS = 15
PACKAGE = Path(claims.__file__).parent


@pytest.fixture
def made(monkeypatch):
    def made(lesson, name, values, shift=0):
        monkeypatch.setenv("JPY_SESSION_NAME", f"lessons/{lesson}.ipynb")
        monkeypatch.setenv("BDL_SEED", str(shift))
        seeds = range(1000 * shift, 1000 * shift + len(values))
        return claim(name, "A statement.", values, quantity="gain", above=0, seeds=seeds)

    return made


HOLDS, UNCLEAR, OPPOSITE = [1.0, 1.1, 1.2], [-1.0, 0.5, 1.0], [-1.0, -1.1, -1.2]


def test_verdicts_are_counted_per_claim_the_least_stable_first(made):
    stored = [made("1/01_a", "solid", HOLDS), made("1/01_a", "lucky", HOLDS), made("1/01_a", "weak", UNCLEAR)]
    fresh = [made("1/01_a", "solid", HOLDS, k) for k in (1, 2, 3, 4)]
    fresh += [made("1/01_a", "lucky", v, k) for k, v in enumerate((HOLDS, UNCLEAR, OPPOSITE, UNCLEAR), 1)]
    fresh += [made("1/01_a", "weak", v, k) for k, v in enumerate((UNCLEAR, HOLDS, UNCLEAR, UNCLEAR), 1)]
    fresh += [made("2/02_b", "solid", OPPOSITE, 1)]  # of a lesson that was never stored
    rows = {(row.lesson, row.name): row for row in summarise(stored, fresh)}
    assert list(rows) == [("2/02_b", "solid"), ("1/01_a", "lucky"), ("1/01_a", "weak"), ("1/01_a", "solid")]
    counts = {
        key: (r.stored, r.holds, r.not_shown, r.contradicted, r.same, r.runs) for key, r in rows.items()
    }
    assert counts["1/01_a", "solid"] == ("holds", 4, 0, 0, 4, 4)
    assert counts["1/01_a", "lucky"] == ("holds", 1, 2, 1, 1, 4)
    assert counts["1/01_a", "weak"] == ("not shown", 1, 3, 0, 3, 4)
    assert counts["2/02_b", "solid"] == ("not stored", 0, 0, 1, 0, 1)
    assert (rows["1/01_a", "lucky"].lowest, rows["1/01_a", "lucky"].highest) == pytest.approx((-1.1, 1.1))


def test_table_lines_up(made):
    fresh = [made("1/01_a", "solid", HOLDS, 1), made("1/01_a", "shaky", OPPOSITE, 1)]
    lines = table(summarise([made("1/01_a", "solid", HOLDS)], fresh)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "| 1 of 1 |" in lines[-1].replace("  ", " ")
    assert "1.1 and 1.1" in lines[-1]


def test_lessons_run_on_shifted_seeds_and_stay_untouched(tmp_path, capsys):
    source = (
        # the package without what its __init__ loads, which takes seconds
        "import os, sys, types\n"
        f"sys.modules['bdlcore'] = bare = types.ModuleType('bdlcore')\nbare.__path__ = [{str(PACKAGE)!r}]\n"
        "from bdlcore.notebook.claims import claim\n"
        "k = int(os.environ['BDL_SEED'])\n"
        "if k == 2:\n    raise RuntimeError('seed 2 diverges')\n"
        "gains, seeds = [1 - k, 1.1 - k, 0.9 - k], range(1000 * k, 1000 * k + 3)\n"
        "claim('gain', 'It gains.', gains, quantity='gain', above=0, seeds=seeds)"
    )
    path = tmp_path / "lessons" / "01_one.ipynb"
    path.parent.mkdir()
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Why?"), new_code_cell(source)]), path)
    assert execute([str(path)]) == 0
    stored = path.read_text()
    capsys.readouterr()
    assert reseed.main(["3", str(path), "--jobs", "2"]) == 1
    said = capsys.readouterr().out
    assert path.read_text() == stored
    assert "BDL_SEED=2: FAILED" in said and "seed 2 diverges" in said
    row = [cell.strip() for cell in said.splitlines()[-1].strip("|").split("|")]
    assert row[:5] == ["gain", "holds", "0 of 2", "1", "1"]
    assert row[-1] == "01_one"


@pytest.mark.parametrize("arguments", [["0"], ["1", "nowhere"], ["1", "--jobs", "0"]])
def test_bad_arguments_are_explained(arguments, capsys):
    with pytest.raises(SystemExit):
        reseed.main(arguments)
    assert "must be" in (said := capsys.readouterr().err) or "no such" in said
