"""Have the chains mixed? Split R-hat and effective sample size of anything that has a value per draw.

Weights of a network are the wrong thing to look at: hidden units can be permuted and signs flipped without
changing the function, so chains that agree on every function may disagree on every weight. Give these the
values of functions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models.model import Model
from ..models.stack import Stack


def rhat(values: Tensor) -> Tensor:
    """Rank-normalised split R-hat, the larger of its bulk and folded forms.

    Each chain is cut in halves; with B the between- and W the within-half variance of n draws each,

        R-hat = sqrt( ((n-1)/n W + B/n) / W ),

    computed on normal scores of the ranks, and of the ranks of |value - median| (Vehtari et al. 2021, eq. 4 and
    section 4). 1 means that halves cannot be told apart; above 1.01 run longer.

    Args:
        values: (chains, draws, ...) one value per draw; at least 4 draws.

    Returns:
        R-hat with the shape of the trailing axes; NaN where a value never changes.
    """
    halves = _split(values)
    folded = (halves - halves.flatten(0, 1).quantile(0.5, dim=0)).abs()
    return torch.maximum(_plain_rhat(_normal_scores(halves)), _plain_rhat(_normal_scores(folded)))


def ess(values: Tensor) -> Tensor:
    """Bulk effective sample size: how many independent draws would estimate the mean as well.

    S / (1 + 2 sum of autocorrelations) over all chains, on rank-normalised split chains, with Geyer's initial
    monotone sequence (Vehtari et al. 2021, section 3.2 and 4.1).

    Args:
        values: (chains, draws, ...) one value per draw; at least 4 draws.

    Returns:
        ESS with the shape of the trailing axes; NaN where a value never changes.
    """
    z = _normal_scores(_split(values))
    chains, n = z.shape[:2]
    centred = z - z.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * n, dim=1).abs().square()
    autocovariance = torch.fft.irfft(spectrum, n=2 * n, dim=1)[:, :n] / n
    within = autocovariance[:, 0].mean(0) * n / (n - 1)
    variance = within * (n - 1) / n + (z.mean(1).var(0) if chains > 1 else 0)
    rho = 1 - (within - autocovariance.mean(0)) / variance
    rho[0] = 1
    # Sums of neighbouring pairs are positive and decreasing for a reversible chain: cut at the first that is
    # not. The even lag after the cut still counts once when positive, which halves the bias of cutting.
    most = max((n - 3) // 2, 0)
    pairs = rho[: 2 * most].unflatten(0, (most, 2)).sum(1) if most else rho[:0]
    positive = (pairs > 0).long().cumprod(0)
    cut = positive.sum(0)
    total = (pairs * positive).cummin(0).values.sum(0) if most else 0
    after = rho.gather(0, 2 * cut[None])[0].clamp(min=0)
    tau = (2 * total - 1 + after).clamp(min=1 / math.log10(chains * n))
    return torch.where(variance > 0, chains * n / tau, torch.nan)


def _split(values: Tensor) -> Tensor:
    """(chains, draws, ...) -> (2 chains, draws // 2, ...) in float64; the middle draw of an odd number is dropped."""
    if values.ndim < 2 or values.shape[1] < 4:
        raise ValueError(f"values must have shape (chains, draws >= 4, ...), got {tuple(values.shape)}.")
    if not torch.isfinite(values).all():
        raise ValueError("values contain NaN or infinity; look at the chains that made them.")
    half = values.shape[1] // 2
    return torch.cat([values[:, :half], values[:, -half:]]).double()


def _normal_scores(values: Tensor) -> Tensor:
    """Normal quantiles of the pooled fractional ranks, ties averaged: Phi^-1((rank - 3/8) / (S + 1/4))."""
    columns = values.flatten(0, 1).flatten(1).mT.contiguous() if values.ndim > 2 else values.flatten()[None]
    ordered = columns.sort(dim=1).values
    below = torch.searchsorted(ordered, columns)
    not_above = torch.searchsorted(ordered, columns, right=True)
    ranks = 0.5 * (below + not_above + 1).double()
    scores = torch.special.ndtri((ranks - 0.375) / (columns.shape[1] + 0.25))
    return scores.mT.reshape(values.shape)


def _plain_rhat(z: Tensor) -> Tensor:
    n = z.shape[1]
    within, between = z.var(1).mean(0), z.mean(1).var(0)
    return ((n - 1) / n + between / within).sqrt()


def probe_inputs(x: Tensor, most: int = 50) -> Tensor:
    """At most `most` rows of x, evenly spaced: where convergence of functions is judged."""
    keep = torch.linspace(0, len(x) - 1, min(most, len(x))).round().long()
    return x[keep.to(x.device)]


def convergence(model: Model, draws: Tensor, probe: Tensor) -> dict[str, Tensor]:
    """R-hat and ESS (N, C) of the function values at `probe` for draws (chains, draws, D); nothing for < 4 draws."""
    chains, made = draws.shape[:2]
    if made < 4:
        return {}
    f = model.functions(Stack(draws.flatten(0, 1), model.layout), probe).unflatten(0, (chains, made))
    return {"rhat": rhat(f), "ess": ess(f)}
