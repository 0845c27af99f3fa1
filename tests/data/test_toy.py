"""Toy data against what they say of themselves: gap, noise, classes."""

import pytest
import torch

import bdlcore as bdl


def test_two_clusters_leaves_its_gap_and_has_its_noise():
    x, y = bdl.data.two_clusters(20_000, noise_std=0.3, seed=0)
    assert x.shape == (20_000, 1) and not ((x > -0.3) & (x < 0.6)).any()
    assert x.min() < -0.99 and x.max() > 0.99
    assert (y - bdl.data.curve(x[:, 0])).std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(bdl.data.two_clusters(5, seed=1)[1], bdl.data.two_clusters(5, seed=1)[1])
    with pytest.raises(ValueError, match="gap must lie inside"):
        bdl.data.two_clusters(5, gap=(-2.0, 0.0))
    with pytest.raises(ValueError, match="n must be at least 1"):
        bdl.data.two_clusters(0)
    with pytest.raises(ValueError, match="noise_std must be positive"):
        bdl.data.two_clusters(5, noise_std=0.0)
    with pytest.raises(ValueError, match="noise_std must be one number"):
        bdl.data.two_clusters(5, noise_std=torch.ones(5, 1))
    for bad in (x.numpy(), x.tolist(), torch.arange(3), x[:0], torch.full((3,), torch.nan)):
        with pytest.raises((TypeError, ValueError), match="^x (must|is empty|contains)"):
            bdl.data.curve(bad)


def test_two_clusters_follow_the_target_that_they_are_given():
    target = bdl.data.random_curve(3)
    x, y = bdl.data.two_clusters(20_000, noise_std=0.3, seed=0, target=target)
    assert (y - target(x[:, 0])).std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(x, bdl.data.two_clusters(20_000, noise_std=0.3, seed=0)[0])
    for bad in (lambda x: x[:, None], lambda x: 0.0):
        with pytest.raises(ValueError, match=r"target must give a tensor of shape \(5,\)"):
            bdl.data.two_clusters(5, target=bad)


def test_random_curves_are_draws_of_an_rbf_process():
    x = torch.tensor([-0.9, -0.2, 0.0, 0.5], dtype=torch.float64)
    f = torch.stack([bdl.data.random_curve(seed, length_scale=0.4, std=2.0)(x) for seed in range(3000)])
    kernel = 4 * torch.exp(-((x[:, None] - x) ** 2) / (2 * 0.4**2))
    # a covariance from 3,000 draws has a standard error of at most 4 sqrt(2 / 3000) = 0.10
    assert (f.T @ f / len(f) - kernel).abs().max() < 0.6
    assert bdl.data.random_curve(1)(x.float()[None]).shape == (1, 4)
    assert torch.equal(bdl.data.random_curve(7)(x), bdl.data.random_curve(7)(x))
    for bad in ({"length_scale": 0.0}, {"std": -1.0}):
        with pytest.raises(ValueError, match="must be positive"):
            bdl.data.random_curve(0, **bad)


def test_moons_are_two_classes_around_the_origin():
    x, y = bdl.data.moons(500, seed=0)
    assert x.shape == (500, 2) and y.bincount().tolist() == [250, 250]
    assert x.mean(0).abs().max() < 0.1
    for bad in (-0.1, torch.ones(2), "0.1", float("nan")):
        with pytest.raises((TypeError, ValueError), match="noise_std must be"):
            bdl.data.moons(5, noise_std=bad)
