"""May a posterior be trusted? Everything that can be checked without knowing the truth, each with a plain verdict."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _validate
from .findings import (
    Finding,
    acceptance_finding,
    class_distances,
    curve_finding,
    divergence_finding,
    ess_finding,
    function_distance,
    mode_finding,
    rhat_finding,
    spread_finding,
    temperature_finding,
)
from .laplace_approximation import LaplacePosterior
from .likelihoods import Categorical
from .models import Model
from .posteriors import Posterior, probe_inputs
from .stacks import Stack

_PROBES = 200  # inputs looked at, at most


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
    posterior: Posterior | LaplacePosterior | Stack,
    x: Tensor,
    *,
    reference: Posterior | LaplacePosterior | Stack | None = None,
    prior_draws: int | Stack = 200,
    draws: int = 500,
    seed: int | torch.Generator = 0,
) -> Health:
    """Check a posterior by the functions that it stands for: values f(x), or class probabilities.

    R-hat, ESS, acceptance and divergences for Markov chains; the curve of loss or ELBO; whether Laplace's weights are
    at a mode; the spread over functions beside the prior's; and, given a reference, the distance of its predictive.
    What a method does not have is left out. None of it proves a posterior right; each can show one wrong.

    Args:
        model: the model.
        posterior: what a method returned, or a bare stack. Laplace's stands for its linearised functions.
        x: inputs at which functions are compared; of more than 200, 200 at even distances are taken.
        reference: a posterior to compare with, such as long HMC. Where it has several chains, the distance between one
            half of them and the other is shown as the floor below which no distance means anything.
        prior_draws: draws of the prior to compare the spread with, or a stack of them.
        draws: functions drawn from a Laplace posterior, over all modes.
        seed: of those draws.
    """
    model.check_inputs(x)
    x = probe_inputs(x, _PROBES)
    if not isinstance(prior_draws, Stack):
        count = _validate.count("prior_draws", prior_draws, 2)
        prior_draws = model.sample_prior(count, seed, dtype=x.dtype, device=x.device)
    values = _values(model, posterior, x, draws, seed)
    findings = [*_chains(posterior, values), *_optimisation(posterior)]
    findings.append(
        spread_finding(values, model.functions(prior_draws, x), isinstance(model.likelihood, Categorical))
    )
    if reference is not None:
        other = _values(model, reference, x, draws, seed)
        if len(other) == 1:
            raise ValueError("The reference has one setting only; a posterior to compare with needs several.")
        compare = class_distances if isinstance(model.likelihood, Categorical) else function_distance
        findings.extend(compare(values, other, getattr(reference, "chains", 1)))
    return Health(_subject(posterior, len(values)), tuple(findings))


def _values(model, posterior, x: Tensor, draws: int, seed) -> Tensor:
    """f (S, N, C), or class probabilities, of the functions that a posterior stands for."""
    if isinstance(posterior, LaplacePosterior):
        draws = max(1, _validate.count("draws", draws) // len(posterior.modes))
        f = posterior.functions(x, draws, seed)
    elif isinstance(posterior, Posterior | Stack):
        f = model.functions(posterior.stack if isinstance(posterior, Posterior) else posterior, x)
    else:
        raise TypeError(
            f"Expected a Posterior, a LaplacePosterior or a Stack, got {type(posterior).__name__}: give health what "
            "hmc, ensemble, laplace and their like return."
        )
    if len(f) == 0:
        raise ValueError("The stack is empty; there is nothing to judge.")
    return f.softmax(-1) if isinstance(model.likelihood, Categorical) else f


def _subject(posterior, functions: int) -> str:
    if isinstance(posterior, LaplacePosterior):
        modes = len(posterior.modes)
        return (
            f"Laplace ({posterior.structure}): {functions} linearised functions from {_count(modes, 'mode')}"
        )
    if isinstance(posterior, Stack):
        return f"Stack: {_count(functions, 'setting')}"
    kind = "run" if posterior.log_density is None else "chain"
    return f"{posterior.method}: {_count(functions, 'setting')} from {_count(posterior.chains, kind)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _chains(posterior, values: Tensor) -> Iterator[Finding]:
    """How a Markov chain moved, and whether several found the same functions."""
    if getattr(posterior, "log_density", None) is None:
        return
    by_chain = values.unflatten(0, (posterior.chains, -1))
    if by_chain.shape[1] >= 4:
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
    if isinstance(posterior, LaplacePosterior):
        yield mode_finding(posterior.excess)
        return
    for name, what, sign in (("loss", "loss", 1), ("elbo", "ELBO", -1)):
        curve = getattr(posterior, name, None)
        if curve is not None and len(curve) >= 20:
            yield curve_finding(what, sign * curve.double().mean(1))
