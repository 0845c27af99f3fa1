"""Images with labels: digits and photos that come with libraries; MNIST, CIFAR-10 and your own folders."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .._support import validate
from .._support.environment import data_folder
from .._support.randomness import generator
from . import folders
from .photos import PHOTOS


class Split(NamedTuple):
    """Training and test data: x (N, ...), y (N,) or (N, C)."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor


def digits(n: int = 1000, seed: int | torch.Generator = 0, flatten: bool = False) -> Split:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 pixels in [-1, 1], split at random.

    Args:
        n: training images.
        seed: seed or generator of the split.
        flatten: (N, 64) rows instead of (N, 1, 8, 8) images.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    if validate.count("n", n) >= len(x):
        raise ValueError(
            f"There are {len(x)} digits; ask for fewer than that to leave some for testing, got n={n}."
        )
    images = torch.tensor(x, dtype=torch.float32) / 8 - 1
    return _split(images if flatten else images.reshape(-1, 1, 8, 8), torch.tensor(y), n, seed)


def mnist(
    n: int = 10_000, seed: int | torch.Generator = 0, fashion: bool = False, flatten: bool = False
) -> Split:
    """MNIST or Fashion-MNIST through torchvision: n random training images and all 10,000 test images, in [-1, 1].

    Downloaded on first use into the folder named by the environment variable BDL_DATA (default:
    .cache/bdlcore in the user's home). Raises RuntimeError, naming the embedded alternative, when that is not
    possible or a file there is damaged, and PermissionError when the folder may not be used.
    """
    from torchvision import datasets

    source = datasets.FashionMNIST if fashion else datasets.MNIST
    train, test = _from_torchvision(source, "torchvision's layout", "bdl.data.digits()")
    keep = _keep(n, source, len(train), seed)

    def images(part: Tensor) -> Tensor:
        x = _centred(part)
        return x.flatten(1) if flatten else x[:, None]

    return Split(images(train.data[keep]), train.targets[keep], images(test.data), test.targets)


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(n: int = 10_000, seed: int | torch.Generator = 0, grey: bool = False) -> Split:
    """CIFAR-10: n random training images and all test images, (N, 3, 32, 32) in [-1, 1]; labels number `CIFAR10`.

    Looked for in the folder BDL_DATA (see `mnist`) in torchvision's layout, then as image files in
    cifar10/train/<class> and cifar10/test/<class>; downloaded when it is there in neither form.

    Args:
        n: training images, 50,000 at most.
        seed: seed or generator of the choice.
        grey: luminance alone, (N, 1, 32, 32).
    """
    from torchvision import datasets

    folder, source = data_folder() / "cifar10", datasets.CIFAR10
    with folders.permitted():
        as_images = (folder / "train").is_dir() and not (data_folder() / source.base_folder).is_dir()
    if as_images:
        classes = folders.listing(folder / "train").classes
        if classes != list(CIFAR10):
            raise ValueError(
                f"{folder / 'train'} holds the classes {', '.join(classes)}; CIFAR-10 has {', '.join(CIFAR10)}."
            )
        return image_folder(folder, n, seed=seed, size=32, grey=grey)
    layouts = "torchvision's layout or as images in cifar10/train/<class> and cifar10/test/<class>"
    train, test = _from_torchvision(source, layouts, "bdl.data.photo_patches()")
    keep = _keep(n, source, len(train), seed)
    x, x_test = (torch.from_numpy(part).movedim(-1, 1) for part in (train.data[keep], test.data))
    y, y_test = (torch.tensor(part.targets) for part in (train, test))
    return Split(_centred(x, grey), y[keep], _centred(x_test, grey), y_test)


def image_folder(
    path: str | Path,
    n: int,
    n_test: int | None = None,
    seed: int | torch.Generator = 0,
    size: int | None = None,
    grey: bool = False,
) -> Split:
    """Your own images, one folder per class, as (N, 3, height, width) in [-1, 1]; labels number the sorted folders.

    With folders path/train and path/test, each with a folder per class, images come from there; else those of
    path/<class> are split at random. Either way in random order; only images that are asked for are read, upright.
    A file counts once, however many links lead to it; links that leave the folder are refused.

    Args:
        path: the folder.
        n: training images.
        n_test: test images; None for all that are left.
        seed: seed or generator of choice and order.
        size: side of the squares that images are scaled and cut to; None leaves them, when all have one size.
        grey: luminance alone, (N, 1, height, width).
    """
    n = validate.count("n", n)
    if size is not None:
        validate.count("size", size)
    train, test = folders.choose(validate.path("path", path), n, n_test, generator(seed))
    x = _centred(folders.pixels([file for file, _ in train + test], size), grey)
    y = torch.tensor([label for _, label in train + test])
    return Split(x[:n], y[:n], x[n:], y[n:])


def photo_patches(n: int = 800, n_test: int = 800, size: int = 32, seed: int | torch.Generator = 0) -> Split:
    """Grey patches of eight of scikit-image's photos; the label says which photo (`PHOTOS`).

    Training patches come from the left half of each photo and test patches from the right, so that none overlap. Each
    patch has mean 0 and standard deviation 1 (unless nearly flat): its brightness and contrast say nothing.

    Args:
        n, n_test: numbers of patches; photos take turns.
        size: side of a patch in pixels.
        seed: of the places.

    Returns:
        Split with x (n, 1, size, size) float32.
    """
    from skimage import color
    from skimage import data as photos

    images = [getattr(photos, name)() for name in PHOTOS]
    images = [torch.tensor(color.rgb2gray(i) if i.ndim == 3 else i / 255.0).float() for i in images]
    largest = min(min(image.shape[0], image.shape[1] // 2) for image in images)
    if not 2 <= validate.count("size", size) <= largest:
        raise ValueError(f"size must be from 2 to {largest} pixels, half of the smallest photo; got {size}.")
    g, parts = generator(seed), []
    for count, right in ((validate.count("n", n), False), (validate.count("n_test", n_test), True)):
        y, patches = torch.arange(count) % len(images), []
        for image in (images[k] for k in y.tolist()):
            half = image.shape[1] // 2
            side = image[:, half:] if right else image[:, :half]
            top, left = (int(torch.randint(extent - size + 1, (), generator=g)) for extent in side.shape)
            patches.append(side[top : top + size, left : left + size])
        x = torch.stack(patches)[:, None]
        x = x - x.mean((2, 3), keepdim=True)
        parts += [x / x.std((2, 3), keepdim=True).clamp(min=0.02), y]
    return Split(*parts)


def _from_torchvision(source: type, layouts: str, alternative: str) -> tuple:
    """Training and test part of a data set of torchvision, downloaded when it is not there."""
    try:
        with folders.permitted():
            return tuple(source(data_folder(), train=part, download=True) for part in (True, False))
    except PermissionError:
        raise
    except (
        Exception
    ) as error:  # torchvision reads what is there unchecked: a saved web page ends in almost anything
        if damaged := _damaged(source):
            raise RuntimeError(
                f"{damaged} is not the file of {source.__name__} that it should be, but cut off or something else, "
                "such as a saved web page. Remove it and call again with a network, which downloads it, or use "
                f"{alternative}, which needs none. ({type(error).__name__}: {error})"
            ) from error
        if not isinstance(error, OSError | RuntimeError):
            raise
        raise RuntimeError(
            f"{source.__name__} is not in {data_folder()} and could not be downloaded ({error}). Connect to the "
            f"network, set BDL_DATA to a folder that holds it in {layouts}, or use {alternative}, which needs none."
        ) from error


def _damaged(source: type) -> Path | None:
    """The first file of a data set of torchvision that is there but is not what it should be."""
    from torchvision.datasets.utils import check_integrity

    if hasattr(source, "resources"):  # MNIST: packed files with a checksum each, unpacked ones with a header
        folder = data_folder() / source.__name__ / "raw"
        unpacked = [folder / Path(name).stem for name, _ in source.resources]
        if wrong := [file for file in unpacked if file.is_file() and not _is_idx(file)]:
            return wrong[0]
        sums = [(folder / name, md5) for name, md5 in source.resources]
        sums = [pair for pair, file in zip(sums, unpacked) if not file.is_file()]
    else:
        listed = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        sums = [(data_folder() / source.base_folder / name, md5) for name, md5 in listed]
        sums.append((data_folder() / source.filename, source.tgz_md5))
    return next((file for file, md5 in sums if file.is_file() and not check_integrity(file, md5)), None)


def _is_idx(file: Path) -> bool:
    """Is this a file of bytes in MNIST's format: 0, 0, 8, the number of axes, 4 bytes for each length, the bytes?"""
    with file.open("rb") as opened:
        head = opened.read(16)
    axes = 3 if "images" in file.name else 1
    lengths = [int.from_bytes(head[4 * i + 4 : 4 * i + 8], "big") for i in range(axes)]
    return head[:4] == bytes([0, 0, 8, axes]) and file.stat().st_size == 4 + 4 * axes + math.prod(lengths)


def _keep(n: int, source: type, available: int, seed: int | torch.Generator) -> Tensor:
    if validate.count("n", n) > available:
        raise ValueError(f"{source.__name__} has {available} training images, got n={n}.")
    return torch.randperm(available, generator=generator(seed))[:n]


def _centred(pixels: Tensor, grey: bool = False) -> Tensor:
    """0 to 255 moved to [-1, 1]; with grey the luminance (N, 1, height, width) of colours."""
    x = pixels.float().div_(127.5).sub_(1)
    return torch.einsum("nchw,c->nhw", x, torch.tensor([0.299, 0.587, 0.114]))[:, None] if grey else x


def _split(x: Tensor, y: Tensor, n: int, seed: int | torch.Generator) -> Split:
    order = torch.randperm(len(x), generator=generator(seed))
    return Split(x[order[:n]], y[order[:n]], x[order[n:]], y[order[n:]])
