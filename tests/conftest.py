"""Fixtures that several test modules share."""

import pytest
import torch

import bdlcore as bdl


@pytest.fixture
def model():
    """A small regression network with two outputs."""
    return bdl.Model(
        bdl.nets.mlp(1, 10, 2), bdl.GaussianPrior(std=0.7, fan_in=True), bdl.Gaussian(noise_std=0.3)
    )


@pytest.fixture
def regression():
    """Twelve points for `model`: x (12, 1), y (12, 2), float64."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12, 1, generator=g, dtype=torch.float64)
    return x, torch.cat([x.sin(), x.cos()], 1)
