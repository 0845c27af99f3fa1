"""What every notebook starts with, against the environment variables that it reads."""

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
