"""Small sets made on the spot: regression with a hole, and two moons."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import generator


def two_clusters(
    n: int = 40,
    noise_std: float = 0.1,
    seed: int | torch.Generator = 0,
    gap: tuple[float, float] = (-0.3, 0.6),
    target: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """1-D regression with a hole: y = target(x) + noise with x uniform on [-1, 1] outside the gap.

    Args:
        n: number of points.
        noise_std: standard deviation of the noise.
        seed: seed or generator.
        gap: interval that no x falls into.
        target: the noiseless function, (n,) to (n,), for example a `random_curve`; `curve` if None.

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
    f = (target or curve)(x[:, 0])
    if not isinstance(f, Tensor) or f.shape != (n,):
        found = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(f"target must give a tensor of shape ({n},) for x of that shape, got {found}.")
    return x, f + noise_std * torch.randn(n, generator=g)


def curve(x: Tensor) -> Tensor:
    """The noiseless function of `two_clusters`, sin(4x) + x/2."""
    validate.numbers("x", x)
    return torch.sin(4 * x) + 0.5 * x


def random_curve(
    seed: int | torch.Generator = 0, length_scale: float = 0.3, std: float = 0.8
) -> Callable[[Tensor], Tensor]:
    """A smooth function drawn at random, by default about as large and as wiggly as `curve`.

    A sum of H = 500 cosines with random frequencies and phases (Rahimi and Recht 2007),

        f(x) = std * sqrt(2 / H) * sum_h v_h cos(w_h x + b_h),  w_h ~ N(0, 1 / length_scale^2),  v_h ~ N(0, 1),

    with b_h uniform on [0, 2 pi]: over seeds, a Gaussian process with kernel std^2 exp(-(x - x')^2 / 2 length_scale^2).

    Args:
        seed: seed or generator.
        length_scale: how far x must move before f is another number.
        std: standard deviation of f(x) over seeds.

    Returns:
        A function of x of any shape, in x's dtype.
    """
    validate.scale("length_scale", length_scale)
    validate.scale("std", std)
    g, cosines = generator(seed), 500
    frequency = torch.randn(cosines, generator=g, dtype=torch.float64) / length_scale
    phase = 2 * math.pi * torch.rand(cosines, generator=g, dtype=torch.float64)
    height = std * math.sqrt(2 / cosines) * torch.randn(cosines, generator=g, dtype=torch.float64)

    def f(x: Tensor) -> Tensor:
        validate.numbers("x", x)
        w, b, v = (part.to(x) for part in (frequency, phase, height))
        return torch.cos(x[..., None] * w + b) @ v

    return f


def moons(n: int = 100, noise_std: float = 0.2, seed: int | torch.Generator = 0) -> tuple[Tensor, Tensor]:
    """scikit-learn's two moons, centred: x (n, 2) float32, labels y (n,) in {0, 1}."""
    from sklearn.datasets import make_moons

    validate.scale("noise_std", noise_std, zero=True)
    random_state = int(torch.randint(2**31, (), generator=generator(seed)))
    x, y = make_moons(validate.count("n", n, 2), noise=float(noise_std), random_state=random_state)
    return torch.tensor(x, dtype=torch.float32) - torch.tensor([0.5, 0.25]), torch.tensor(y)
