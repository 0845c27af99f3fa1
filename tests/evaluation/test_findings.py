"""Findings against curves and chains whose faults are known."""

import torch

from bdlcore.evaluation import findings


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_curves():
    falling = torch.linspace(5, 1, 100)
    assert findings.curve_finding("loss", falling).good is False
    assert "still changing: use more steps" in findings.curve_finding("loss", falling).verdict
    settled = 1 + 4 * torch.exp(-torch.arange(100) / 10)
    assert findings.curve_finding("loss", settled).good
    assert findings.curve_finding("loss", settled / 0 * 0).good is False
    assert "smaller lr" in findings.curve_finding("loss", falling * torch.nan).verdict


def test_steps_that_are_too_large_or_too_small():
    assert findings.acceptance_finding(torch.tensor([0.8, 0.1])).good is False
    assert findings.acceptance_finding(torch.tensor([0.8, 0.7])).good
    assert findings.acceptance_finding(torch.tensor([0.999])).good is None
    assert findings.divergence_finding(torch.tensor([0, 0]), 100).good
    assert findings.divergence_finding(torch.tensor([0, 1]), 100).good is None
    assert findings.divergence_finding(torch.tensor([9, 1]), 100).good is False
    assert findings.temperature_finding(torch.tensor([1.02, 0.97])).good
    assert "too wide" in findings.temperature_finding(torch.tensor([1.5])).verdict
    assert "not spread yet" in findings.temperature_finding(torch.tensor([0.5])).verdict
    assert findings.rhat_finding(normal(4, 100, 1) + torch.linspace(0, 0.35, 4)[:, None, None]).good is False
    assert findings.mode_finding(torch.tensor([0.1, 5.0])).good is False
