"""What every notebook starts with, against the environment variables that it reads."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

import bdlcore as bdl


def test_setup_reads_scale_and_seed(monkeypatch):
    monkeypatch.setenv("BDL_SCALE", "small")
    monkeypatch.setenv("BDL_SEED", "2")
    course = bdl.setup()
    assert course.seeds(3) == [2000, 2001, 2002]
    assert course.scale == "small" and course.device == torch.device("cpu")
    assert "seeds shifted by 2000" in repr(course)
    monkeypatch.setenv("BDL_SEED", "one")
    with pytest.raises(ValueError, match="BDL_SEED must be a whole number, 0 or more; got 'one'"):
        bdl.setup()
    monkeypatch.setenv("BDL_SEED", "0")
    monkeypatch.setenv("BDL_SCALE", "huge")
    with pytest.raises(ValueError, match="BDL_SCALE must be one of"):
        bdl.setup()


def test_images_are_digits_and_at_paper_scale_those_of_mnist(monkeypatch):
    monkeypatch.setattr(bdl.data, "mnist", lambda n, seed, flatten: ("MNIST", n, seed, flatten))
    monkeypatch.setenv("BDL_SCALE", "small")
    small = bdl.setup()
    found, expected = small.images(30, 1, flatten=True), bdl.data.digits(30, 1, flatten=True)
    assert all(map(torch.equal, found, expected)) and found.x.shape[1] == small.image_side**2
    assert small.image_set == "8×8 digits" and small.same_images == "the same 1,797 images"
    monkeypatch.setenv("BDL_SCALE", "paper")
    paper = bdl.setup()
    assert paper.images(30, 1) == ("MNIST", 30, 1, False)
    assert (paper.image_side, paper.image_set) == (28, "MNIST") and "MNIST" in paper.same_images


def test_the_data_folder_is_the_variable_s(monkeypatch, tmp_path):
    monkeypatch.setenv("BDL_DATA", str(tmp_path))
    assert bdl.data.folder() == tmp_path
    monkeypatch.delenv("BDL_DATA")
    assert bdl.data.folder().parts[-2:] == (".cache", "bdlcore")


@pytest.mark.parametrize(
    "scale, asked, threads", [("small", (), 1), ("small", (None,), 2), ("small", (2,), 2), ("paper", (), 2)]
)
def test_small_tensors_get_one_thread(monkeypatch, scale, asked, threads):
    """With two, PyTorch took four times as long for a lesson: its threads wait for each other."""
    monkeypatch.setenv("BDL_SCALE", scale)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        bdl.setup(*asked)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_what_scipy_and_numpy_call_has_one_thread_as_well():
    """Theirs are libraries of their own, some of them loaded after the set-up."""
    program = """
        import bdlcore as bdl
        bdl.setup()
        import numpy, scipy.linalg, sklearn.decomposition
        from threadpoolctl import threadpool_info
        print({pool["num_threads"] for pool in threadpool_info()})
    """
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    printed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, env=free
    ).stdout
    assert printed == "{1}\n"


def test_a_number_of_threads_that_is_none_is_refused():
    with pytest.raises(ValueError, match="threads"):
        bdl.setup(0)
