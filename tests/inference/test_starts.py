"""The curvature at a start against the exact one."""

from dataclasses import replace

import pytest
import torch
from conjugate import conjugate

from bdlcore.inference.run import Run
from bdlcore.inference.starts import largest_curvature


def test_curvature_is_measured_on_part_of_much_data():
    problem = conjugate(5000)
    # equal data, whose curvature is that of any part
    problem = replace(problem, x=problem.x[:1].repeat(5000, 1))
    run = Run("SGLD", "chain", *problem.data, 2, seed=0)
    theta = torch.zeros(2, 3, dtype=torch.float64)
    curvature = largest_curvature(run, theta)
    want = problem.standardised(theta)[1].max()
    torch.testing.assert_close(curvature, want.expand(2), rtol=1e-4, atol=0)
    assert run.gradients == pytest.approx(2 * 3 * 2000 / 5000)  # two for each of three Lanczos steps
