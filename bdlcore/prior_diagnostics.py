"""What a prior over functions is like, measured from draws: how large, how wiggly, how far from Gaussian.

All take function values f (S, N) or (S, N, C): S draws at N inputs, C outputs that share one prior.
"""

from __future__ import annotations

from torch import Tensor

from . import _validate


def amplitude(f: Tensor) -> Tensor:
    """Standard deviation of f(x_n) over draws, (N,): the root of the mean square, for priors of mean zero."""
    return _draws(f).square().mean(0).sqrt()


def correlation(f: Tensor, reference: int = 0) -> Tensor:
    """Correlation over draws of f at every input with f at input `reference`, (N,), means removed.

    corr_n = cov[f(x_n), f(x_reference)] / (std[f(x_n)] std[f(x_reference)])

    Raises ValueError where the draws do not vary.
    """
    f = _draws(f)
    if not -f.shape[1] <= reference < f.shape[1]:
        raise ValueError(f"reference must be one of the {f.shape[1]} inputs, got {reference}.")
    f = f - f.mean(0)
    scale = f.square().mean(0).sqrt()
    if bool((scale == 0).any()):
        raise ValueError("Some inputs have the same value in every draw, so that no correlation is defined.")
    return (f * f[:, [reference]]).mean(0) / (scale * scale[reference])


def length_scale(f: Tensor, x: Tensor) -> Tensor:
    """How far apart inputs on a line must be for functions to change much: the std of f over that of its slope.

        length = sqrt(E[(f - f_mean)^2] / E[f'^2]),   f' by differences between neighbouring inputs,

    averaged over draws and over the line; `f_mean` is the mean of *one* draw over the line, so that a common offset
    does not count. For draws of an RBF process on a long, fine line it is its length_scale; for f = sin(x / l) it is l.
    Functions with kinks or noise have a slope, and so a length, that depends on the spacing.

    Args:
        f: (S, N) or (S, N, C) draws on the line.
        x: (N,) or (N, 1), increasing.
    """
    f, x = _draws(f), x.flatten()
    if len(x) != f.shape[1] or len(x) < 3:
        raise ValueError(
            f"x must hold the {f.shape[1]} inputs of f, at least three, on a line, got {tuple(x.shape)}."
        )
    gaps = x.diff()
    if bool((gaps <= 0).any()):
        raise ValueError("x must be increasing; sort x, and f with it, first.")
    middles = (f[:, 1:] + f[:, :-1]) / 2
    share = gaps / gaps.sum()
    spread = ((middles - (middles * share).sum(1, keepdim=True)).square() * share).sum(1).mean()
    slope = ((f.diff(dim=1) / gaps).square() * share).sum(1).mean()
    return (spread / slope).sqrt()


def kurtosis(f: Tensor) -> Tensor:
    """E[f^4] / E[f^2]^2 at each input over draws, (N,), for priors of mean zero: 3 for a Gaussian."""
    f = _draws(f)
    return f.pow(4).mean(0) / f.square().mean(0).square()


def _draws(f: Tensor) -> Tensor:
    """f as (draws, N), with the outputs of a draw as further draws."""
    if f.ndim not in (2, 3) or len(f) < 2:
        raise ValueError(f"f must hold two or more draws, (S, N) or (S, N, C), got {tuple(f.shape)}.")
    _validate.finite("f", f)
    return f if f.ndim == 2 else f.transpose(1, 2).flatten(0, 1)
