"""May a posterior be trusted? Everything that can be checked without knowing the truth, each with a plain verdict."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import generator
from ..inference.convergence import probe_inputs, probe_rows
from ..inference.posterior import AnyPosterior
from ..models.model import Model
from ..models.reading import Data, Reader, is_read
from ..models.stack import Stack, float_like
from ..predictions.categorical import at_least_single
from .findings import (
    Finding,
    acceptance_finding,
    class_distances,
    curve_finding,
    divergence_finding,
    ess_finding,
    fit_finding,
    function_distance,
    inputs_finding,
    mode_finding,
    rhat_finding,
    spread_finding,
    standardising_advice,
    temperature_finding,
)

_PROBES = 200  # inputs looked at, at most
_REPLICATES = 200  # data sets that the model makes itself, and functions that judge them, at most


@dataclass(frozen=True)
class Health:
    """All findings on one posterior; shown as a table. `report["R-hat"]` is one of them.

    Attributes:
        subject: which posterior.
        findings: in the order shown.
    """

    subject: str
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong that these checks can see."""
        return all(finding.good is not False for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(
            f"{name!r} was not checked for {self.subject}; checked: {[f.name for f in self.findings]}"
        )

    def __repr__(self) -> str:
        width = max(len(finding.name) for finding in self.findings)
        lines = [f"  {_SIGNS[f.good][0]} {f.name:{width}}  {f.verdict}" for f in self.findings]
        return "\n".join([self._title, *lines])

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left;vertical-align:top;padding:.1em .8em .1em 0">'
        rows = "".join(
            f'<tr>{cell}<b style="color:{_SIGNS[f.good][1]}">{_SIGNS[f.good][0]}</b></td>'
            f"{cell}{html.escape(f.name)}</td>{cell}{html.escape(f.verdict)}</td></tr>"
            for f in self.findings
        )
        return f'<b>{html.escape(self._title)}</b><table style="font-size:inherit">{rows}</table>'

    @property
    def _title(self) -> str:
        wrong = sum(finding.good is False for finding in self.findings)
        return f"{self.subject}; " + (
            f"{_count(wrong, 'thing')} to look at" if wrong else "nothing wrong to be seen"
        )


_SIGNS = {True: ("✓", "#009E73"), False: ("✗", "#D55E00"), None: ("·", "#8A8A8A")}


def health(
    model: Model,
    posterior: AnyPosterior | Stack,
    x: Data,
    y: Tensor | None = None,
    *,
    reference: AnyPosterior | Stack | None = None,
    prior_draws: int | Stack = 200,
    draws: int = 500,
    seed: int | torch.Generator = 0,
) -> Health:
    """Check a posterior by the functions that it stands for: values f(x), or class probabilities.

    R-hat, ESS, acceptance and divergences for Markov chains; the curve of loss or ELBO; whether Laplace's weights are
    at a mode; the spread over functions beside the prior's; given targets, whether they look like data that the model
    makes; without them, inputs that are far from order 1, where they are; and, given a reference, the distance of its
    predictive. What a method does not have is left out. None of it proves a posterior right; each can show one wrong.

    Whether it describes the data is asked of the log predictive density sum_n log p(y_n | x_n, D): that of y is held
    against that of 200 replicates, each drawn from the likelihood at one function of the posterior and judged by the
    others. Bad is more than 5 standard deviations below them; see `fit_finding`. Data that were fitted pass more easily
    than new ones, and a model that predicts little, but with honest width, passes.

    Args:
        model: the model.
        posterior: what a method returned, or a bare stack. Laplace's stands for its linearised functions.
        x: inputs at which functions are compared; of more than 200, 200 at even distances are taken. Of a `Dataset` or
            `DataLoader` of pairs (x, y) these are read and no others, with their targets.
        y: the targets at x, as the likelihood wants them; None to leave out the comparison with data.
        reference: a posterior to compare with, such as long HMC. Where it has several chains, the distance between one
            half of them and the other is shown as the floor below which no distance means anything.
        prior_draws: draws of the prior to compare the spread with, or a stack of them.
        draws: functions drawn where a posterior is no stack, such as Laplace's, over all modes.
        seed: of those draws, and of the replicates.
    """
    if is_read(x):
        reader = Reader(x, y, device=model.device)
        model.check_data(reader.x, reader.y)
        ((x, y),) = reader.read([probe_rows(reader.count, _PROBES).tolist()])
    model.check_inputs(x)
    targets = None if y is None else probe_inputs(model.check_data(x, y), _PROBES)
    every, x = x, probe_inputs(x, _PROBES)
    if not isinstance(prior_draws, Stack):
        count = validate.count("prior_draws", prior_draws, 2)
        prior_draws = model.prior_like(count, seed, x)
    elif len(prior_draws) < 2:
        raise ValueError(
            f"prior_draws must be at least 2 settings, to have a spread; got a stack of {len(prior_draws)}."
        )
    f = _functions(model, posterior, x, draws, seed)
    values, _ = _in_units(model, f)
    findings = [*_chains(posterior, values), *_optimisation(posterior)]
    prior_values, classes = _in_units(model, model.functions(prior_draws, x))
    findings.append(spread_finding(values, prior_values, "class probabilities" if classes else "functions"))
    if targets is None:
        findings.extend(inputs_finding(every))
    else:
        findings.append(_fit(model, f, every, x, targets, seed))
    if reference is not None:
        other, _ = _in_units(model, _functions(model, reference, x, draws, seed))
        if len(other) == 1:
            raise ValueError("The reference has one setting only; a posterior to compare with needs several.")
        compare = class_distances if classes else function_distance
        findings.extend(compare(values, other, getattr(reference, "chains", 1)))
    return Health(_subject(posterior, len(values)), tuple(findings))


def _functions(model: Model, posterior: AnyPosterior | Stack, x: Tensor, draws: int, seed) -> Tensor:
    """f (S, N, C), finite, of the functions that a posterior stands for."""
    stack = getattr(posterior, "stack", posterior)
    if isinstance(stack, Stack):
        f = model.functions(stack, x)
    elif isinstance(posterior, AnyPosterior):
        draws = validate.count("draws", draws) // getattr(posterior, "chains", 1)
        f = posterior.functions(x, max(1, draws), seed)
    else:
        raise TypeError(
            f"Expected a posterior or a Stack, got {type(posterior).__name__}: give health what hmc, ensemble, laplace "
            "and their like return."
        )
    if len(f) == 0:
        raise ValueError("The stack is empty; there is nothing to judge.")
    wrong = (~torch.isfinite(f)).flatten(1).any(1)
    if wrong.any():
        raise ValueError(
            f"{int(wrong.sum())} of {len(f)} functions are NaN or infinite at some input: look at the run that made "
            "them, or leave those rows out of the stack."
        )
    return at_least_single(f)


def _fit(model: Model, f: Tensor, every: Tensor, x: Tensor, y: Tensor, seed) -> Finding:
    """A posterior predictive check of functions f (S, N, C) at x on checked targets y, by the likelihood's protocol."""
    likelihood, random, f = model.likelihood, generator(seed, 7), probe_inputs(f, _REPLICATES)
    S, made, densities = len(f), [], []
    for r in range(_REPLICATES):
        made.append(likelihood.targets(likelihood.sample(f[r % S], random), f.shape[-1], float_like(x)))
        log_p = likelihood.log_prob(f, made[-1])
        if S > 1:
            log_p[r % S] = -torch.inf  # the data did not come from any of the functions either
        densities.append((log_p.logsumexp(0) - math.log(max(S - 1, 1))).sum().item())
    observed = (likelihood.log_prob(f, y).logsumexp(0) - math.log(S)).sum().item()
    measured = made[0].is_floating_point() and bool((made[0] != made[0].round()).any())
    advice = standardising_advice(every, y if measured else None)
    return fit_finding(observed, torch.tensor(densities, dtype=torch.float64), advice)


def _in_units(model: Model, f: Tensor) -> tuple[Tensor, bool]:
    """What functions f (S, N, C) are compared by: class probabilities where y is a class (True), else f itself."""
    probabilities = model.likelihood.probabilities(f)
    return (f, False) if probabilities is None else (probabilities, True)


def _subject(posterior: AnyPosterior | Stack, functions: int) -> str:
    if isinstance(posterior, Stack):
        return f"Stack: {_count(functions, 'setting')}"
    if not hasattr(posterior, "stack"):
        return f"{posterior.method}: {_count(functions, 'function')}"
    kind = "member" if posterior.log_density is None else "chain"
    return f"{posterior.method}: {_count(functions, 'setting')} from {_count(posterior.chains, kind)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _chains(posterior, values: Tensor) -> Iterator[Finding]:
    """How a Markov chain moved, and whether several found the same functions."""
    if getattr(posterior, "log_density", None) is None:
        return
    by_chain = values.unflatten(0, (posterior.chains, -1))
    yield rhat_finding(by_chain)
    yield ess_finding(by_chain)
    if posterior.acceptance is not None:
        yield acceptance_finding(posterior.acceptance)
    if posterior.divergences is not None:
        yield divergence_finding(posterior.divergences, by_chain.shape[1])
    if posterior.configurational_temperature is not None:
        yield temperature_finding(posterior.configurational_temperature)


def _optimisation(posterior) -> Iterator[Finding]:
    """Whether what was optimised had come to rest."""
    if hasattr(posterior, "excess"):
        yield mode_finding(posterior.excess)
        return
    for name, what, sign in (("loss", "loss", 1), ("elbo", "ELBO", -1)):
        curve = getattr(posterior, name, None)
        if curve is not None and len(curve) >= 20:
            on_cpu = curve.cpu().double()  # some devices lack float64
            yield curve_finding(what, sign * on_cpu.mean(1))
