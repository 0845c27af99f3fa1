"""The papers' experiments at tiny size, end to end: grid, storing, resuming, estimates, tables and their places."""

import json
import re
import time

import nbformat
import pytest
import torch

from bdlcore._support.progress import Interruptible
from paper import estimate, experiments, lessons, results, runner, tables
from paper.__main__ import main
from paper.experiment import SIZES, Experiment, Table

EXPECTED_SECONDS = 60
CPU = torch.device("cpu")
EVERY = [experiments.load(name) for name in experiments.NAMES]


def counting(calls, fail_at=None, sizes=None):
    """An experiment that only notes its cells, and is stopped in one of them."""

    def run(settings, cell, device):
        calls.append(cell)
        if cell == fail_at:
            raise KeyboardInterrupt
        return [{"width": cell["width"], "value": float(cell["width"] + cell["seed"]), "size": settings["n"]}]

    tiny = sizes or {"n": 3, "widths": [1, 2], "seeds": [0, 1]}
    return Experiment(
        name="counting", lesson="04", question="How many?", source="Nobody (1900)", published="", differences="",
        sizes=dict.fromkeys(SIZES, tiny), grid={"width": "widths", "seed": "seeds"}, run=run,
        table=Table(rows=("width",), values={"value": "what came out"}), scaled={"n": 1}, paper={(2,): "2.5"},
    )  # fmt: skip


# --- every experiment ---


@pytest.mark.parametrize("experiment", EVERY, ids=lambda each: each.name)
def test_every_experiment_runs_end_to_end(experiment, tmp_path):
    result = runner.run(experiment, "tiny", CPU, tmp_path)
    cells = experiment.cells("tiny")
    assert [each["cell"] for each in result["cells"]] == cells
    assert result == json.loads(results.path_of(experiment.name, "tiny", tmp_path).read_text())
    shown = experiment.table
    for each in result["cells"]:
        assert each["records"] and each["seconds"] >= 0 and each["megabytes"] > 0
        for record in each["records"]:
            assert {*shown.rows, *shown.values} <= record.keys()
            assert all(isinstance(record[value], float | int) for value in shown.values)  # and so finite
    where = result["machines"][result["cells"][0]["machine"]]
    assert where["kind"] == "cpu" and where["device"] and torch.__version__.startswith(where["torch"])
    text = tables.table(experiment, result)
    labels = {tuple(r[n] for n in shown.rows) for each in result["cells"] for r in each["records"]}
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == (1 + len(labels)) * (len(shown.values) if shown.columns else 1)


@pytest.mark.parametrize("experiment", EVERY, ids=lambda each: each.name)
def test_sizes_differ_in_their_settings_only(experiment):
    tiny, full = experiment.settings("tiny"), experiment.settings("full")
    assert {*experiment.sizes} == {*SIZES}
    for size in SIZES:
        settings = experiment.settings(size)
        assert [*settings] == [*tiny]
        assert {*experiment.grid.values(), *experiment.scaled} <= settings.keys()
        assert experiment.name in experiments.NAMES and len(experiment.cells(size)) > 0
    # the tests go through every network and every way that the full size does
    for name in ("network", "structure", "methods", "tasks", "schedule"):
        assert tiny.get(name) == full.get(name)


def test_the_seed_decides_what_an_experiment_finds():
    experiment = experiments.load("collapse")
    settings, cell = experiment.settings("tiny"), experiment.cells("tiny")[0]
    first = experiment.run(settings, cell, CPU)
    assert first == experiment.run(settings, cell, CPU)
    assert first != experiment.run(settings, cell | {"seed": 7}, CPU)


# --- storing and going on ---


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path):
    whole, stopped = [], []
    expected = runner.run(counting(whole), "tiny", CPU, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        runner.run(counting(stopped, fail_at=whole[2]), "tiny", CPU, tmp_path)
    assert len(runner.missing(counting([]), "tiny", tmp_path)) == 2
    again = []
    result = runner.run(counting(again), "tiny", CPU, tmp_path)
    assert stopped[:2] + again == whole
    assert [(e["cell"], e["records"]) for e in result["cells"]] == [
        (e["cell"], e["records"]) for e in expected["cells"]
    ]
    assert [path.name for path in tmp_path.glob("*.json*")] == ["counting_tiny.json"]
    runner.run(counting(again), "tiny", CPU, tmp_path)
    assert len(again) == 2


def test_a_cell_in_which_a_method_was_interrupted_is_not_stored(tmp_path):
    def run(settings, cell, device):
        with pytest.warns(UserWarning, match="Interrupted"), Interruptible(lambda: "half of it is there."):
            raise KeyboardInterrupt
        return [{"width": 1, "value": 0.0}]

    experiment = counting([])
    object.__setattr__(experiment, "run", run)
    with pytest.raises(KeyboardInterrupt):
        runner.run(experiment, "tiny", CPU, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_results_of_other_settings_are_not_mixed(tmp_path):
    runner.run(counting([]), "tiny", CPU, tmp_path)
    other, calls = {"n": 4, "widths": [1, 2], "seeds": [0, 1]}, []
    with pytest.raises(results.OtherSettings, match=r"n: 3 there, 4 now.*Move or remove"):
        runner.run(counting(calls, sizes=other), "tiny", CPU, tmp_path)
    assert not calls


def test_a_file_that_holds_no_results_is_named(tmp_path):
    path = results.path_of("counting", "tiny", tmp_path)
    for text in ("{", "[]", '{"cells": 3}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"counting_tiny\.json does not hold results.*Remove it"):
            runner.run(counting([]), "tiny", CPU, tmp_path)


# --- tables ---


def test_tables_show_mean_and_spread_beside_the_paper(tmp_path):
    result = runner.run(counting([]), "tiny", CPU, tmp_path)
    assert tables.table(counting([]), result).splitlines() == [
        "| width | what came out | paper |",
        "|---|---:|---:|",
        "| 1 | 1.50 ± 0.71 | – |",
        "| 2 | 2.50 ± 0.71 | 2.5 |",
    ]


@pytest.mark.parametrize(
    ("values", "text"),
    [([1.0, 2.0], "1.50 ± 0.71"), ([0.123456], "0.123"), ([1234.5], "1,230"), ([None], "–"), ([], "–")]
    + [([100.0, 300.0], "200 ± 141"), ([0.5, 0.5], "0.5"), ([1.0, None], "1"), ([0.0, 2e-6], "0.0000 ± 0.0000")],
)  # fmt: skip
def test_spreads_have_the_digits_that_they_know(values, text):
    assert tables.spread(values) == text


def test_lessons_show_what_is_stored():
    for path in lessons.lessons():
        assert lessons.written(path) == nbformat.read(path, as_version=4), (
            f"{path.name} is out of date: python -m paper --write"
        )


def test_writing_changes_no_code_and_can_be_repeated(tmp_path):
    results_folder, unit = tmp_path / "results", tmp_path / "lessons" / "unit"
    unit.mkdir(parents=True)
    for path in lessons.lessons():
        (unit / path.name).write_bytes(path.read_bytes())
    lessons.write(tmp_path, results_folder)
    assert lessons.write(tmp_path, results_folder) == []
    for path in lessons.lessons():
        before, after = (nbformat.read(file, as_version=4).cells for file in (path, unit / path.name))
        assert [c for c in before if c.cell_type == "code"] == [c for c in after if c.cell_type == "code"]
        assert [c.source for c in after if "Not run at full size yet" in c.source]


def test_a_lesson_says_at_which_size_and_where_it_was_measured(tmp_path):
    experiment = counting([])
    nothing = tables.section(experiment, {})
    assert "Not run at full size yet: `make paper UNIT=counting`" in nothing and "|" not in nothing
    stored = runner.run(experiment, "hour", CPU, tmp_path)
    text = tables.section(experiment, {"hour": stored})
    where = stored["machines"][0]["device"]
    assert tables.table(experiment, stored) in text and where in text and "over 2 seeds" in text
    assert "at the size of an hour on two cores" in text and "n 3; widths 1, 2; seeds 0, 1" in text
    part = {**stored, "cells": stored["cells"][:3]}
    assert "3 of 4 cells so far" in tables.section(experiment, {"full": part})
    assert "Not run" not in tables.section(experiment, {"full": part})


# --- estimates ---


def test_estimates_follow_how_the_cost_grows():
    def run(settings, cell, device):
        until = time.process_time() + 0.02 + 0.2 * (settings["n"] / 100) ** 3
        while time.process_time() < until:
            pass
        return []

    experiment = counting([], sizes={"n": 100, "widths": [1, 2], "seeds": [0]})
    object.__setattr__(experiment, "run", run)
    object.__setattr__(experiment, "seconds", (0, 3))
    object.__setattr__(experiment, "scaled", {"n": 10})
    cells = experiment.cells("tiny")
    found = estimate.estimate(experiment, "tiny", CPU, cells, enough=0.05)
    assert 0.44 / 2 < found.cpu_seconds < 0.44 * 2


def test_an_estimate_leaves_out_the_time_of_loading_however_long_it_is(monkeypatch):
    """Counted in, as the cubic cost of a share of a hundredth, half a minute of decoding images became years."""
    monkeypatch.setattr(estimate, "FIRST_ENOUGH", 0.3)
    loaded = []

    def run(settings, cell, device):
        until = time.process_time() + (0.0 if loaded else 0.5) + 0.2 * (settings["n"] / 100) ** 3
        loaded.append(settings["n"])
        while time.process_time() < until:
            pass
        return []

    experiment = counting([], sizes={"n": 100, "widths": [1], "seeds": [0]})
    for name, value in {"run": run, "seconds": (0, 3), "scaled": {"n": 10}}.items():
        object.__setattr__(experiment, name, value)
    found = estimate.estimate(experiment, "tiny", CPU, experiment.cells("tiny"), enough=0.05)
    assert loaded[0] == 10 and found.cpu_seconds < 1


def test_an_estimate_waits_until_what_grows_shows_above_the_noise():
    """Ten milliseconds more at the smallest run, beside a constant cost, made a quarter of an hour one minute."""

    def run(settings, cell, device):
        until = time.process_time() + 0.1 + settings["n"] / 1000 + 0.02 * (settings["n"] == 10)
        while time.process_time() < until:
            pass
        return []

    experiment = counting([], sizes={"n": 1000, "widths": [1], "seeds": [0]})
    for name, value in {"run": run, "scaled": {"n": 10}}.items():
        object.__setattr__(experiment, name, value)
    found = estimate.estimate(experiment, "tiny", CPU, experiment.cells("tiny"), enough=0.05)
    assert 1.1 / 2 < found.cpu_seconds < 1.1 * 2


def test_an_estimate_is_near_what_a_run_takes(tmp_path):
    experiment = experiments.load("collapse")
    larger = dict(experiment.settings("tiny")) | {"draws": 1000, "stds": [1.0]}
    experiment = Experiment(**{**vars(experiment), "sizes": dict.fromkeys(SIZES, larger)})
    found = estimate.estimate(experiment, "tiny", CPU, experiment.cells("tiny"), enough=0.2)
    result = runner.run(experiment, "tiny", CPU, tmp_path)
    took = sum(each["cpu_seconds"] for each in result["cells"])
    most = max(each["megabytes"] for each in result["cells"])
    assert took / 3 < found.cpu_seconds < 3 * took
    assert most / 3 < found.megabytes < 3 * most


# --- the command ---


def test_the_command_estimates_runs_and_shows(tmp_path, capsys):
    command = ["collapse", "--size", "tiny", "--device", "cpu", "--folder", str(tmp_path)]
    main([*command, "--estimate"])
    said = capsys.readouterr().out
    assert "collapse, size tiny on cpu: 4 of 4 cells to do, about " in said and " GB" in said
    assert not [*tmp_path.iterdir()]
    main(command)
    assert "| 0.1 | " in capsys.readouterr().out
    main(["--folder", str(tmp_path)])
    listed = capsys.readouterr().out
    assert all(f"{each.name}, lesson {each.lesson}: {each.question}" in listed for each in EVERY)
    assert "tiny  4 cells, 4 stored" in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], r"Unknown experiment 'nothing'; choose from collapse.* all, or a lesson's number \(04"),
        (["collapse", "--size", "huge"], "invalid choice: 'huge'"),
        (["collapse", "--device", "nowhere"], "There is no device 'nowhere' here"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_full_size_wants_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main(["collapse", "--size", "full"])
    said = capsys.readouterr().err
    assert "no GPU" in said and "--size hour" in said and "--device cpu" in said


def test_missing_data_are_named_and_other_experiments_go_on(monkeypatch, tmp_path, capsys):
    def offline(*args, **kwargs):
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    monkeypatch.setenv("BDL_DATA", str(tmp_path / "no data"))
    with pytest.raises(SystemExit) as end:
        main(["collapse", "--size", "hour", "--device", "cpu", "--folder", str(tmp_path)])
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "collapse: MNIST is not in" in said and "BDL_DATA" in said and "bdl.data.digits()" in said
    assert "--size tiny needs no data that are not embedded" in said


def test_priors_are_compared_from_the_same_weights_by_the_same_steps(monkeypatch):
    """In theta, weights in units of the prior's std, both would grow with the prior and be compared instead of it."""
    from paper.experiments import prior_std

    seen = []

    def noted(model, x, y, settings, members, seed, initial):
        seen.append((initial.weights, settings["lr"] * model.layout.scale(initial.theta)[0]))
        raise KeyboardInterrupt

    monkeypatch.setattr(prior_std, "halves", noted)
    for std in (0.1, 3.0):
        with pytest.raises(KeyboardInterrupt):
            prior_std.run(prior_std.EXPERIMENT.sizes["tiny"], {"seed": 0, "std": std}, CPU)
    torch.testing.assert_close(seen[0], seen[1])
