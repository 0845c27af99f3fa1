"""Corruptions against SciPy and NumPy, and what they leave alone."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from bdlcore import corruptions


@pytest.fixture
def x():
    return torch.rand(3, 2, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.5])
def test_blur_equals_scipy(x, sigma):
    want = scipy.ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    torch.testing.assert_close(corruptions.blur(x, sigma), torch.from_numpy(want))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -3), (-1, 4), (7, 0), (-20, 30)])
def test_shift_equals_scipy_and_numpy(x, down, right):
    want = scipy.ndimage.shift(x.numpy(), (0, 0, down, right), order=0, mode="constant", cval=-1.0)
    torch.testing.assert_close(corruptions.shift(x, down, right, fill=-1.0), torch.from_numpy(want))
    wrapped = np.roll(x.numpy(), (down, right), (2, 3))
    torch.testing.assert_close(corruptions.shift(x, down, right, wrap=True), torch.from_numpy(wrapped))


def test_noise_has_its_std_and_scales_with_it():
    x = torch.zeros(10, 1, 100, 100, dtype=torch.float64)
    noisy = corruptions.noise(x, 0.3, seed=1)
    assert noisy.std().item() == pytest.approx(0.3, rel=0.01)
    torch.testing.assert_close(corruptions.noise(x, 0.6, seed=1), 2 * noisy)
    assert not torch.equal(corruptions.noise(x, 0.3, seed=2), noisy)


def test_severity_zero_changes_nothing(x):
    for same in (corruptions.noise(x, 0.0), corruptions.blur(x, 0.0), corruptions.shift(x)):
        assert torch.equal(same, x)
        assert same is not x


def test_shuffled_pixels_keep_values_and_distances(x):
    shuffled = corruptions.shuffle_pixels(x, seed=3)
    assert not torch.equal(shuffled, x)
    torch.testing.assert_close(shuffled.flatten(2).sort().values, x.flatten(2).sort().values)
    torch.testing.assert_close(torch.pdist(shuffled.flatten(1)), torch.pdist(x.flatten(1)))
    assert torch.equal(corruptions.shuffle_pixels(x[1:], seed=3), shuffled[1:])


def test_dtype_follows_the_images(x):
    for corrupt in (lambda x: corruptions.noise(x, 1), lambda x: corruptions.blur(x, 1.0), corruptions.shift):
        assert corrupt(x.float()).dtype == torch.float32


def test_bad_input_is_refused(x):
    with pytest.raises(ValueError, match=r"shape \(N, channels, height, width\), got \(7, 9\)"):
        corruptions.blur(x[0, 0], 1.0)
    with pytest.raises(ValueError, match="sigma must be at least 0"):
        corruptions.blur(x, -1.0)
    with pytest.raises(ValueError, match="std must be at least 0 and finite, got nan"):
        corruptions.noise(x, float("nan"))
    with pytest.raises(ValueError, match=r"std must be one number, got a tensor of shape \(2,\)"):
        corruptions.noise(x, torch.ones(2))
    with pytest.raises(TypeError, match="sigma must be a number, got '1'"):
        corruptions.blur(x, "1")
    for bad in (x.numpy(), x.tolist(), x.int(), x[:0], x[..., :0], x / 0):
        for corrupt in (
            lambda x: corruptions.noise(x, 0.1),
            lambda x: corruptions.blur(x, 1.0),
            corruptions.shift,
            corruptions.shuffle_pixels,
        ):
            with pytest.raises((TypeError, ValueError), match="^x (must|is empty|contains)"):
                corrupt(bad)
    with pytest.raises(TypeError, match="right must be a whole number"):
        corruptions.shift(x, right=0.5)
    with pytest.raises(ValueError, match="NaN"):
        corruptions.shuffle_pixels(torch.full((1, 1, 2, 2), torch.nan))
    with pytest.raises(ValueError, match=r"they reach 255.*x / 127\.5 - 1"):
        corruptions.noise(torch.full((1, 1, 2, 2), 255.0), 0.5)
