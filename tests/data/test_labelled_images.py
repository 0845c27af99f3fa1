"""Labelled images against the files and photos that they come from. Nothing is downloaded."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from image_files import save
from torchvision import datasets

import bdlcore as bdl


def test_digits_are_split_without_overlap():
    split = bdl.data.digits(100, seed=0)
    assert split.x.shape == (100, 1, 8, 8) and split.x_test.shape == (1697, 1, 8, 8)
    assert split.x.min() == -1 and split.x.max() == 1
    flat = bdl.data.digits(100, seed=0, flatten=True)
    torch.testing.assert_close(flat.x, split.x.flatten(1))
    assert torch.equal(flat.y, split.y) and not torch.equal(flat.y, bdl.data.digits(100, seed=1).y)
    everything = torch.cat([flat.x, flat.x_test]).sum(0)
    torch.testing.assert_close(everything, torch.cat(bdl.data.digits(7, 3, flatten=True)[::2]).sum(0))
    with pytest.raises(ValueError, match="1797 digits"):
        bdl.data.digits(1797)


def test_missing_download_names_the_alternative(monkeypatch, tmp_path):
    from torchvision import datasets

    def offline(*args, **kwargs):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr(datasets.MNIST, "download", offline)
    monkeypatch.setenv("BDL_DATA", str(tmp_path / "data"))
    with pytest.raises(RuntimeError, match=r"could not be downloaded.*BDL_DATA.*bdl\.data\.digits\(\)"):
        bdl.data.mnist(10)


# --- files that are not what they should be ---


def idx(*shape):
    """Bytes in MNIST's format, of the numbers 0, 1, 2, ..."""
    lengths = b"".join(n.to_bytes(4, "big") for n in shape)
    return (
        bytes([0, 0, 8, len(shape)]) + lengths + (np.arange(np.prod(shape)) % 10).astype(np.uint8).tobytes()
    )


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """BDL_DATA with six training and two test images in MNIST's format, and no network; the folder of the files."""

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    monkeypatch.setenv("BDL_DATA", str(tmp_path))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 6), ("t10k", 2)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(n, 28, 28))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(n))
    return raw


PAGE = b"<!DOCTYPE html><html><body>404: not found</body></html>"
TOLD = r"{} is not the file of MNIST that it should be.*saved web page. Remove it and call again.*bdl\.data\.digits\(\)"


@pytest.mark.parametrize(
    "name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"]
)
@pytest.mark.parametrize("content", [PAGE, PAGE[:3], b"", None], ids=["page", "head", "empty", "half"])
def test_a_damaged_file_of_mnist_is_named(small_mnist, name, content):
    assert bdl.data.mnist(4).x.shape == (4, 1, 28, 28)
    whole = (small_mnist / name).read_bytes()
    (small_mnist / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(RuntimeError, match=TOLD.format(name)):
        bdl.data.mnist(4)


def test_a_damaged_archive_of_mnist_is_named(small_mnist):
    (small_mnist / "train-images-idx3-ubyte").unlink()
    with pytest.raises(RuntimeError, match=r"MNIST is not in .* could not be downloaded"):
        bdl.data.mnist(4)
    (small_mnist / "train-images-idx3-ubyte.gz").write_bytes(PAGE)
    with pytest.raises(RuntimeError, match=TOLD.format("train-images-idx3-ubyte.gz")):
        bdl.data.mnist(4)


def test_a_data_folder_without_permission_is_named(small_mnist, monkeypatch):
    def closed(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(small_mnist))

    monkeypatch.setattr("torchvision.datasets.mnist.read_image_file", closed)
    with pytest.raises(
        PermissionError, match="raw may not be read or written .*Change its permissions.*BDL_DATA"
    ):
        bdl.data.mnist(4)


# --- patches of photos ---


def test_photo_patches_of_different_halves_are_standardised_and_labelled():
    split = bdl.data.photo_patches(40, 16, size=16, seed=0)
    assert split.x.shape == (40, 1, 16, 16) and split.x_test.shape == (16, 1, 16, 16)
    assert torch.bincount(split.y).tolist() == [5] * 8 and torch.bincount(split.y_test).tolist() == [2] * 8
    assert split.x.mean((2, 3)).abs().max() < 1e-4
    std = split.x.std((2, 3))
    assert std.median().item() == pytest.approx(1, abs=1e-4) and std.max() < 1.001
    again = bdl.data.photo_patches(40, 16, size=16, seed=0)
    assert torch.equal(split.x, again.x) and not torch.equal(
        split.x, bdl.data.photo_patches(40, 16, size=16, seed=1).x
    )


def test_photo_patches_come_from_the_half_they_should(monkeypatch):
    import skimage.data

    ramp = np.tile(np.r_[np.linspace(0, 0.5, 100), np.linspace(1, 0, 100)], (120, 1)) * 255
    for name in bdl.data.PHOTOS:  # brightness rises over the left half and falls over the right
        monkeypatch.setattr(skimage.data, name, lambda: ramp)
    split = bdl.data.photo_patches(16, 16, size=20, seed=0)
    assert (split.x[:, 0, :, -1] > split.x[:, 0, :, 0]).all()
    assert (split.x_test[:, 0, :, -1] < split.x_test[:, 0, :, 0]).all()


def test_photo_patches_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="size must be from 2 to"):
        bdl.data.photo_patches(8, 8, size=400)
    with pytest.raises(ValueError, match="n_test must be at least 1"):
        bdl.data.photo_patches(8, 0)


# --- CIFAR-10 in both of its layouts ---


@pytest.fixture
def official(tmp_path, monkeypatch):
    """BDL_DATA with five training batches of four images and four test images in CIFAR-10's layout; their pixels."""
    monkeypatch.setenv("BDL_DATA", str(tmp_path))
    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 3072), dtype=np.uint8)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    sums = []
    for k in range(6):
        rows = range(4 * k, 4 * k + 4)
        batch = {"data": pixels[4 * k : 4 * k + 4], "labels": [i % 10 for i in rows]}
        name = f"data_batch_{k + 1}" if k < 5 else "test_batch"
        sums.append([name, write(name, batch)])
    meta = datasets.CIFAR10.meta
    md5 = write(meta["filename"], {meta["key"]: list(bdl.data.CIFAR10)})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta | {"md5": md5})
    return torch.tensor(pixels).reshape(-1, 3, 32, 32)


def rows_of(x, pixels):
    """For each image its row in the pixels, which must hold it exactly."""
    found = ((x + 1) * 127.5).round()[:, None].eq(pixels[None]).flatten(2).all(2)
    assert found.sum(1).eq(1).all()
    return found.int().argmax(1)


def test_cifar10_in_torchvisions_layout(official):
    split = bdl.data.cifar10(20, seed=3)
    assert split.x.shape == (20, 3, 32, 32) and split.x.dtype == torch.float32
    assert -1 <= split.x.min() < -0.9 and 0.9 < split.x.max() <= 1
    rows = rows_of(split.x, official)
    assert sorted(rows.tolist()) == [*range(20)] and rows.tolist() != [*range(20)]
    assert torch.equal(split.y, rows % 10)
    assert rows_of(split.x_test, official).tolist() == [20, 21, 22, 23]
    assert split.y_test.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_damaged_file_of_cifar10_is_named(official, monkeypatch, tmp_path, name):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    file = tmp_path / datasets.CIFAR10.base_folder / name
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(
        RuntimeError, match=f"{name} is not the file of CIFAR10 that it should be.*photo_patches"
    ):
        bdl.data.cifar10(5)


def test_cifar10_takes_fewer_images_by_seed(official):
    few = bdl.data.cifar10(5, seed=3)
    assert torch.equal(few.x, bdl.data.cifar10(20, seed=3).x[:5])
    assert not torch.equal(few.x, bdl.data.cifar10(5, seed=4).x)


def test_cifar10_grey_is_the_luminance(official):
    colour, grey = bdl.data.cifar10(6), bdl.data.cifar10(6, grey=True)
    assert grey.x.shape == (6, 1, 32, 32) and torch.equal(grey.y, colour.y)
    red, green, blue = colour.x.unbind(1)
    assert torch.allclose(grey.x[:, 0], 0.299 * red + 0.587 * green + 0.114 * blue, atol=1e-6)


def test_cifar10_has_only_so_many_images(official):
    with pytest.raises(ValueError, match="CIFAR10 has 20 training images, got n=21"):
        bdl.data.cifar10(21)
    with pytest.raises(ValueError, match="n must be at least 1"):
        bdl.data.cifar10(0)


def test_cifar10_as_folders_of_images(monkeypatch, tmp_path):
    monkeypatch.setenv("BDL_DATA", str(tmp_path))
    for k, name in enumerate(bdl.data.CIFAR10):
        for part, count in (("train", 3), ("test", 1)):
            for i in range(count):
                save(tmp_path / "cifar10" / part / name / f"{i:04d}.jpg", (20 * k + 10, 0, 0))
    split = bdl.data.cifar10(12)
    assert split.x.shape == (12, 3, 32, 32) and split.x_test.shape == (10, 3, 32, 32)
    red = ((split.x[:, 0].mean((1, 2)) + 1) * 127.5 - 10) / 20
    assert torch.equal(red.round().long(), split.y)
    assert sorted(split.y_test.tolist()) == [*range(10)]
    assert bdl.data.cifar10(3, grey=True).x_test.shape == (10, 1, 32, 32)
    with pytest.raises(ValueError, match="30 images to train on, got n=31"):
        bdl.data.cifar10(31)


def test_folders_of_other_classes_are_not_cifar10(monkeypatch, tmp_path):
    monkeypatch.setenv("BDL_DATA", str(tmp_path))
    for name in ("cat", "dog"):
        save(tmp_path / "cifar10" / "train" / name / "0.png", 0)
    with pytest.raises(ValueError, match="holds the classes cat, dog; CIFAR-10 has airplane, "):
        bdl.data.cifar10(1)


def test_cifar10_without_a_network_names_the_alternative(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    monkeypatch.setenv("BDL_DATA", str(tmp_path / "data"))
    told = r"could not be downloaded \(no network\).*BDL_DATA.*cifar10/train/<class>.*bdl\.data\.photo_patches\(\)"
    with pytest.raises(RuntimeError, match=told):
        bdl.data.cifar10(10)
