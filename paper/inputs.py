"""Images for experiments: embedded ones, or MNIST and CIFAR-10 from the folder BDL_DATA, with a choice by seed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

import bdlcore as bdl
from bdlcore._support.environment import data_folder
from bdlcore.data.labelled_images import Split

EMBEDDED = ("digits", "patches", "astronaut", "coffee", "chelsea")
PATCH = 8  # side of the photo patches that stand for CIFAR-10 where nothing is downloaded


def labelled(data: str, n: int, n_test: int, seed: int, device: torch.device) -> Split:
    """n training and n_test test images with labels, chosen by the seed, on a device.

    Args:
        data: "digits" or "patches", which are embedded, "mnist" or "cifar10".
        n, n_test: numbers of images.
        seed: of the choice.
        device: where they go.
    """
    split = _read(data, n, n_test, seed)
    return Split(*(part.to(device) for part in split))


@lru_cache(maxsize=2)
def _read(data: str, n: int, n_test: int, seed: int) -> Split:
    if data == "patches":
        return bdl.data.photo_patches(n, n_test, size=PATCH, seed=seed)
    split = {"digits": bdl.data.digits, "mnist": bdl.data.mnist, "cifar10": bdl.data.cifar10}[data](n, seed)
    keep = torch.randperm(len(split.x_test), generator=torch.Generator().manual_seed(seed))[:n_test]
    return Split(split.x, split.y, split.x_test[keep], split.y_test[keep])


def resampled(y: Tensor, share: float, seed: int, classes: int) -> Tensor:
    """Labels of which a share, chosen at random, are drawn anew from all classes: 1 - 1/C of those become wrong."""
    g = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(y), generator=g)[: round(share * len(y))].to(y.device)
    drawn = torch.randint(classes, (len(chosen),), generator=g).to(y)
    return y.index_copy(0, chosen, drawn)


def picture(name: str, size: int | None, device: torch.device) -> Tensor:
    """A photo (3, height, width) in [0, 1]: "F16" of the deep-image-prior paper, or one of scikit-image's.

    Raises FileNotFoundError where the paper's photo is not in BDL_DATA.
    """
    if name in EMBEDDED:
        return bdl.photo(name, size=size).to(device)
    file = Path(data_folder()) / "deep-image-prior" / f"{name}_GT.png"
    if not file.exists():
        raise FileNotFoundError(
            f"The photo {name} is not at {file}. Put it there, or set BDL_DATA to a folder that has it "
            "in deep-image-prior/; the photo astronaut comes with scikit-image and needs none."
        )
    return bdl.load_image(file, size=size).to(device)
