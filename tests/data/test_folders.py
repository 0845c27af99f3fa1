"""Folders of one's own images against the files in them."""

import os

import numpy as np
import pytest
import torch
from image_files import save
from PIL import Image
from torchvision import datasets

import bdlcore as bdl
from bdlcore.data import folders, photos


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
    opened, reader = [], photos.rgb
    monkeypatch.setattr(photos, "rgb", lambda file: opened.append(file) or reader(file))
    bdl.data.image_folder(pets, 2, n_test=1)
    assert len({*opened}) == len(opened) == 3


def test_a_broken_file_is_named(pets):
    whole = (pets / "dog" / "1.png").read_bytes()
    for content in (b"no image", whole[: len(whole) // 2]):
        (pets / "dog" / "1.png").write_bytes(content)
        with pytest.raises(
            ValueError,
            match=r"dog.1\.png is not an image that Pillow can read \(.*\).* Replace the file or remove it",
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


# --- files as load_image reads them ---


def test_images_are_read_as_load_image_does(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # taken sideways
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "0.png", exif=exif)
    split = bdl.data.image_folder(tmp_path, 1)
    assert split.x.shape == (1, 3, 7, 5)
    torch.testing.assert_close((split.x[0] + 1) / 2, bdl.load_image(tmp_path / "a" / "0.png"))


def test_more_than_8_bits_are_refused_rather_than_cut_off(pets):
    Image.fromarray(np.full((6, 4), 40_000, np.uint16)).save(pets / "dog" / "1.png")
    with pytest.raises(ValueError, match=r"dog.1\.png has more than 8 bits per channel; save it with 8"):
        bdl.data.image_folder(pets, 5)


def test_an_image_of_too_many_pixels_is_named(monkeypatch, pets):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # of 4 x 6
    with pytest.raises(ValueError, match="has too many pixels to be unpacked safely; save a smaller copy"):
        bdl.data.image_folder(pets, 5)


# --- links ---


def everything(path):
    """(class name, file name) of the listing."""
    found = folders.listing(path)
    return [(found.classes[k], os.path.basename(file)) for file, k in found.images]


def test_without_links_the_listing_is_torchvisions(pets):
    save(pets / "cat" / "more" / "6.JPG", 0)
    save(pets / "cat" / "Zoo" / "7.png", 0)
    (pets / "cat" / "notes.txt").write_text("no image")
    theirs = datasets.ImageFolder(pets)
    assert folders.listing(pets) == (theirs.classes, theirs.samples)


def test_each_file_counts_once_however_many_links_lead_to_it(pets):
    plain = everything(pets)
    (pets / "cat" / "again").symlink_to(pets)  # a loop
    (pets / "dog" / "self").symlink_to(pets / "dog")
    (pets / "cat" / "a.png").symlink_to(pets / "dog" / "1.png")
    (pets / "cat" / "0.5.png").symlink_to("0.png")
    (pets / "cat" / "gone.png").symlink_to("nothing.png")
    (pets / "cat" / "round.png").symlink_to("round.png")
    os.link(pets / "dog" / "1.png", pets / "dog" / "z.png")
    assert everything(pets) == plain
    split = bdl.data.image_folder(pets, 4)
    assert sorted(numbers(split.x) + numbers(split.x_test)) == [*range(6)]
    os.rename(pets / "dog" / "3.png", pets / "dog" / "blob")
    (pets / "dog" / "3.png").symlink_to("blob")  # the file itself is no image by its name
    assert everything(pets) == plain


def test_links_out_of_the_folder_are_refused(pets, tmp_path):
    save(tmp_path / "elsewhere" / "9.png", 0)
    (pets / "cat" / "notes").symlink_to("/etc/hostname")  # not an image: nobody asks
    assert len(everything(pets)) == 6
    for link, target in (("cat/9.png", "9.png"), ("cat/more", "."), ("fish", ".")):
        (pets / link).symlink_to(tmp_path / "elsewhere" / target)
        with pytest.raises(
            ValueError, match="is a link to .*elsewhere.*outside .*pets. Put what it leads to"
        ):
            bdl.data.image_folder(pets, 4)
        (pets / link).unlink()
    (tmp_path / "door").symlink_to(pets)  # the folder itself may be reached by a link
    assert everything(tmp_path / "door") == everything(pets)


def test_test_images_are_no_training_images(tmp_path, pets):
    (tmp_path / "data").mkdir()
    for part in ("train", "test"):
        (tmp_path / "data" / part).symlink_to(pets)
    with pytest.raises(ValueError, match="to be tested on, but is the same file as one to train on"):
        bdl.data.image_folder(tmp_path / "data", 4)


@pytest.mark.parametrize("where", ["pets", "pets/cat"])
def test_a_folder_without_permission_is_named(monkeypatch, pets, where):
    """As root everything may be read, so the refusal is the test's own."""
    real, closed = {name: getattr(os, name) for name in ("scandir", "listdir")}, str(pets.parent / where)

    def refusing(name):
        def look(path="."):
            if os.fspath(path) == closed:
                raise PermissionError(13, "Permission denied", closed)
            return real[name](path)

        return look

    for name in real:
        monkeypatch.setattr(os, name, refusing(name))
    with pytest.raises(PermissionError, match=rf"{closed} may not be read .*Change its permissions, or use"):
        bdl.data.image_folder(pets, 4)


@pytest.mark.parametrize("bad", [None, 3, [], np.zeros(3), b"pets"])
def test_a_path_is_one(bad):
    with pytest.raises(TypeError, match="path must be a path, a str or pathlib.Path"):
        bdl.data.image_folder(bad, 4)
