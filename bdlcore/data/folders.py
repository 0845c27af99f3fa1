"""Folders of image files, one per class: which files there are, and their pixels; see `data.image_folder`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .._support import validate
from .._support.progress import progress
from . import photos

WANTED = "Give one folder per class with images in it, or folders train and test made like that."


class Listing(NamedTuple):
    """Class names (the sub-folders, sorted), and of every image its file and the number of its class."""

    classes: list[str]
    images: list[tuple[str, int]]


def listing(folder: Path) -> Listing:
    """The images under a folder, by the rules of torchvision's ImageFolder except for links; none is opened.

    Links are not followed out of the folder, nor into folders, and each file counts once, in the place where it is
    itself: a copy could come to stand in the training and in the test images.
    """
    with permitted():
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}. {WANTED}")
        classes = sorted(name for name in os.listdir(folder) if (folder / name).is_dir())
        found = _once([(file, k) for k, name in enumerate(classes) for file in _files(folder / name)], folder)
    counts = [sum(label == k for _, label in found) for k in range(len(classes))]
    if 0 in counts or not classes:
        empty = f"no image in {classes[counts.index(0)]!r}." if classes else "there is no folder in it."
        raise FileNotFoundError(f"{folder} does not hold classes of images: {empty} {WANTED}")
    if len(classes) < 2:
        raise ValueError(f"{folder} holds a single class, {classes[0]!r}. {WANTED}")
    return Listing(classes, found)


def _files(folder: Path) -> list[str]:
    """The image files and the links to folders in a folder and in those below, in torchvision's order."""
    from torchvision.datasets.folder import is_image_file

    def fail(error: OSError) -> None:
        raise error

    if folder.is_symlink():
        return [str(folder)]
    found = []
    for place, inner, names in sorted(os.walk(folder, onerror=fail)):
        found += [file for name in inner if os.path.islink(file := os.path.join(place, name))]
        found += [os.path.join(place, name) for name in sorted(names) if is_image_file(name)]
    return found


def _once(found: list[tuple[str, int]], folder: Path) -> list[tuple[str, int]]:
    """Each file (file, label) once, by itself rather than by a link to it; links that leave the folder are refused."""
    home = os.path.realpath(folder)
    for file, _ in found:
        if os.path.islink(file) and not Path(os.path.realpath(file)).is_relative_to(home):
            raise ValueError(
                f"{file} is a link to {os.path.realpath(file)}, which is outside {folder}. "
                "Put what it leads to into the folder, or remove the link."
            )
    chosen = {}
    for file, label in sorted(found, key=lambda item: os.path.islink(item[0])):  # files before links to them
        if os.path.isfile(file):  # neither a link to a folder, nor one that leads nowhere
            chosen.setdefault(identity(file), (file, label))
    kept = {*chosen.values()}
    return [item for item in found if item in kept]


def identity(file: str) -> tuple[int, int]:
    """The same for all names of a file, links of both kinds included."""
    facts = os.stat(file)
    return facts.st_dev, facts.st_ino


@contextmanager
def permitted() -> Iterator[None]:
    """Say what may not be read, and what to do."""
    try:
        yield
    except PermissionError as error:
        raise PermissionError(
            f"{error.filename} may not be read or written ({error.strerror}). Change its permissions, or use a folder "
            "of your own; BDL_DATA names the one of larger data sets."
        ) from error


def choose(path: Path, n: int, n_test: int | None, g: torch.Generator) -> tuple[list, list]:
    """n random images (file, label) to train on and n_test others, or all others; see `data.image_folder`."""
    with permitted():
        divided = all((path / part).is_dir() for part in ("train", "test"))
    if divided:
        parts = [listing(path / part) for part in ("train", "test")]
        if unlike := {*parts[0].classes} ^ {*parts[1].classes}:
            raise ValueError(f"In {path} only one of train and test has the class {sorted(unlike)[0]!r}.")
        seen = {identity(file) for file, _ in parts[0].images}
        if twice := [file for file, _ in parts[1].images if identity(file) in seen]:
            raise ValueError(
                f"{twice[0]} is to be tested on, but is the same file as one to train on. Remove one."
            )
        train, test = (_shuffled(part.images, g) for part in parts)
        most = len(train)
    else:
        images = _shuffled(listing(path).images, g)
        train, test = images[:n], images[n:]
        most = len(images) - 1  # one at least to test on
    if n > most:
        raise ValueError(f"{path} has {most} images to train on, got n={n}.")
    n_test = len(test) if n_test is None else validate.count("n_test", n_test)
    if n_test > len(test):
        raise ValueError(f"{path} has {len(test)} images to test on, got n_test={n_test}.")
    return train[:n], test[:n_test]


def _shuffled(images: list, g: torch.Generator) -> list:
    return [images[i] for i in torch.randperm(len(images), generator=g)]


def pixels(files: list[str], size: int | None = None) -> Tensor:
    """The images as one tensor (N, 3, height, width) of uint8, in the order of the files; grey files are repeated.

    Args:
        files: paths.
        size: scale each image until its shorter side has this many pixels, and cut out the middle square. None
            leaves images as they are, which then must have one size.
    """
    from torchvision.transforms import functional

    images = None
    for i in progress(len(files), "reading images"):
        try:
            part = torch.tensor(photos.rgb(files[i])).movedim(-1, 0)
        except ValueError as error:
            raise ValueError(f"{error} Replace the file or remove it from the folder.") from error
        if size is not None:
            image = functional.resize(functional.to_pil_image(part), size)
            part = functional.pil_to_tensor(functional.center_crop(image, size))
        if images is None:
            images = torch.empty(len(files), *part.shape, dtype=torch.uint8)
        if part.shape != images.shape[1:]:
            here, before = ("{2} x {1}".format(*shape) for shape in (part.shape, images.shape[1:]))
            raise ValueError(
                f"{files[i]} has {here} pixels, the images before it {before}. "
                "Give size=, the side of squares that all are scaled and cut to."
            )
        images[i] = part
    return images
