"""The benchmarks' machinery at tiny size: their speed is not tested, only that they run and report."""

import itertools
import json
import os
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from benchmarks import gradients, last_layer, nuts, race, report, samplers, startup, trajectories

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_gradients_run_and_report(tmp_path, monkeypatch):
    result = gradients.run(time.process_time, quick=True)
    assert {row["name"] for row in result["rows"]} >= {"bdlcore", "torch.func.vmap"}
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.save("gradients", 2, result)
    name = report.processor(report.machine(2))
    stored = json.loads((tmp_path / name / "gradients_2_cores.json").read_text())
    assert stored["machine"]["cores used"] == 2
    assert f"## {gradients.TITLE}, 2 cores, {name}\n\n| | 1 chain | 8 chains |" in report.write_tables()


def test_processors_keep_their_own_results_and_stand_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    for cpu, speed in (("Intel(R) Xeon(R) Processor @ 2.80GHz", 30.0), ("AMD EPYC", 5.0)):
        where = {"cpu": cpu, "instructions": "AVX2", "cores used": 1, "has more instructions": "Xeon" in cpu}
        monkeypatch.setattr(
            report, "machine", lambda cores, where=where: where | dict.fromkeys(report._PACKAGES, "1")
        )
        speeds = {"bdlcore": [speed] * 3, "JAX jit of vmap": [10.0] * 3, "torch.compile of vmap": [2.0] * 3}
        rows, text = report.table({"8 chains": speeds}, base="bdlcore")
        report.save("gradients", 1, {"title": gradients.TITLE, "rows": rows, "text": text})
    page = report.write_tables()
    assert "| | against | amd-epyc-avx2 | intel-xeon-avx2 | aim |" in page
    assert "| Gradient evaluations, 8 chains | compiled vmap or JAX | 0.50 | 3.00 | 0.9 |" in page
    assert "\n\nintel-xeon-avx2: held to these instructions" in page and "(held to AVX2)" in page


def test_what_was_measured_first_stands_beside_the_newest(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    where = {"cpu": "AMD EPYC", "instructions": "AVX2", "cores used": 1} | dict.fromkeys(
        report._PACKAGES, "1"
    )
    monkeypatch.setattr(report, "machine", lambda cores: where)
    for speed in (5.0, 7.0, 9.0):
        rows, text = report.table(
            {"8 chains": {"bdlcore": [speed] * 3, "JAX jit of vmap": [10.0] * 3}}, base="bdlcore"
        )
        report.save("gradients", 1, {"title": gradients.TITLE, "rows": rows, "text": text})
    page = report.write_tables()
    assert "| | against | amd-epyc-avx2, at first | amd-epyc-avx2 | aim |" in page
    assert "| Gradient evaluations, 8 chains | compiled vmap or JAX | 0.50 | 0.90 | 0.9 |" in page
    assert page.count(f"## {gradients.TITLE}") == 1


@pytest.mark.skipif(CORES < 2, reason="one core")
@pytest.mark.skipif(not torch.backends.cpu.get_cpu_capability().startswith("AVX"), reason="no AVX2")
def test_two_cores_are_two_threads_and_instructions_are_held_to_the_wish():
    probe = """
        import sys, types
        import torch
        from benchmarks.__main__ import measure

        def run(clock, quick):
            return {"title": f"{torch.get_num_threads()} {torch.backends.cpu.get_cpu_capability()}", "text": ""}

        sys.modules["benchmarks.probe"] = types.SimpleNamespace(run=run)
        measure("probe", 2, "avx2", quick=True)
    """
    printed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(probe)], capture_output=True, text=True, check=True
    ).stdout
    assert printed.startswith("2 AVX2, 2 core(s)")


def test_samplers_run_and_name_missing_peers(monkeypatch):
    monkeypatch.setattr(samplers, "LEAPFROG_STEPS", 3)
    monkeypatch.setattr(samplers, "find_spec", lambda package: package == "torch")
    result = samplers.run(time.process_time, quick=True)
    assert "| BlackJAX, compiled | not installed |" in result["text"]
    assert set(result["effective samples"]) == {samplers.LOOP, "bdlcore on vmap gradients", "bdlcore"}


def test_trajectories_run_and_report():
    result = trajectories.run(time.process_time, quick=True)
    assert {row["name"] for row in result["rows"]} == {trajectories.LOOP, "bdlcore, a stack of 8"}
    assert {row["case"] for row in result["rows"]} == set(trajectories.FIELDS)


@pytest.mark.filterwarnings("ignore:.*diverged")
def test_the_last_layer_runs_and_reports():
    result = last_layer.run(time.process_time, quick=True)
    assert "| 5,130 weights sampled, 11,439,168 frozen, 40 images | |" in result["text"]
    assert len(result["rows"]) == 7


def test_a_start_is_timed_in_fresh_processes():
    result = startup.run(time.process_time, quick=True)
    assert [row["name"] for row in result["rows"]] == list(startup.PROGRAMS)
    assert all(row["seconds"] > 0 and row["import torch"] > 0 for row in result["rows"])


@pytest.mark.filterwarnings("ignore:.*diverged")
def test_static_hmc_is_judged_beside_nuts():
    result = nuts.run(time.process_time, quick=True)
    assert [row["name"] for row in result["rows"]] == ["bdlcore, 25 leapfrog steps", "NumPyro's NUTS"]
    assert result["rows"][0]["gradients a draw"] == 25 and result["rows"][1]["missing"] == "left out"
    assert "| NumPyro's NUTS | left out |" in result["text"]


def test_contestants_take_turns_and_the_missing_are_named():
    ticks, order = itertools.count(), []

    def worker(name, work):
        return lambda: order.append(name) or work

    speeds = race.race(
        {"slow": worker("slow", 1), "absent": "not installed", "fast": worker("fast", 4)},
        rounds=3,
        seconds=1e-9,
        clock=lambda: next(ticks),
    )
    assert speeds == {"slow": [1, 1, 1], "absent": "not installed", "fast": [4, 4, 4]}
    assert order[-6:] == ["slow", "fast"] * 3
    rows, text = report.table({"case": speeds}, base="slow")
    assert text.splitlines()[2:] == [
        "| slow | 1 (×1) |",
        "| absent | not installed |",
        "| fast | 4 (×4) |",
    ]
    assert rows[1] == {"name": "absent", "case": "case", "missing": "not installed"}


def test_ratio_compares_within_rounds():
    assert race.ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == pytest.approx(2)
