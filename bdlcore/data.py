"""Data that the lessons use: made here, or shipped with scikit-learn, so nothing is downloaded unless asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from . import _validate
from .randomness import generator


class Split(NamedTuple):
    """Training and test data: x (N, ...), y (N,) or (N, C)."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor


def two_clusters(
    n: int = 40,
    noise_std: float = 0.1,
    seed: int | torch.Generator = 0,
    gap: tuple[float, float] = (-0.3, 0.6),
) -> tuple[Tensor, Tensor]:
    """1-D regression with a hole: y = sin(4x) + x/2 + noise with x uniform on [-1, 1] outside the gap.

    Args:
        n: number of points.
        noise_std: standard deviation of the noise.
        seed: seed or generator.
        gap: interval that no x falls into.

    Returns:
        x (n, 1) sorted and y (n,), float32.
    """
    n = _validate.count("n", n)
    _validate.positive("noise_std", noise_std)
    g, (low, high) = generator(seed), gap
    if not -1 < low < high < 1:
        raise ValueError(f"gap must lie inside (-1, 1), got {gap}.")
    u = torch.rand(n, generator=g) * (2 - (high - low)) - 1
    x = torch.where(u < low, u, u + (high - low)).sort().values[:, None]
    return x, curve(x[:, 0]) + noise_std * torch.randn(n, generator=g)


def curve(x: Tensor) -> Tensor:
    """The noiseless function of `two_clusters`, sin(4x) + x/2."""
    return torch.sin(4 * x) + 0.5 * x


def moons(n: int = 100, noise_std: float = 0.2, seed: int | torch.Generator = 0) -> tuple[Tensor, Tensor]:
    """scikit-learn's two moons, centred: x (n, 2) float32, labels y (n,) in {0, 1}."""
    from sklearn.datasets import make_moons

    random_state = int(torch.randint(2**31, (), generator=generator(seed)))
    x, y = make_moons(_validate.count("n", n, 2), noise=noise_std, random_state=random_state)
    return torch.tensor(x, dtype=torch.float32) - torch.tensor([0.5, 0.25]), torch.tensor(y)


def digits(n: int = 1000, seed: int | torch.Generator = 0, flatten: bool = False) -> Split:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 pixels in [-1, 1], split at random.

    Args:
        n: training images.
        seed: seed or generator of the split.
        flatten: (N, 64) rows instead of (N, 1, 8, 8) images.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    if _validate.count("n", n) >= len(x):
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
    possible.
    """
    from torchvision import datasets

    root = Path(os.environ.get("BDL_DATA", Path.home() / ".cache" / "bdlcore"))
    source = datasets.FashionMNIST if fashion else datasets.MNIST
    try:
        train, test = (source(root, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"{source.__name__} is not in {root} and could not be downloaded ({error}). Connect to the network, "
            "set BDL_DATA to a folder that holds it in torchvision's layout, "
            "or use bdl.data.digits(), which needs no download."
        ) from error
    if not 0 < n <= len(train):
        raise ValueError(f"{source.__name__} has {len(train)} training images, got n={n}.")

    def images(part: Tensor) -> Tensor:
        x = part.float() / 127.5 - 1
        return x.flatten(1) if flatten else x[:, None]

    keep = torch.randperm(len(train), generator=generator(seed))[:n]
    return Split(images(train.data[keep]), train.targets[keep], images(test.data), test.targets)


PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "brick", "grass", "gravel", "coins")


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
    if not 2 <= _validate.count("size", size) <= largest:
        raise ValueError(f"size must be from 2 to {largest} pixels, half of the smallest photo; got {size}.")
    g, parts = generator(seed), []
    for count, right in ((_validate.count("n", n), False), (_validate.count("n_test", n_test), True)):
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


def _split(x: Tensor, y: Tensor, n: int, seed: int | torch.Generator) -> Split:
    order = torch.randperm(len(x), generator=generator(seed))
    return Split(x[order[:n]], y[order[:n]], x[order[n:]], y[order[n:]])
