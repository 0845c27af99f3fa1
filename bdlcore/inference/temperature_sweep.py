"""One run of HMC over many temperatures, and where the curve of a score against temperature has its top."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from ..models.log_posterior import in_memory
from ..models.marginalise import inputs_in_memory
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import float_like
from .convergence import probe_inputs, rhat
from .hmc import hmc

KINDS = {"cold": "temperature", "tempered": "likelihood_temperature"}


@dataclass(frozen=True, eq=False)
class TemperatureSweep:
    """What `temperature_sweep` drew.

    Attributes:
        temperatures: (T,) the temperatures.
        kind: "cold" or "tempered".
        functions: (T, S, N, C) values at the test inputs of the S = chains * draws functions of each temperature.
        rhat: (T,) largest R-hat of these values over (at most 10) test inputs and outputs.
        acceptance: (T,) mean acceptance probability.
    """

    temperatures: Tensor
    kind: str
    functions: Tensor
    rhat: Tensor
    acceptance: Tensor


def temperature_sweep(
    model: Model,
    x: Data,
    y: Tensor | None,
    x_test: Data,
    temperatures: Tensor,
    *,
    kind: str,
    chains: int = 4,
    draws: int = 50,
    warmup: int = 50,
    leapfrog_steps: int = 16,
    initial_steps: int = 100,
    seed: int | torch.Generator = 0,
) -> TemperatureSweep:
    """Posteriors of one model at several temperatures, by HMC with all temperatures and chains as rows of one stack.

        "cold":      p_T(w | D)  ~  [p(D | w) p(w)]^(1/T)
        "tempered":  p_T(w | D)  ~  p(D | w)^(1/T) p(w)

    Args:
        model: network, prior, likelihood.
        x, y: training data; for x a `Dataset` or `DataLoader` of pairs, then y is None. It is read once.
        x_test: (N, ...) inputs, or what reads them, at which functions are kept, and R-hat is computed.
        temperatures: (T,) positive.
        kind: "cold" or "tempered". There is no default, since they answer different questions.
        chains: per temperature, at least 2, each from its own draw of the prior, so that R-hat means something.
        draws, warmup, leapfrog_steps, initial_steps: of each chain, see `hmc`.
        seed: seed or generator.
    """
    validate.choice("kind", kind, KINDS)
    temperatures = _temperatures(temperatures)
    validate.count("chains", chains, 2, "R-hat compares chains from different starts.")
    validate.count("draws", draws, 4)
    x, y = in_memory(model, x, y)
    model.check_inputs(x)
    x_test = inputs_in_memory(model, x_test)
    validate.inputs("x_test", x_test, integers=True)
    model.check_inputs(x_test)
    temperatures = temperatures.to(float_like(x))
    model.functions(model.prior_like(1, 0, x), x_test[:1])  # now, rather than after all draws are made
    posterior = hmc(
        model,
        x,
        y,
        chains=chains * len(temperatures),
        draws=draws,
        warmup=warmup,
        leapfrog_steps=leapfrog_steps,
        initial_steps=initial_steps,
        probe=x[:1],  # across temperatures R-hat means nothing; it is computed for each below
        seed=seed,
        **{KINDS[kind]: temperatures.repeat_interleave(chains)},
    )
    f = model.functions(posterior.stack, x_test).unflatten(0, (len(temperatures), chains, -1))
    probe = probe_inputs(f.permute(3, 0, 1, 2, 4), 10).permute(1, 2, 3, 0, 4)
    return TemperatureSweep(
        temperatures,
        kind,
        f.flatten(1, 2),
        torch.stack([rhat(values).nan_to_num(torch.inf).amax() for values in probe]),
        posterior.acceptance.view(-1, chains).mean(1),
    )


def best_temperature(temperatures: Tensor, scores: Tensor) -> Tensor:
    """Where scores (..., T) are highest: the top of a parabola in log T through the best point and its neighbours.

    When the best point is the first or last temperature it is returned as it is: the top may lie beyond.

    Args:
        temperatures: (T,) positive and increasing, at least 3.
        scores: (..., T), higher is better.

    Returns:
        (...) temperatures.
    """
    t = _temperatures(temperatures).to(scores).log()
    if len(t) < 3 or scores.shape[-1] != len(t):
        raise ValueError(
            f"best_temperature needs at least 3 temperatures and one score for each, got {len(t)} temperatures "
            f"and scores of shape {tuple(scores.shape)}."
        )
    if not bool((t.diff() > 0).all()):
        raise ValueError("temperatures must increase; sort them, and the scores with them.")
    validate.finite("scores", scores)
    top = scores.argmax(-1)
    middle = top.clamp(1, len(t) - 2)
    (a, b, c), (u, v, w) = (
        [each.gather(-1, (middle + shift)[..., None])[..., 0] for shift in (-1, 0, 1)]
        for each in (t.expand(scores.shape), scores)
    )
    left, right = (v - u) / (b - a), (w - v) / (c - b)  # slopes on both sides: not both 0 unless flat
    curvature = (right - left) / ((c - a) / 2)
    peak = (a + b) / 2 - left / torch.where(curvature < 0, curvature, -torch.inf)
    inside = (top == middle) & (curvature < 0)
    return torch.where(inside, peak.clamp(a, c), t[top]).exp()


def _temperatures(temperatures: Tensor) -> Tensor:
    if not isinstance(temperatures, Tensor) or temperatures.ndim != 1 or len(temperatures) == 0:
        raise ValueError(
            "temperatures must be a tensor of shape (T,), for example torch.tensor([0.1, 0.3, 1.0])."
        )
    validate.positive("temperatures", temperatures)
    return temperatures
