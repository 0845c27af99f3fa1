"""Image files for tests to read."""

from PIL import Image


def save(path, colour, size=(32, 32), mode="RGB"):
    """An image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
