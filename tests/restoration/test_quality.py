"""PSNR and SSIM against scikit-image, picture by picture."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import bdlcore as bdl


def pictures(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)], ids=str)
def test_both_equal_scikit_image(channels, lead):
    images, reference = pictures(*lead, channels, 9, 11), pictures(channels, 9, 11, seed=1)
    flat = images.reshape(-1, channels, 9, 11).numpy()
    psnr = [peak_signal_noise_ratio(reference.numpy(), image, data_range=1) for image in flat]
    np.testing.assert_allclose(bdl.psnr(images, reference), np.reshape(psnr, lead))
    ssim = [structural_similarity(reference.numpy(), i, channel_axis=0, data_range=1) for i in flat]
    np.testing.assert_allclose(bdl.ssim(images, reference), np.reshape(ssim, lead))


def test_psnr_of_known_errors():
    reference = pictures(3, 4, 5)
    errors = torch.tensor([0.1, 0.05, 0.0], dtype=torch.float64)
    got = bdl.psnr(reference + errors[:, None, None, None], reference)
    assert got[:2].tolist() == pytest.approx([20, 20 + 20 * math.log10(2)])
    assert got[2] == math.inf


def test_psnr_with_one_reference_for_each_picture():
    images, references = pictures(5, 2, 3, 4, 6), pictures(2, 3, 4, 6, seed=1)
    want = torch.stack([bdl.psnr(images[:, i], references[i]) for i in range(2)], 1)
    torch.testing.assert_close(bdl.psnr(images, references), want)


def test_psnr_of_some_pixels():
    images, reference = pictures(4, 3, 6, 7), pictures(3, 6, 7, seed=1)
    where = torch.zeros(6, 7, dtype=torch.bool)
    where[1:3, 2:6] = True
    cut = bdl.psnr(images[..., 1:3, 2:6], reference[..., 1:3, 2:6])
    torch.testing.assert_close(bdl.psnr(images, reference, where), cut)
    torch.testing.assert_close(bdl.psnr(images, reference, where | True), bdl.psnr(images, reference))


def test_ssim_at_its_extremes():
    reference = pictures(1, 16, 16)
    images = torch.stack([reference, 1 - reference])
    same, inverted = bdl.ssim(images, reference).tolist()
    assert same == pytest.approx(1) and inverted < -0.5


def test_dtype_follows_the_pictures():
    images, reference = pictures(2, 3, 8, 8).float(), pictures(3, 8, 8, seed=1).float()
    for quality in (bdl.psnr, bdl.ssim):
        assert quality(images, reference).dtype == torch.float32
        torch.testing.assert_close(
            quality(images, reference).double(),
            quality(images.double(), reference.double()),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("quality", [bdl.psnr, bdl.ssim])
def test_bad_pictures_are_named(quality):
    x = pictures(3, 8, 8)
    for bad, error, message in [
        (x.numpy(), TypeError, "must be a torch.Tensor .*, got ndarray. bdl.load_image"),
        ((255 * x).byte(), TypeError, "got torch.uint8: divide by 255"),
        (255 * x, ValueError, r"pixels of the scale \[0, 1\].*divide by 255"),
        (x.movedim(0, -1), ValueError, r"got \(8, 8, 3\). Use .permute\(2, 0, 1\)"),
        (x[0], ValueError, r"shape \(..., channels, height, width\)"),
        (x[:, :0], ValueError, "is empty"),
        (x / 0, ValueError, "NaN or infinite"),
        (x[:, 1:], ValueError, "different shapes cannot be compared"),
    ]:
        with pytest.raises(error, match=message):
            quality(bad, x)
        with pytest.raises(error, match=message):
            quality(x, bad)


def test_bad_masks_and_references_are_named():
    x = pictures(3, 8, 8)
    for where in (torch.ones(8, 8), torch.ones(8, 7, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"boolean mask of shape \(8, 8\) with at least one True"):
            bdl.psnr(x, x, where)
    with pytest.raises(ValueError, match="reference must be one"):
        bdl.ssim(x[None], x[None])


@pytest.mark.parametrize("quality", [bdl.psnr, bdl.ssim])
def test_a_reference_divided_by_255_twice_is_named(quality):
    x = pictures(3, 8, 8)
    with pytest.raises(ValueError, match="reference is almost black: .*divided by 255 twice"):
        quality(x / 255, x / 255)
    quality(x / 255, x)  # what a network draws may be that dark
    quality(x, torch.zeros_like(x))


@pytest.mark.parametrize("where", [[[True] * 8] * 8, np.ones((8, 8), bool)], ids=["list", "array"])
def test_a_mask_is_a_tensor(where):
    with pytest.raises(TypeError, match="where must be a torch.Tensor"):
        bdl.psnr(pictures(3, 8, 8), pictures(3, 8, 8), where)
