"""Rows split over processes give what one process gives; what is finished survives, whatever ends a process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.distributed as dist
from distributed_runs import MODEL, OFTEN, RUNS, X, Y, run
from safetensors import SafetensorError

import bdlcore as bdl
from bdlcore.inference.distributed import _must_agree
from bdlcore.inference.parts import KINDS, Job

EXPECTED_SECONDS = 60
SCRIPT = Path(__file__).parents[1] / "distributed_runs.py"
ROUNDED = {"acceptance", "configurational_temperature"}  # running means, which go on from a rounded one
pytestmark = pytest.mark.filterwarnings("ignore:.*(not at a mode|hardly moved|climbed|diverged)")


def started(config, *command):
    """What a command of Python's says, that ends within ten minutes."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "BDL_PROGRESS": "0", "PYTHONWARNINGS": "ignore"}
    env["BDL_TEST_SHIFT"] = str(config.getoption("seed_shift"))
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def loaded(path):
    for kind in KINDS.values():
        try:
            return kind.load(path, MODEL)
        except ValueError:
            pass
    raise AssertionError(f"{path} holds no posterior")


def must_be_same(found, wanted, rounded=()):
    """Equal bit for bit in all that does not say how long it took."""
    (tensors, facts), (others, wanted_facts) = found.record(), wanted.record()
    assert tensors.keys() == others.keys() and len(tensors) > 1
    for name, value in tensors.items():
        exact = {} if name in rounded else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(
            value, others[name], equal_nan=True, **exact, msg=lambda m, n=name: f"{n}: {m}"
        )
    for of in (facts, wanted_facts):
        del of["seconds"]
        if rounded:  # to a whole number, whenever a run stops
            assert of.pop("gradient_evaluations") == pytest.approx(wanted.gradient_evaluations, rel=0.03)
    assert json.dumps(facts) == json.dumps(wanted_facts)


def gradients(monkeypatch, then=None):
    """Counts passes through the network from now on, and calls `then(count)` before each."""
    counted, evaluate = [0], bdl.LogPosterior._evaluate

    def count(self, theta, **settings):
        counted[0] += 1
        if then is not None:
            then(counted[0])
        return evaluate(self, theta, **settings)

    monkeypatch.setattr(bdl.LogPosterior, "_evaluate", count)
    return counted


@pytest.fixture(scope="module")
def processes(tmp_path_factory, pytestconfig):
    """The folder that four processes, four of which one is killed, and two of which one is killed have worked in."""
    folder = tmp_path_factory.mktemp("processes")
    return folder, started(pytestconfig, SCRIPT, folder)


# --- one process or several ---


@pytest.mark.parametrize("name", RUNS)
def test_four_processes_give_what_one_gives(processes, name):
    folder, done = processes
    assert done.returncode == 0, done.stderr
    wanted = run(name)
    assert wanted.chains == 16
    for rank in range(4):
        must_be_same(loaded(folder / f"{name}-{rank}"), wanted)


@pytest.mark.parametrize("name", RUNS)
def test_parts_give_what_the_method_gives(name):
    method, settings = RUNS[name]
    whole = method(MODEL, X, Y, **settings)
    must_be_same(run(name, rows_per_part=16), whole)
    parts, wanted = run(name, rows_per_part=3).record()[0], whole.record()[0]
    for name, value in wanted.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_a_range_of_rows_is_split_too():
    part = bdl.distributed(bdl.ensemble, MODEL, X, Y, members=range(5, 9), steps=9, rows_per_part=3, seed=2)
    torch.testing.assert_close(
        part.stack.theta, bdl.ensemble(MODEL, X, Y, members=9, steps=9, seed=2).stack.theta[5:]
    )
    assert part.rows == (5, 6, 7, 8)
    assert [len(rows) for rows in Job.of(bdl.ensemble, MODEL, X, Y, {"members": range(5, 15)}).split(4)] == [
        3,
        3,
        4,
    ]


def test_data_that_are_read_are_the_same_in_parts():
    pairs = torch.utils.data.TensorDataset(X, Y)
    more = {"chains": 4, "draws": 5, "warmup": 3, "thinning": 1, "initial_steps": 5, "batch_size": 6}
    must_be_same(
        bdl.distributed(bdl.sgld, MODEL, pairs, rows_per_part=4, **more), bdl.sgld(MODEL, X, Y, **more)
    )


def test_a_group_of_processes_that_there_is_is_used():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        must_be_same(run("ensemble", rows_per_part=16), bdl.ensemble(MODEL, X, Y, **RUNS["ensemble"][1]))
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_gradients_of_other_parts_differ_by_rounding_alone():
    """Ten times the rounding of float32, however many rows are computed side by side."""
    model = bdl.Model(bdl.nets.mlp(1, 50, 50, 1), MODEL.prior, MODEL.likelihood)
    density, theta = bdl.LogPosterior(model, X.float(), Y.float()), model.sample_prior(16, seed=0).theta
    value, gradient = density(theta)
    for rows in (1, 3, 4):
        values, parts = zip(*map(density, theta.split(rows)), strict=True)
        bound = 10 * torch.finfo(torch.float32).eps * gradient.norm(dim=1, keepdim=True)
        assert ((torch.cat(parts) - gradient).abs() < bound).all()
        torch.testing.assert_close(torch.cat(values), value, rtol=1e-5, atol=0)


# --- killed and continued ---


@pytest.mark.parametrize(("name", "codes"), [("sgld", [1, -9, 1, 1]), ("sghmc", [1, -9])])
def test_a_killed_process_loses_nothing_that_was_saved(processes, name, codes, monkeypatch):
    folder, done = processes
    assert codes in json.loads(done.stdout)
    assert "Another process of this run has ended" in done.stderr and "start the run again" in done.stderr
    assert [*(folder / name).glob("*.part")], "it was killed while it wrote"
    counted = gradients(monkeypatch)
    wanted = run(name, **OFTEN)
    whole, counted[0] = counted[0], 0
    found = run(name, folder=folder / name, **OFTEN)
    assert 0 < counted[0] < 0.7 * whole
    must_be_same(found, wanted, ROUNDED)
    assert not [*(folder / name).glob("*.part")]
    counted[0] = 0
    must_be_same(run(name, folder=folder / name), wanted, ROUNDED)
    assert counted[0] == 0, "there was nothing left to do"


def test_torchrun_starts_a_killed_run_again(tmp_path, pytestconfig):
    command = "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"
    done = started(pytestconfig, *command, SCRIPT, tmp_path, "hmc")
    assert done.returncode == 0 and "exitcode: -9" in done.stderr, done.stderr
    wanted = run("hmc", **OFTEN)
    for rank in range(2):
        must_be_same(loaded(tmp_path / f"hmc-{rank}"), wanted, ROUNDED)


@pytest.mark.filterwarnings("ignore:Interrupted")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["hmc", "sghmc", "ensemble", "laplace"])
def test_who_is_asked_to_end_keeps_what_is_finished(name, number, tmp_path, monkeypatch):
    counted = gradients(monkeypatch)
    wanted = run(name)
    whole, counted[0], before = counted[0], 0, signal.getsignal(number)
    with monkeypatch.context() as context:
        gradients(context, lambda n: os.kill(os.getpid(), number) if n == 0.6 * whole // 1 else None)
        with pytest.raises(
            KeyboardInterrupt, match=f"Make the same call to go on from what is in {tmp_path}"
        ):
            run(name, folder=tmp_path)
    assert signal.getsignal(number) is before
    counted[0] = 0
    must_be_same(run(name, folder=tmp_path), wanted, ROUNDED)
    assert counted[0] < 0.7 * whole


def test_without_a_folder_an_interrupt_keeps_nothing(monkeypatch):
    def stop(count):
        if count == 5:
            raise KeyboardInterrupt

    gradients(monkeypatch, stop)
    with (
        pytest.warns(UserWarning, match="Interrupted"),
        pytest.raises(KeyboardInterrupt, match="interrupted.$"),
    ):
        run("ensemble")


@pytest.mark.filterwarnings("ignore:Interrupted")
def test_a_request_to_end_waits_for_a_file_that_is_being_written(tmp_path, monkeypatch):
    save_file = safetensors.torch.save_file

    def save(*given, **more):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        save_file(*given, **more)

    monkeypatch.setattr(safetensors.torch, "save_file", save)
    with pytest.raises(KeyboardInterrupt):
        run("sgld", folder=tmp_path, save_every=4)
    monkeypatch.undo()
    part = bdl.Posterior.load(tmp_path / "chains-0-3.safetensors", MODEL)
    assert part.draws.shape[:2] == (4, 4)


# --- what goes wrong ---


def test_a_full_disk_ends_no_run(tmp_path, monkeypatch):
    left, save_file = [3], safetensors.torch.save_file

    def save(tensors, path, metadata):
        left[0] -= 1
        if left[0] < 0:
            Path(path).write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, path, metadata)

    wanted = run("hmc", **OFTEN)
    monkeypatch.setattr(safetensors.torch, "save_file", save)
    with pytest.warns(
        UserWarning, match=r"No space left on device.*Free space.*The run goes on, and tries again"
    ):
        must_be_same(run("hmc", folder=tmp_path, **OFTEN), wanted, ROUNDED)
    monkeypatch.undo()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["chains-0-1.safetensors", "run.json"]
    assert bdl.Posterior.load(tmp_path / "chains-0-1.safetensors", MODEL).draws.shape[1] == 9
    must_be_same(run("hmc", folder=tmp_path, **OFTEN), wanted, ROUNDED)


def test_a_damaged_file_is_named_and_the_others_are_kept(tmp_path, monkeypatch):
    wanted, file = run("ensemble", folder=tmp_path), tmp_path / "members-4-7.safetensors"
    whole = file.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], whole[:-1], b"something else"):
        file.write_bytes(broken)
        with pytest.raises(
            ValueError, match="members-4-7.* Or remove members-4-7.safetensors and make the same call"
        ):
            run("ensemble", folder=tmp_path)
    file.unlink()
    counted = gradients(monkeypatch)
    must_be_same(run("ensemble", folder=tmp_path), wanted)
    assert counted[0] == RUNS["ensemble"][1]["steps"]
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged .*Give another folder, or remove this one"):
        run("ensemble", folder=tmp_path)


def test_a_folder_is_for_one_run(tmp_path):
    run("ensemble", folder=tmp_path)
    for change, names in (({"seed": 1}, "seed"), ({"lr": 0.1, "steps": 3}, "steps, lr")):
        with pytest.raises(
            ValueError, match=f"belongs to a run with another {names}. Give a folder of its own"
        ):
            run("ensemble", folder=tmp_path, **change)
    settings = RUNS["ensemble"][1]
    noisier = bdl.Model(MODEL.network, MODEL.prior, bdl.Gaussian(0.3))
    for given, names in (((MODEL, X + 1e-9, Y), "x"), ((noisier, X, Y), "model")):
        with pytest.raises(ValueError, match=f"another {names}. Give"):
            bdl.distributed(bdl.ensemble, *given, folder=tmp_path, **settings)
    run("ensemble", folder=tmp_path, chunk_size=3)  # which changes no result
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="The folder .*file cannot be made .*Give another one"):
        run("ensemble", folder=tmp_path / "file")


def test_processes_with_other_data_are_named():
    job = {"x": "1", "seed": "2"}
    _must_agree([job, dict(job)])
    with pytest.raises(
        ValueError, match="Process 2 was given another x than process 0. Give all of them the same"
    ):
        _must_agree([job, job, job | {"x": "3"}])


@pytest.mark.filterwarnings("ignore:.*became NaN")
@pytest.mark.parametrize("name", ["ensemble", "sgld"])
def test_rows_that_break_are_missing_whoever_has_them(name, tmp_path):
    """All rows of the first part, and one of the second."""
    method, settings = RUNS[name]
    initial = MODEL.sample_prior(16, seed=3, dtype=torch.float64)
    initial.theta[[0, 1, 2, 3, 5]] = torch.nan
    more = {"initial": initial, "likelihood_temperature": torch.linspace(0.5, 1, 16)}
    if name == "sgld":
        more["step_size"] = torch.linspace(1e-4, 1e-3, 16)
    wanted = method(MODEL, X, Y, **settings | more)
    assert wanted.rows == (4, *range(6, 16))
    with pytest.warns(UserWarning, match=r"member\(s\) \[5\]|chain\(s\) \[5\]"):
        found = run(name, **more, folder=tmp_path, save_every=3)
    for again in (found, run(name, **more, folder=tmp_path)):
        assert again.rows == wanted.rows
        torch.testing.assert_close(again.stack.theta, wanted.stack.theta, rtol=1e-6, atol=1e-6)
    initial.theta[:] = torch.nan
    with pytest.raises(RuntimeError, match=r"\[0, 1, 2, 3\] became NaN|became NaN or infinite at step 0"):
        run(name, **more)


def of_ones_own(model, x, y, *, chains=2, seed=0):
    return 3


@pytest.mark.parametrize(
    ("method", "settings", "error", "message"),
    [
        (
            bdl.predict,
            {},
            TypeError,
            "method must be a function of chains, members or modes and a seed.*predict",
        ),
        ("hmc", {}, TypeError, "method must be a function"),
        (bdl.hmc, {"members": 3}, TypeError, "unexpected keyword argument 'members'"),
        (bdl.hmc, {"chains": 0}, ValueError, "chains must be at least 1"),
        (bdl.hmc, {"draws": 0}, ValueError, "draws must be at least 1"),
        (bdl.hmc, {"resume": object()}, ValueError, "resume cannot be split.*Give a folder"),
        (bdl.hmc, {"chains": 3, "temperature": torch.ones(2)}, ValueError, r"shape \(3,\); got \(2,\)"),
        (bdl.hmc, {"chains": 3, "initial": MODEL.sample_prior(2, 0)}, ValueError, "2 rows for 3 chains"),
        (bdl.hmc, {"probe": X.expand(-1, 2)}, ValueError, "R-hat cannot be computed at this probe"),
        (bdl.ensemble, {"rows_per_part": 0}, ValueError, "rows_per_part must be at least 1"),
        (bdl.hmc, {"save_every": 0}, ValueError, "save_every must be at least 1"),
        (bdl.hmc, {"folder": 3}, TypeError, "folder must be a path"),
        (bdl.laplace, {"modes": MODEL.sample_prior(2, 0)}, TypeError, "modes must be a whole number"),
        (of_ones_own, {}, TypeError, "of_ones_own returned a int; parts of it cannot be joined"),
    ],
)
def test_what_cannot_be_split_is_named(method, settings, error, message):
    with pytest.raises(error, match=message):
        bdl.distributed(method, MODEL, X, Y, **settings)
