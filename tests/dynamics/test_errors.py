"""The relative error of roll-outs, and the mean over orders of magnitude."""

import pytest
import torch

from bdlcore.dynamics import geometric_mean, relative_error


def test_relative_error_by_hand():
    true = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    predicted = torch.tensor([[3.0, 4.0], [-1.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    assert relative_error(predicted, true).tolist() == pytest.approx([0.0, 1.0, 0.5, 1.0])
    assert torch.equal(relative_error(predicted, true), relative_error(true, predicted))


def test_a_lost_motion_is_infinitely_far_off():
    lost = torch.tensor([[torch.nan, 0.0], [torch.inf, 0.0], [1.0, 1.0]])
    assert relative_error(lost, torch.ones(3, 2)).tolist() == [1.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="true contains 2"):
        relative_error(torch.ones(3, 2), lost)


def test_geometric_mean():
    errors = torch.tensor([[1e-4, 1e-2], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(geometric_mean(errors), torch.tensor([1e-3, 1e-6], dtype=torch.float64))
    torch.testing.assert_close(geometric_mean(errors, 0)[1], torch.tensor(0.1, dtype=torch.float64))


def test_bad_arguments():
    with pytest.raises(ValueError, match="same width"):
        relative_error(torch.ones(2, 3), torch.ones(2, 2))
    with pytest.raises(TypeError, match="predicted"):
        relative_error([1.0], torch.ones(1))
    with pytest.raises(ValueError, match="negative"):
        geometric_mean(-torch.ones(2))
    with pytest.raises(ValueError, match="floor"):
        geometric_mean(torch.ones(2), floor=0.0)
