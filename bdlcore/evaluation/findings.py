"""What `bdlcore.health` checks: each function takes one aspect of a posterior and gives a number and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..inference.convergence import ess, rhat
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
    """The largest split R-hat of values (chains, draws, N, C): good up to 1.01 (Vehtari et al. 2021)."""
    values = rhat(by_chain)
    if values.isnan().any():
        return Finding(
            "R-hat", math.nan, "Some functions never change: chains are stuck. Use smaller steps.", False
        )
    worst = values.max().item()
    if worst <= 1.01:
        verdict = f"R-hat {worst:.3f}: the chains cannot be told apart."
    elif worst <= 1.05:
        verdict = f"R-hat {worst:.2f}: run longer."
    else:
        verdict = (
            f"R-hat {worst:.2f}: chains found different functions. Run much longer, or call it an ensemble."
        )
    return Finding("R-hat", worst, verdict, worst <= 1.01)


def ess_finding(by_chain: Tensor) -> Finding:
    """The smallest bulk ESS of values (chains, draws, N, C): good from 400 on (Vehtari et al. 2021)."""
    least = ess(by_chain).nan_to_num(nan=1.0).min().item()
    error = f"means are known to {100 / math.sqrt(least):.0f} % of a posterior std"
    enough = least >= 400
    advice = "." if enough else ": run longer for more."
    return Finding("ESS", least, f"At least {least:.0f} effective draws: {error}{advice}", enough)


def acceptance_finding(acceptance: Tensor) -> Finding:
    """Acceptance probabilities (chains,): bad below 0.3 in any chain; near 1 steps are wastefully small."""
    mean, least = acceptance.mean().item(), acceptance.min().item()
    if least < 0.3:
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


def _halves(reference: Tensor, chains: int) -> tuple[Tensor, Tensor] | None:
    """The even and the odd chains."""
    if chains < 2:
        return None
    by_chain = reference.unflatten(0, (chains, -1))
    return by_chain[::2].flatten(0, 1), by_chain[1::2].flatten(0, 1)


def function_distance(values: Tensor, reference: Tensor, chains: int) -> Iterator[Finding]:
    """Wasserstein distance between draws of functions (S, N, C) and (R, N, C), averaged over inputs and outputs."""
    distance, std = wasserstein(values, reference).mean().item(), reference.std(0).mean().item()
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
