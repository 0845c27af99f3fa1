"""Folders of one's own images against the files in them."""

import numpy as np
import pytest
import torch
from image_files import save
from PIL import Image
from torchvision import datasets

import bdlcore as bdl


@pytest.fixture
def pets(tmp_path):
    """Six images of two classes; image i is grey level 10 i, so that its pixels say which it is."""
    for i in range(6):
        save(tmp_path / "pets" / ("cat", "dog")[i % 2] / f"{i}.png", (10 * i,) * 3, (4, 6))
    return tmp_path / "pets"


def numbers(x):
    """Which images these are."""
    return ((x[:, 0, 0, 0] + 1) * 127.5 / 10).round().int().tolist()


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
