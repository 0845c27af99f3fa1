"""Temperature sweeps against exact posteriors, and the top of a curve against parabolas."""

import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import bdlcore as bdl


def linear_data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12, 2, generator=g, dtype=torch.float64)
    return x, x @ torch.tensor([1.0, -0.5], dtype=torch.float64) + 0.3 * torch.randn(
        12, generator=g, dtype=torch.float64
    )


@pytest.mark.parametrize("kind", ["cold", "tempered"])
def test_sweep_has_the_exact_posterior_at_every_temperature(kind):
    x, y = linear_data()
    x_test, T = (
        torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        torch.tensor([0.1, 0.5, 1.0, 2.0]),
    )
    model = bdl.Model(bdl.nets.mlp(2, 1), prior=bdl.GaussianPrior(1.0), likelihood=bdl.Gaussian(0.3))
    sweep = bdl.temperature_sweep(
        model, x, y, x_test, T, kind=kind, chains=16, draws=400, leapfrog_steps=12, seed=3
    )
    assert sweep.functions.shape == (4, 6400, 5, 1)
    assert sweep.rhat.shape == sweep.acceptance.shape == (4,)
    assert (sweep.rhat < 1.03).all()
    phi, phi_test = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in (x, x_test))
    for temperature, f in zip(T.tolist(), sweep.functions[..., 0], strict=True):
        noise = 0.3 * temperature**0.5
        prior = temperature**0.5 if kind == "cold" else 1.0
        exact = bdl.linear_regression(phi, y, prior_std=prior, noise_std=noise).predict(phi_test)
        mean, std = exact.mean.flatten(), exact.epistemic_std.flatten()
        of_mean, of_square = (
            bdl.ess(values.unflatten(0, (16, 400))).min().item() for values in (f, (f - mean).square())
        )
        assert of_mean > 1000 and of_square > 700  # so that 5 standard errors are below 0.16 and 0.14 std
        assert ((f.mean(0) - mean).abs() / std < 5 / math.sqrt(min(of_mean, 6400))).all()
        torch.testing.assert_close(f.std(0), std, atol=0.0, rtol=5 / math.sqrt(2 * min(of_square, 6400)))


@pytest.mark.filterwarnings("ignore:.*diverged")
def test_a_sweep_of_what_is_read_is_that_of_tensors():
    x, y = (part.float() for part in linear_data())
    model = bdl.Model(bdl.nets.mlp(2, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
    settings = {
        "temperatures": torch.tensor([0.3, 1.0]),
        "kind": "cold",
        "chains": 2,
        "draws": 4,
        "warmup": 10,
    }
    read = DataLoader(TensorDataset(x, y), batch_size=5)
    want = bdl.temperature_sweep(model, x, y, x, **settings)
    found = bdl.temperature_sweep(model, read, None, read, **settings)
    assert torch.equal(found.functions, want.functions) and torch.equal(found.rhat, want.rhat)
    with pytest.raises(ValueError, match="leave out y"):
        bdl.temperature_sweep(model, read, y, x, **settings)
    with pytest.raises(ValueError, match="shuffle=True"):
        bdl.temperature_sweep(
            model, x, y, DataLoader(TensorDataset(x), batch_size=5, shuffle=True), **settings
        )


def test_sweep_asks_for_what_it_needs():
    x, y = linear_data()
    model = bdl.Model(bdl.nets.mlp(2, 1), prior=bdl.GaussianPrior(1.0), likelihood=bdl.Gaussian(0.3))
    one = torch.ones(1)
    with pytest.raises(ValueError, match="kind must be one of 'cold', 'tempered'"):
        bdl.temperature_sweep(model, x, y, x, one, kind="warm")
    with pytest.raises(ValueError, match="chains must be at least 2"):
        bdl.temperature_sweep(model, x, y, x, one, kind="cold", chains=1)
    with pytest.raises(ValueError, match="shape \\(T,\\)"):
        bdl.temperature_sweep(model, x, y, x, 1.0, kind="cold")
    with pytest.raises(ValueError, match="positive"):
        bdl.temperature_sweep(model, x, y, x, 0 * one, kind="cold")


def test_best_temperature_finds_the_top_of_a_parabola_in_log_temperature():
    T = torch.tensor([0.01, 0.03, 0.1, 0.4, 1.0, 3.0], dtype=torch.float64)
    tops = torch.tensor([0.02, 0.11, 0.5, 1.0, 1.7], dtype=torch.float64)
    scores = -(T.log() - tops.log()[:, None]).square() + 7
    torch.testing.assert_close(bdl.best_temperature(T, scores), tops)
    ends = torch.stack([T, -T])  # rising and falling: the ends themselves
    torch.testing.assert_close(bdl.best_temperature(T, ends), T[[-1, 0]])
    torch.testing.assert_close(bdl.best_temperature(T, torch.zeros(6)), torch.tensor(0.01))


def test_best_temperature_says_what_is_wrong():
    T = torch.tensor([0.1, 0.3, 1.0])
    with pytest.raises(ValueError, match="at least 3 temperatures"):
        bdl.best_temperature(T[:2], torch.zeros(2))
    with pytest.raises(ValueError, match="must increase"):
        bdl.best_temperature(T.flip(0), torch.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        bdl.best_temperature(T, torch.tensor([0.0, torch.nan, 0.0]))
