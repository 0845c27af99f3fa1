"""Image sets on disk: CIFAR-10 in both of its layouts, and folders of one's own images. Nothing is downloaded."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

import bdlcore as bdl


def save(path, colour, size=(32, 32), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def pets(tmp_path):
    """Six images of two classes; image i is grey level 10 i, so that its pixels say which it is."""
    for i in range(6):
        save(tmp_path / "pets" / ("cat", "dog")[i % 2] / f"{i}.png", (10 * i,) * 3, (4, 6))
    return tmp_path / "pets"


def numbers(x):
    """Which images these are."""
    return ((x[:, 0, 0, 0] + 1) * 127.5 / 10).round().int().tolist()


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


def test_a_folder_is_split_at_random(pets):
    split = bdl.data.image_folder(pets, 4, seed=1)
    assert split.x.shape == (4, 3, 6, 4) and split.x_test.shape == (2, 3, 6, 4)
    train, test = numbers(split.x), numbers(split.x_test)
    assert sorted(train + test) == [*range(6)]
    assert split.y.tolist() == [i % 2 for i in train] and split.y_test.tolist() == [i % 2 for i in test]
    assert numbers(bdl.data.image_folder(pets, 4, seed=1).x) == train
    assert any(numbers(bdl.data.image_folder(pets, 4, seed=s).x) != train for s in (2, 3))
    assert len(bdl.data.image_folder(str(pets), 4, n_test=1).x_test) == 1


def test_given_folders_of_training_and_test_images_stay_apart(tmp_path):
    for i in range(8):
        part = "train" if i < 5 else "test"
        save(tmp_path / part / ("cat", "dog")[i % 2] / f"{i}.png", (10 * i,) * 3)
    split = bdl.data.image_folder(tmp_path, 5, n_test=2)
    assert sorted(numbers(split.x)) == [0, 1, 2, 3, 4] and {*numbers(split.x_test)} < {5, 6, 7}
    with pytest.raises(ValueError, match="5 images to train on, got n=6"):
        bdl.data.image_folder(tmp_path, 6)
    with pytest.raises(ValueError, match="3 images to test on, got n_test=4"):
        bdl.data.image_folder(tmp_path, 5, n_test=4)
    save(tmp_path / "test" / "bird" / "0.png", 0)
    with pytest.raises(ValueError, match="only one of train and test has the class 'bird'"):
        bdl.data.image_folder(tmp_path, 5)


def test_only_images_that_are_asked_for_are_read(monkeypatch, pets):
    opened, loader = [], datasets.folder.pil_loader
    monkeypatch.setattr(datasets.folder, "pil_loader", lambda file: opened.append(file) or loader(file))
    bdl.data.image_folder(pets, 2, n_test=1)
    assert len({*opened}) == len(opened) == 3


def test_a_broken_file_is_named(pets):
    whole = (pets / "dog" / "1.png").read_bytes()
    for content in (b"no image", whole[: len(whole) // 2]):
        (pets / "dog" / "1.png").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"dog.1\.png is no readable image \(.*\)\. Remove or replace it"
        ):
            bdl.data.image_folder(pets, 5)


def test_images_of_different_sizes_need_a_size(pets):
    save(pets / "cat" / "wide.png", (200, 200, 200), (12, 6))
    with pytest.raises(ValueError, match=r"has \d+ x 6 pixels, the images before it \d+ x 6\. Give size="):
        bdl.data.image_folder(pets, 6)
    split = bdl.data.image_folder(pets, 6, size=3)
    assert split.x.shape == (6, 3, 3, 3)
    with pytest.raises(ValueError, match="size must be at least 1"):
        bdl.data.image_folder(pets, 4, size=0)


def test_the_middle_square_is_kept(tmp_path):
    image = np.zeros((4, 12), np.uint8)
    image[:, 4:8] = 255
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "0.png")  # grey file: three equal channels
    assert torch.equal(bdl.data.image_folder(tmp_path, 1, size=4).x, torch.ones(1, 3, 4, 4))


def test_folders_that_hold_no_classes_of_images(tmp_path, pets):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere\. Give one folder per class"):
        bdl.data.image_folder(tmp_path / "nowhere", 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="does not hold classes of images.*Give one folder per class"):
        bdl.data.image_folder(tmp_path / "empty", 1)
    (pets / "fish").mkdir()
    with pytest.raises(FileNotFoundError, match="fish.*Give one folder per class"):
        bdl.data.image_folder(pets, 1)
    save(tmp_path / "one" / "train" / "0.png", 0)
    with pytest.raises(ValueError, match="holds a single class, 'train'.*or folders train and test"):
        bdl.data.image_folder(tmp_path / "one", 1)


def test_some_images_must_be_left_for_testing(pets):
    with pytest.raises(ValueError, match="has 5 images to train on, got n=6"):
        bdl.data.image_folder(pets, 6)
    with pytest.raises(TypeError, match="n must be a whole number"):
        bdl.data.image_folder(pets, 2.0)
