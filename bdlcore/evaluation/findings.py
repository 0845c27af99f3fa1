"""What `bdlcore.health` checks: each function takes one aspect of a posterior and gives a number and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..inference.convergence import LEAST_FOR_ESS, LEAST_FOR_RHAT, changing, copied_chains, ess, rhat
from ..predictions.categorical import at_least_single
from .distances import agreement, total_variation, wasserstein


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        name: what.
        value: the number that the verdict rests on.
        verdict: a sentence that says what it means and what to do.
        good: True, False, or None where a number is shown without a judgement.
    """

    name: str
    value: float
    verdict: str
    good: bool | None


def rhat_finding(by_chain: Tensor) -> Finding:
    """The largest split R-hat of values (chains, draws, N, C): good up to 1.01 (Vehtari et al. 2021).

    Values that stand at one number in all chains are left out, and counted in the verdict. Bad, whatever R-hat: fewer
    than 4 draws per chain, and chains that are copies of others.
    """
    if by_chain.shape[1] < LEAST_FOR_RHAT:
        verdict = f"R-hat needs {LEAST_FOR_RHAT} draws per chain, here are {by_chain.shape[1]}: draw more."
        return Finding("R-hat", math.nan, verdict, False)
    values, still = changing(rhat(by_chain))
    if len(values) == 0:
        verdict = "No function ever changes: chains are stuck. Use smaller steps."
        return Finding("R-hat", math.nan, verdict, False)
    worst, copies = values.max().item(), int(copied_chains(by_chain).sum())
    if copies:
        verdict = (
            f"R-hat {worst:.3f} means nothing: {copies} of {len(by_chain)} chains are identical to others, draw by "
            "draw. Give every chain a start and random numbers of its own."
        )
    elif worst == math.inf:
        verdict = "R-hat is infinite: chains are stuck, each at functions of its own. Use smaller steps."
    elif worst <= 1.01:
        verdict = f"R-hat {worst:.3f}: the chains cannot be told apart."
    elif worst <= 1.05:
        verdict = f"R-hat {worst:.2f}: run longer."
    else:
        verdict = (
            f"R-hat {worst:.2f}: chains found different functions. Run much longer, or call it an ensemble."
        )
    if still:
        verdict += f" Left out: {still} of {still + len(values)} values, which never change."
    return Finding("R-hat", worst, verdict, worst <= 1.01 and not copies)


def ess_finding(by_chain: Tensor) -> Finding:
    """The smallest bulk ESS of values (chains, draws, N, C): good from 400 on (Vehtari et al. 2021).

    Values that never change and chains that are copies of others are left out; bad with fewer than 10 draws per chain.
    """
    if by_chain.shape[1] < LEAST_FOR_ESS:
        verdict = f"ESS needs {LEAST_FOR_ESS} draws per chain, here are {by_chain.shape[1]}: draw more."
        return Finding("ESS", math.nan, verdict, False)
    values, _ = changing(ess(by_chain[~copied_chains(by_chain).to(by_chain.device)]))
    if len(values) == 0:
        return Finding("ESS", math.nan, "No function ever changes: there is nothing to estimate from.", False)
    least = values.min().item()
    error = f"means are known to {100 / math.sqrt(least):.0f} % of a posterior std"
    enough = least >= 400
    advice = "." if enough else ": run longer for more."
    return Finding("ESS", least, f"At least {least:.0f} effective draws: {error}{advice}", enough)


def acceptance_finding(acceptance: Tensor) -> Finding:
    """Acceptance probabilities (chains,): bad below 0.3 in any chain; near 1 steps are wastefully small."""
    mean, least = acceptance.mean().item(), acceptance.min().item()
    if not math.isfinite(mean):
        verdict, good = "Some acceptance is NaN: the log density became NaN. Use smaller steps.", False
    elif least < 0.3:
        verdict, good = f"One chain accepts {least:.0%} only: smaller steps, or a longer warm-up.", False
    elif mean > 0.98:
        verdict, good = f"{mean:.1%} accepted: larger steps would move further for the same price.", None
    else:
        verdict, good = f"{mean:.0%} of proposals accepted, {least:.0%} in the worst chain.", True
    return Finding("acceptance", mean, verdict, good)


def divergence_finding(divergences: Tensor, draws: int) -> Finding:
    """Divergent trajectories (chains,) of `draws` each: bad from 2 % on."""
    total, of = int(divergences.sum()), draws * len(divergences)
    if total == 0:
        return Finding("divergences", 0, f"None of {of} trajectories diverged.", True)
    verdict = f"{total} of {of} trajectories diverged: raise target_acceptance, or check the scale of prior and noise."
    return Finding("divergences", total, verdict, None if total < 0.02 * of else False)


def temperature_finding(warmth: Tensor) -> Finding:
    """Configurational temperature (chains,), which is 1 in expectation: good within 0.1."""
    mean = warmth.mean().item()
    good = abs(mean - 1) < 0.1
    if good:
        verdict = f"{mean:.2f}: draws are as wide as the target."
    elif not math.isfinite(mean):
        verdict = "NaN: gradients became NaN or infinite. Use smaller steps."
    elif mean > 1:
        verdict = f"{mean:.2f}: draws are too wide. Use smaller steps or larger batches."
    else:
        verdict = f"{mean:.2f}: chains have not spread yet. Run longer, or use larger steps."
    return Finding("configurational temperature", mean, verdict, good)


def curve_finding(what: str, loss: Tensor) -> Finding:
    """Compare the last tenth of a falling curve (steps,) with the tenth before it, and with the whole fall."""
    if not torch.isfinite(loss).all():
        return Finding(what, math.nan, f"The {what} became NaN or infinite: use a smaller lr.", False)
    tenth = len(loss) // 10
    first, before, last = loss[:tenth].mean(), loss[-2 * tenth : -tenth].mean(), loss[-tenth:].mean()
    share = ((before - last) / (first - last).abs().clamp(min=1e-12)).item()
    good = share < 0.02
    state = f"The {what} has come to rest" if good else f"The {what} is still changing: use more steps"
    return Finding(what, share, f"{state} (its last tenth did {_percent(share)} of the whole).", good)


def mode_finding(excess: Tensor) -> Finding:
    """Whether Laplace's weights are at a mode, by the nats that a Newton step would still gain."""
    worst = excess.max().item()
    verdict = f"A Newton step would gain {worst:.2g} nats: "
    if worst < 1:
        return Finding("mode", worst, verdict + "the weights are at a mode.", True)
    verdict += "the weights are not at a mode, and the marginal likelihood is off by about as much."
    return Finding("mode", worst, verdict, False)


def spread_finding(values: Tensor, prior_values: Tensor, what: str) -> Finding:
    """The standard deviation of functions beside that of the prior's, in the median over inputs and outputs."""
    if len(values) == 1:
        return Finding(
            "spread", 0.0, "One setting of the weights: no uncertainty about functions at all.", False
        )
    ratio = (values.std(0) / prior_values.std(0).clamp(min=1e-12)).median().item()
    if ratio > 0.9:
        verdict, good = "at these inputs nothing was learned from the data", False
    elif ratio < 1e-3:
        verdict, good = "practically one function: the settings have collapsed", False
    else:
        verdict, good = "narrowed by the data, and not to a point", True
    return Finding(
        "spread", ratio, f"The {what} spread {_percent(ratio)} as wide as the prior's: {verdict}.", good
    )


def fit_finding(observed: float, replicates: Tensor, advice: str) -> Finding:
    """A posterior predictive check: the log density of the data beside those of data that the model makes itself, (R,).

        z = ( log p(y) - mean_r log p(y_r) ) / std_r log p(y_r),     the std no less than 1 nat

    Bad when z < -5 and y is twice as far below the mean as the least probable replicate: the second since log densities
    are skewed where data are few or functions uncertain, and there 5 std are not rare enough. Above 5 data are nearer
    to the functions than the noise allows, which is shown without a judgement, since functions that were fitted to
    these very data come near them. (Rubin 1984; Gelman, Meng & Stern 1996.)
    """
    mean, std = replicates.mean().item(), max(replicates.std().item(), 1.0)
    z = (observed - mean) / std
    where = f"The data's log density is {observed:.4g}, that of the model's own replicates {mean:.4g} +- {std:.2g}"
    furthest = mean - replicates.min().item()
    if not (z >= -5 or mean - observed <= 2 * furthest):  # also when it is NaN
        return Finding("fit", z, f"{where}: the model does not describe the data. {advice}", False)
    if z > 5:
        verdict = f"{where}: functions come nearer to the data than the noise allows. Is noise_std too large?"
        return Finding("fit", z, verdict, None)
    return Finding("fit", z, f"{where} (z {z:.1f}): nothing to be seen against the model.", True)


def standardising_advice(x: Tensor, y: Tensor | None) -> str:
    """What to do about a misfit, for inputs x and for targets y where these are measured: None for labels and counts.

    Not near mean 0 and std 1 is a feature or output whose root mean square is above 3, or none with a std above 0.1.
    """
    named = (("inputs", x), ("targets", y))
    far = [(name, _far(value, 3.0, 0.1)) for name, value in named if value is not None]
    words = [f"{name} (mean {at[0]:.3g}, std {at[1]:.3g})" for name, at in far if at]
    if words:
        return f"Standardise {' and '.join(words)} to mean 0 and std 1, and fit again."
    return "Check the likelihood (is noise_std too small?), and whether the fit has converged."


def inputs_finding(x: Tensor) -> Iterator[Finding]:
    """Nothing, or that inputs x (N, features) or (N, channels, ...) are far from order 1.

    A plain prior over weights presumes that. Far is a feature (channel) whose root mean square is above 10, or that no
    feature varies by a std of 0.01, though some do vary. Whole numbers (tokens) are not judged.
    """
    if at := _far(x, 10.0, 0.01):
        verdict = (
            "Inputs are far from the order 1 that a prior over weights presumes: one feature has mean "
            f"{at[0]:.3g}, std {at[1]:.3g}. Standardise to mean 0 and std 1, and fit again."
        )
        yield Finding("inputs", math.hypot(*at), verdict, False)


def _far(x: Tensor, large: float, small: float) -> tuple[float, float] | None:
    """Mean and std of the largest feature, if above `large`, or of the widest, if below `small`; None otherwise."""
    if not x.is_floating_point() or len(x) < 2:
        return None
    mean, std = _moments(x)
    size = torch.hypot(mean, std)
    if size.max() > large:
        at = size.argmax()
    elif 0 < std.max() < small:
        at = std.argmax()
    else:
        return None
    return mean[at].item(), std[at].item()


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std per feature (channel) of x (N,), (N, F) or (N, channels, ...), (F,) each; std 0 where constant."""
    x = at_least_single(x[:, None] if x.ndim == 1 else x).movedim(1, 0).flatten(1)
    constant = (x == x[:, :1]).all(1)
    return x.mean(1), x.std(1, correction=0).masked_fill(constant, 0)


def _halves(reference: Tensor, chains: int) -> tuple[Tensor, Tensor] | None:
    """The even and the odd chains; none where chains are copies, which say nothing of how well they have mixed."""
    by_chain = reference.unflatten(0, (chains, -1))
    if chains < 2 or copied_chains(by_chain).any():
        return None
    return by_chain[::2].flatten(0, 1), by_chain[1::2].flatten(0, 1)


def function_distance(values: Tensor, reference: Tensor, chains: int) -> Iterator[Finding]:
    """Wasserstein distance between draws of functions (S, N, C) and (R, N, C), averaged over inputs and outputs."""
    distance, std = wasserstein(values, reference).mean().item(), reference.std(0).mean().item()
    if std == 0:
        raise ValueError(
            "The functions of the reference are all the same; a posterior to compare with needs several."
        )
    halves = _halves(reference, chains)
    floor = wasserstein(*halves).mean().item() if halves else None
    text = f"Wasserstein {distance:.3g}, {_percent(distance / std)} of the reference's std"
    yield _distance(text, distance, floor, std, close=0.1, far=0.5)


def class_distances(values: Tensor, reference: Tensor, chains: int) -> Iterator[Finding]:
    """Total variation between and agreement of class probabilities (S, N, C) and (R, N, C), averaged over draws."""
    p, q = values.mean(0), reference.mean(0)
    distance, halves = total_variation(p, q).mean().item(), _halves(reference, chains)
    floor = total_variation(*(half.mean(0) for half in halves)).mean().item() if halves else None
    yield _distance(f"Total variation {distance:.3g}", distance, floor, 1.0, close=0.05, far=0.25)
    same = agreement(p, q)
    yield Finding("agreement", same, f"{_percent(same)} of the inputs get the reference's label.", None)


def _distance(
    text: str, distance: float, floor: float | None, unit: float, close: float, far: float
) -> Finding:
    """Judge a distance by thresholds in some unit, or by the distance between halves of the reference."""
    at_floor = floor is not None and distance < 2 * floor
    if distance < close * unit:
        meaning, good = "close", True
    elif at_floor:
        meaning, good = "no further than halves of the reference are from each other", None
    else:
        meaning, good = "visibly different" if distance < far * unit else "far from the reference", False
    if floor is not None:
        text += f" (halves of the reference: {floor:.3g})"
        if floor > close * unit:
            meaning += ". The reference has not mixed itself"
    return Finding("distance", distance, f"{text}: {meaning}.", good)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{100 * share:.2g} %"
