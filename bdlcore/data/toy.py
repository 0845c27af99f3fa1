"""Small sets made on the spot: regression with a hole, and two moons."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import generator


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
    n = validate.count("n", n)
    validate.scale("noise_std", noise_std)
    g, (low, high) = generator(seed), gap
    if not -1 < low < high < 1:
        raise ValueError(f"gap must lie inside (-1, 1), got {gap}.")
    u = torch.rand(n, generator=g) * (2 - (high - low)) - 1
    x = torch.where(u < low, u, u + (high - low)).sort().values[:, None]
    return x, curve(x[:, 0]) + noise_std * torch.randn(n, generator=g)


def curve(x: Tensor) -> Tensor:
    """The noiseless function of `two_clusters`, sin(4x) + x/2."""
    validate.numbers("x", x)
    return torch.sin(4 * x) + 0.5 * x


def moons(n: int = 100, noise_std: float = 0.2, seed: int | torch.Generator = 0) -> tuple[Tensor, Tensor]:
    """scikit-learn's two moons, centred: x (n, 2) float32, labels y (n,) in {0, 1}."""
    from sklearn.datasets import make_moons

    validate.scale("noise_std", noise_std, zero=True)
    random_state = int(torch.randint(2**31, (), generator=generator(seed)))
    x, y = make_moons(validate.count("n", n, 2), noise=float(noise_std), random_state=random_state)
    return torch.tensor(x, dtype=torch.float32) - torch.tensor([0.5, 0.25]), torch.tensor(y)
