"""A function of several seeds in processes of their own gives what a loop gives, and says what a loop says."""

import os
import signal
import warnings

import pytest
import torch

import bdlcore as bdl
from bdlcore._support import environment
from bdlcore._support.side_by_side import side_by_side


def of_a_notebook(function):
    """A function that is copied to other processes by value, as those of a notebook are: there is nothing to import."""
    function.__module__ = "__main__"
    return function


@pytest.fixture(autouse=True)
def two(monkeypatch):
    monkeypatch.setenv("BDL_WORKERS", "2")


MODEL = bdl.Model(bdl.nets.mlp(1, 5, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))


@of_a_notebook
def trained(given):
    """Without a random number, since seeds may be shifted here and not there."""
    x, y, start = given
    posterior = bdl.ensemble(MODEL, x, y, members=2, steps=20, initial=start)
    return posterior, os.getpid(), torch.get_num_threads()


@of_a_notebook
def whose(seed):
    return os.getpid()


@of_a_notebook
def end(seed):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_are_those_of_a_loop_in_order_from_two_processes():
    values = [(*bdl.data.two_clusters(20, 0.1, seed), MODEL.sample_prior(2, seed)) for seed in (3, 1, 2, 0)]
    found = side_by_side(trained, values)
    processes = {process for _, process, _ in found}
    assert os.getpid() not in processes and len(processes) <= 2
    assert {threads for *_, threads in found} == {1}
    for (posterior, *_), value in zip(found, values, strict=True):
        want = trained(value)[0]
        torch.testing.assert_close(posterior.stack.theta, want.stack.theta)
        assert posterior.model.layout == want.model.layout
        x = value[0]
        torch.testing.assert_close(posterior.predict(x).mean, want.predict(x).mean)


@pytest.mark.parametrize("scale, beside", [("small", True), ("paper", False)])
def test_a_notebooks_set_up_uses_them_where_it_computes_on_the_cpu(monkeypatch, scale, beside):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("BDL_SCALE", scale)
    assert (os.getpid() not in bdl.setup().each(whose, [0, 1])) is beside


def test_what_is_printed_and_warned_of_is_said_here(capfd):
    @of_a_notebook
    def speak(seed):
        print(f"seed {seed}")
        if seed == 1:
            warnings.warn("mind the gap", stacklevel=1)
        return seed

    with pytest.warns(UserWarning, match="mind the gap") as said:
        assert side_by_side(speak, range(3)) == [0, 1, 2]
    assert len(said) == 1
    assert capfd.readouterr() == ("seed 0\nseed 1\nseed 2\n", "")


def test_an_error_is_that_of_the_function():
    @of_a_notebook
    def fail(seed):
        raise ValueError(f"seed {seed} is wrong")

    with pytest.raises(ValueError, match="seed [01] is wrong"):
        side_by_side(fail, range(2))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes in another way")
def test_a_process_that_was_ended_is_named_and_the_next_call_works():
    with pytest.raises(RuntimeError, match="BDL_WORKERS=1"):
        side_by_side(end, range(2))
    assert side_by_side(abs, [-1, 2]) == [1, 2]


@pytest.mark.parametrize("workers, values", [("1", [1, 2]), ("2", [1])])
def test_one_process_or_one_value_stays_here(monkeypatch, workers, values):
    monkeypatch.setenv("BDL_WORKERS", workers)
    assert side_by_side(whose, values) == [os.getpid()] * len(values)


def test_a_number_of_processes_that_is_none_is_refused(monkeypatch):
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv("BDL_WORKERS", wrong)
        with pytest.raises(ValueError, match="BDL_WORKERS must be a whole number"):
            environment.workers()
    monkeypatch.delenv("BDL_WORKERS")
    assert environment.workers() in (1, 2)
