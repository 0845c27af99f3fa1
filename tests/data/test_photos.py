"""Photos from scikit-image and from files: sizes, ranges, channels, and files that are none."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import bdlcore as bdl

COLOUR = ("astronaut", "chelsea", "coffee")


def bytes_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def as_pixels(picture):
    """A picture (channels, height, width) back as bytes (height, width, channels)."""
    return (picture * 255).round().byte().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", bdl.data.PHOTOS)
def test_every_photo(name):
    picture = bdl.photo(name)
    assert picture.shape == (3 if name in COLOUR else 1, 64, 64) and picture.dtype == torch.float32
    assert 0 <= picture.min() and 0.6 < picture.max() <= 1 and picture.std() > 0.05
    assert torch.equal(picture, bdl.photo(name)) and picture.is_contiguous()
    grey = bdl.photo(name, 32, grey=True)
    assert grey.shape == (1, 32, 32) and 0 <= grey.min() and grey.max() <= 1


def test_a_photo_is_its_middle_square_scaled_down():
    whole = bdl.photo("coffee", size=None)
    assert whole.shape == (3, 400, 600)
    blocks = whole[:, :, 100:500].unflatten(2, (50, 8)).unflatten(1, (50, 8)).mean((2, 4))
    assert (bdl.photo("coffee", 50) - blocks).abs().mean() < 0.02


def test_the_astronauts_head():
    whole = bdl.photo("astronaut", size=None)
    assert whole.shape == (3, 512, 512)
    torch.testing.assert_close(bdl.photo("astronaut", 256), whole[:, :256, 96:352])


def test_grey_is_the_brightness():
    red, green, blue = bdl.photo("chelsea", 16)
    want = 0.299 * red + 0.587 * green + 0.114 * blue
    torch.testing.assert_close(bdl.photo("chelsea", 16, grey=True), want[None])


# --- files ---


def test_colours_survive_a_file(tmp_path):
    pixels = bytes_of(5, 7, 3)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    for source in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
        picture = bdl.load_image(source)
        assert picture.shape == (3, 5, 7) and picture.dtype == torch.float32
        np.testing.assert_array_equal(as_pixels(picture), pixels)
        assert 0 <= picture.min() and picture.max() <= 1


@pytest.mark.parametrize("name", ["clear.png", "grey.png", "palette.png"])
def test_other_kinds_of_png_become_colours(tmp_path, name):
    pixels = bytes_of(5, 7, 4)
    kinds = {
        "clear.png": (Image.fromarray(pixels), pixels[..., :3]),
        "grey.png": (Image.fromarray(pixels[..., 0]), pixels[..., [0, 0, 0]]),
        "palette.png": (Image.fromarray(pixels[..., :3]).quantize(8), None),
    }
    image, want = kinds[name]
    image.save(tmp_path / name)
    want = np.asarray(image.convert("RGB")) if want is None else want
    np.testing.assert_array_equal(as_pixels(bdl.load_image(tmp_path / name)), want)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_a_photo_taken_sideways_stands_upright(tmp_path, orientation, turns):
    pixels, exif = bytes_of(5, 7, 3), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    picture = bdl.load_image(tmp_path / "photo.png")
    np.testing.assert_array_equal(as_pixels(picture), np.rot90(pixels, turns))


def test_an_open_file_stays_open():
    pixels, file = bytes_of(5, 7, 3), io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    for _ in range(2):
        file.seek(0)
        np.testing.assert_array_equal(as_pixels(bdl.load_image(file)), pixels)


def test_a_file_is_cut_scaled_and_grey_on_demand(tmp_path):
    pixels = np.repeat(np.repeat(bytes_of(2, 4, 3), 20, 0), 20, 1)  # 40 x 80 pixels, blocks of 20
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    picture = bdl.load_image(tmp_path / "photo.png", 40)
    np.testing.assert_array_equal(as_pixels(picture), pixels[:, 20:60])
    small = bdl.load_image(tmp_path / "photo.png", 10)
    assert small.shape == (3, 10, 10) and 0 <= small.min() and small.max() <= 1
    np.testing.assert_allclose(as_pixels(small)[2, [2, 7]], pixels[10, [30, 50]], atol=4)
    assert bdl.load_image(tmp_path / "photo.png", grey=True).shape == (1, 40, 80)
    assert bdl.load_image(tmp_path / "photo.png", 100).shape == (3, 100, 100)


def test_what_is_no_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        bdl.load_image(tmp_path / "nowhere.png")
    (tmp_path / "notes.txt").write_text("no pixels here")
    whole = io.BytesIO()
    Image.fromarray(bytes_of(64, 64, 3)).save(whole, "PNG")
    (tmp_path / "half.png").write_bytes(whole.getvalue()[:3000])
    for name in ("notes.txt", "half.png", "."):
        with pytest.raises(ValueError, match="is not an image that Pillow can read .*; use a PNG or JPEG"):
            bdl.load_image(tmp_path / name)


def test_more_than_8_bits_are_refused_rather_than_cut_off(tmp_path):
    deep = bytes_of(4, 4).astype(np.uint16) * 256
    Image.fromarray(deep).save(tmp_path / "scan.png")
    Image.fromarray(deep.astype(np.float32) / 65535).save(tmp_path / "scan.tif")
    for name in ("scan.png", "scan.tif"):
        with pytest.raises(ValueError, match=f"{name} has more than 8 bits per channel; save it with 8"):
            bdl.load_image(tmp_path / name)


def test_too_many_pixels_are_named(monkeypatch, tmp_path):
    Image.fromarray(bytes_of(6, 7, 3)).save(tmp_path / "wall.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(
        ValueError, match="wall.png has too many pixels to be unpacked safely; save a smaller copy"
    ):
        bdl.load_image(tmp_path / "wall.png")


@pytest.mark.parametrize(
    "bad", [None, 3, b"photo.png", torch.zeros(3, 4, 4), bytes_of(4, 4, 3), ["photo.png"]]
)
def test_what_is_no_file_is_refused(bad):
    with pytest.raises(TypeError, match="source must be a path or an open binary file, got"):
        bdl.load_image(bad)


@pytest.mark.parametrize(
    "error", [SyntaxError("broken PNG file"), EOFError(), ValueError("too large")], ids=repr
)
def test_whatever_pillow_makes_of_a_broken_file_it_is_named(monkeypatch, tmp_path, error):
    def load(*_):
        raise error

    Image.fromarray(bytes_of(6, 7, 3)).save(tmp_path / "photo.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ValueError, match="photo.png is not an image that Pillow can read"):
        bdl.load_image(tmp_path / "photo.png")


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="Unknown photo 'moon'; choose one of astronaut, .*bdl.load_image"):
        bdl.photo("moon")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        bdl.photo("coins", 0)
    with pytest.raises(TypeError, match="size must be a whole number, got 32.0"):
        bdl.photo("coins", 32.0)
