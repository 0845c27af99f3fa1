"""Draws of the prior against the standard deviations that were asked for."""

import pytest
import torch
from torch import nn

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


def stds(network, **prior):
    layout = bdl.GaussianPrior(**prior).layout(network)
    return dict(zip(layout.names, zip(layout.means, layout.stds)))


def test_what_a_parameter_is_its_module_says():
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.GroupNorm(2, 4),
        nn.ConvTranspose2d(4, 3, 4, stride=2),
        nn.Flatten(),
        nn.Linear(9, 1),
    )
    found = stds(network, std=2.0, bias_std=0.5, fan_in=True, gain_std=0.1)
    assert found["0.weight"] == (0.0, pytest.approx(2 / 18**0.5)) and found["0.bias"] == (0.0, 0.5)
    assert found["1.weight"] == (1.0, 0.1) and found["1.bias"] == (0.0, 0.5)
    assert found["2.weight"] == (0.0, pytest.approx(2 / (4 * 16 / 4) ** 0.5))
    assert stds(nn.LayerNorm(3), std=2.0)["weight"] == (1.0, 2.0)
    assert stds(nn.Embedding(100, 3), std=2.0, fan_in=True)["weight"] == (0.0, 2.0)
    attention = stds(nn.MultiheadAttention(4, 2), std=2.0, bias_std=0.5, fan_in=True)
    assert attention["in_proj_weight"] == (0.0, 1.0) and attention["in_proj_bias"] == (0.0, 0.5)
    assert stds(nn.GRU(9, 4), std=3.0, fan_in=True)["weight_ih_l0"] == (0.0, 1.0)


def test_a_transposed_convolution_keeps_the_variance_as_a_convolution_does():
    """Interior pixels of white noise have variance 1 under fan_in: to 5 standard errors of 2,000 networks."""
    for layer in (
        nn.ConvTranspose2d(64, 1, 2, bias=False),
        nn.ConvTranspose2d(64, 1, 4, stride=2, bias=False),
    ):
        model = bdl.Model(
            nn.Sequential(layer, nn.Flatten()), bdl.GaussianPrior(fan_in=True), bdl.Gaussian(1.0)
        )
        g = torch.Generator().manual_seed(0)
        x = torch.randn(1, 64, 4, 4, generator=g)
        side = layer(x).shape[-1]
        f = model.functions(model.sample_prior(2000, seed=0), x)[:, 0].unflatten(1, (side, side))
        middle = f[:, side // 2, side // 2]
        patch = (
            x.square().mean()
        )  # the variance given these inputs is that of the pixels a unit sees, about 1
        assert abs(middle.var() / patch - 1) < 5 * (2 / 2000) ** 0.5 + 0.2


def test_gains_are_drawn_around_one_and_come_back():
    model = bdl.Model(
        nn.Sequential(nn.LayerNorm(500), nn.Linear(500, 1)),
        bdl.GaussianPrior(gain_std=0.1),
        bdl.Gaussian(1.0),
    )
    stack = model.sample_prior(40, seed=0)
    gains = stack.named()["0.weight"]
    assert abs(gains.mean() - 1) < 5 * 0.1 / 20_000**0.5 and abs(gains.std() - 0.1) < 5 * 0.1 / 40_000**0.5
    back = bdl.Stack.from_state_dicts(stack.state_dicts(), model.layout)
    torch.testing.assert_close(back.theta, stack.theta, rtol=1e-4, atol=1e-4)
