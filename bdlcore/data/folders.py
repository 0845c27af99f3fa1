"""Folders of image files, one per class: which files there are, and their pixels; see `data.image_folder`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._support import validate
from .._support.progress import progress

WANTED = "Give one folder per class with images in it, or folders train and test made like that."


class Listing(NamedTuple):
    """Class names (the sub-folders, sorted), and of every image its file and the number of its class."""

    classes: list[str]
    images: list[tuple[str, int]]


def listing(folder: Path) -> Listing:
    """The images under a folder, found by torchvision's ImageFolder; none is opened."""
    from torchvision import datasets

    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. {WANTED}")
    try:
        found = datasets.ImageFolder(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{folder} does not hold classes of images: {error} {WANTED}") from error
    if len(found.classes) < 2:
        raise ValueError(f"{folder} holds a single class, {found.classes[0]!r}. {WANTED}")
    return Listing(found.classes, found.samples)


def choose(path: Path, n: int, n_test: int | None, g: torch.Generator) -> tuple[list, list]:
    """n random images (file, label) to train on and n_test others, or all others; see `data.image_folder`."""
    if all((path / part).is_dir() for part in ("train", "test")):
        parts = [listing(path / part) for part in ("train", "test")]
        if unlike := {*parts[0].classes} ^ {*parts[1].classes}:
            raise ValueError(f"In {path} only one of train and test has the class {sorted(unlike)[0]!r}.")
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
    from torchvision.datasets.folder import pil_loader
    from torchvision.transforms import functional

    images = None
    for i in progress(len(files), "reading images"):
        try:
            image = pil_loader(files[i])
        except OSError as error:
            raise ValueError(f"{files[i]} is no readable image ({error}). Remove or replace it.") from error
        if size is not None:
            image = functional.center_crop(functional.resize(image, size), size)
        part = torch.from_numpy(np.array(image)).movedim(-1, 0)
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
