"""Have the chains mixed? Split R-hat and effective sample size of anything that has a value per draw.

Weights of a network are the wrong thing to look at: hidden units can be permuted and signs flipped without
changing the function, so chains that agree on every function may disagree on every weight. Give these the
values of functions.

All is computed in the dtype of the values (half precision in float32), on their device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._support import validate
from ..models.model import Model
from ..models.stack import Stack

LEAST_FOR_RHAT, LEAST_FOR_ESS = 4, 10  # draws per chain


def rhat(values: Tensor) -> Tensor:
    """Rank-normalised split R-hat, the larger of its bulk and folded forms.

    Each chain is cut in halves; with B the between- and W the within-half variance of n draws each,

        R-hat = sqrt( ((n-1)/n W + B/n) / W ),

    computed on normal scores of the ranks, and of the ranks of |value - median| (Vehtari et al. 2021, eq. 4 and
    section 4). 1 means that halves cannot be told apart; above 1.01 run longer.

    Args:
        values: (chains, draws, ...) one finite value per draw; at least 4 draws.

    Returns:
        R-hat with the shape of the trailing axes; infinite where chains stand still at different values, NaN where
        all stand at the same one: that says nothing, so leave it out (`changing`) before taking the largest.
        Copies of one chain cannot be told apart either, which `copied_chains` tells.
    """
    halves = _split(values)
    ordered = halves.flatten(0, 1).sort(0).values  # of an even number; `quantile` goes through float64
    folded = (halves - (ordered[len(ordered) // 2 - 1] + ordered[len(ordered) // 2]) / 2).abs()
    # fmax: of values that take two numbers equally often the folded ones never change
    return torch.fmax(_plain_rhat(_normal_scores(halves)), _plain_rhat(_normal_scores(folded)))


def ess(values: Tensor) -> Tensor:
    """Bulk effective sample size: how many independent draws would estimate the mean as well.

    S / (1 + 2 sum of autocorrelations) over all chains, on rank-normalised split chains, with Geyer's initial
    monotone sequence (Vehtari et al. 2021, section 3.2 and 4.1).

    Args:
        values: (chains, draws, ...) one finite value per draw; at least 4 draws.

    Returns:
        ESS with the shape of the trailing axes; NaN where a value never changes, and everywhere with fewer than 10
        draws per chain: their halves have no two neighbouring lags to add, and the formula would give S log10 S
        whatever the chains do.
    """
    return _effective(_normal_scores(_split(values)), values.shape[1])


def tail_ess(values: Tensor) -> Tensor:
    """Tail effective sample size: how many independent draws would estimate the 5 % and 95 % quantiles as well.

    The smaller ESS of two indicators, of a value at most each of these quantiles (Vehtari et al. 2021, section 4.3).
    Chains may know a mean well and the ends of an interval badly: stuck ones, and those of heavy tails.

    Args:
        values: (chains, draws, ...) one finite value per draw; at least 4 draws.

    Returns:
        As `ess`.
    """
    halves = _split(values)
    ordered = halves.flatten(0, 1).sort(0).values
    sizes = []
    for q in (0.05, 0.95):
        low, share = divmod(q * (len(ordered) - 1), 1)
        quantile = ordered[int(low)].lerp(ordered[min(int(low) + 1, len(ordered) - 1)], share)
        sizes.append(_effective((halves <= quantile).to(halves), values.shape[1]))
    return torch.fmin(*sizes)


def _effective(z: Tensor, draws: int) -> Tensor:
    """ESS of the mean of z (halves of chains, draws, ...), from chains of so many draws."""
    chains, n = z.shape[:2]
    if draws < LEAST_FOR_ESS:
        return z.new_full(z.shape[2:], torch.nan)
    centred = z - z.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * n, dim=1).abs().square()
    autocovariance = torch.fft.irfft(spectrum, n=2 * n, dim=1)[:, :n] / n
    within = autocovariance[:, 0].mean(0) * n / (n - 1)
    variance = within * (n - 1) / n + (z.mean(1).var(0) if chains > 1 else 0)
    rho = 1 - (within - autocovariance.mean(0)) / variance
    rho[0] = 1
    # Sums of neighbouring pairs are positive and decreasing for a reversible chain: cut at the first that is
    # not. The even lag after the cut still counts once when positive, which halves the bias of cutting.
    most = (n - 3) // 2
    pairs = rho[: 2 * most].unflatten(0, (most, 2)).sum(1)
    positive = (pairs > 0).long().cumprod(0)
    cut = positive.sum(0)
    total = (pairs * positive).cummin(0).values.sum(0)
    after, next_one = rho.gather(0, 2 * cut[None])[0], rho.gather(0, 2 * cut[None] + 1)[0]
    after = torch.where(
        after + next_one > 0, after, after.clamp(min=0)
    )  # positive where the lags ended first
    tau = (2 * total - 1 + after).clamp(min=1 / math.log10(chains * n))
    never_changes = (z == z[:1, :1]).flatten(0, 1).all(0)
    return torch.where(never_changes, torch.nan, chains * n / tau)


def changing(diagnostic: Tensor) -> tuple[Tensor, int]:
    """R-hat or ESS of the values that change, (K,), and how many never do, in any chain."""
    undefined = diagnostic.isnan()
    return diagnostic[~undefined], int(undefined.sum())


def copied_chains(values: Tensor) -> Tensor:
    """Which chains repeat an earlier one draw by draw, (chains,) booleans, for values (chains, draws, ...).

    Chains from one start with the same random numbers are one chain, whatever R-hat and ESS say of them.
    """
    some = values[:, -1].flatten(1)[:, :50]  # where these differ, nothing else need be compared
    pairs = (some[:, None] == some).all(-1).tril(-1).nonzero().tolist()
    copies = torch.zeros(len(values), dtype=torch.bool)
    for later, earlier in pairs:
        copies[later] = copies[later] or torch.equal(values[later], values[earlier])
    return copies


def _split(values: Tensor) -> Tensor:
    """(chains, draws, ...) -> (2 chains, draws // 2, ...); the middle draw of an odd number is dropped."""
    validate.tensor("values", values)
    if values.ndim < 2 or values.shape[1] < LEAST_FOR_RHAT or values.numel() == 0:
        raise ValueError(f"values must have shape (chains, draws >= 4, ...), got {tuple(values.shape)}.")
    if not torch.isfinite(values).all():
        raise ValueError("values contain NaN or infinity; look at the chains that made them.")
    half = values.shape[1] // 2
    halves = torch.cat([values[:, :half], values[:, -half:]])
    return halves.to(torch.promote_types(values.dtype, torch.float32))


def _normal_scores(values: Tensor) -> Tensor:
    """Normal quantiles of the pooled fractional ranks, ties averaged: Phi^-1((rank - 3/8) / (S + 1/4))."""
    columns = values.flatten(0, 1).flatten(1).mT.contiguous() if values.ndim > 2 else values.flatten()[None]
    ordered = columns.sort(dim=1).values
    below = torch.searchsorted(ordered, columns)
    not_above = torch.searchsorted(ordered, columns, right=True)
    ranks = 0.5 * (below + not_above + 1).to(values.dtype)
    scores = torch.special.ndtri((ranks - 0.375) / (columns.shape[1] + 0.25))
    return scores.mT.reshape(values.shape)


def _plain_rhat(z: Tensor) -> Tensor:
    n = z.shape[1]
    within, between = z.var(1).mean(0), z.mean(1).var(0)
    rhat = ((n - 1) / n + between / within).sqrt()
    # where no half ever moves, the variance within is 0, or what rounding leaves of it
    still, apart = (z == z[:, :1]).flatten(0, 1).all(0), (z[:, 0] != z[0, 0]).any(0)
    return torch.where(still, torch.where(apart, torch.inf, torch.nan).to(rhat), rhat)


def probe_rows(N: int, most: int = 50) -> Tensor:
    """At most `most` of N rows, evenly spaced: where convergence of functions is judged."""
    return torch.linspace(0, N - 1, min(most, N)).round().long()


def probe_inputs(x: Tensor, most: int = 50) -> Tensor:
    """These rows of x."""
    return x[probe_rows(len(x), most).to(x.device)]


def convergence(model: Model, draws: Tensor, probe: Tensor) -> dict[str, Tensor]:
    """R-hat and ESS (N, C) of the function values at `probe` for draws (chains, draws, D); nothing for < 4 draws.

    NaN where a function never changes, and ESS for < 10 draws.
    """
    chains, made = draws.shape[:2]
    if made < LEAST_FOR_RHAT:
        return {}
    f = model.functions(Stack(draws.flatten(0, 1), model.layout), probe).unflatten(0, (chains, made))
    return {"rhat": rhat(f), "ess": ess(f)}
