"""Draws of the prior against the standard deviations that were asked for."""

import pytest

import bdlcore as bdl


def test_prior_draws_have_the_stated_standard_deviation():
    model = bdl.Model(
        bdl.nets.mlp(3, 40, 2), bdl.GaussianPrior(std=2.0, bias_std=0.5, fan_in=True), bdl.Gaussian(1.0)
    )
    named = model.sample_prior(2000, seed=1).named()
    assert named["layers.1.weight"].std().item() == pytest.approx(2 / 40**0.5, rel=0.02)
    assert named["layers.0.weight"].std().item() == pytest.approx(2 / 3**0.5, rel=0.02)
    assert named["layers.0.bias"].std().item() == pytest.approx(0.5, rel=0.02)
    plain = bdl.GaussianPrior(std=0.3).layout(model.network)
    assert set(plain.stds) == {0.3}


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_standard_deviations_must_be_positive(std):
    for make in (bdl.GaussianPrior, bdl.Gaussian):
        with pytest.raises(ValueError, match="std must be positive and finite"):
            make(std)
