"""State what a lesson measured, with a verdict that is computed from the numbers and never passed in.

A **claim** is an inequality about the mean of independent values, such as "averaging gains more than 0 nats", or about
their median. It says what makes them independent: what *varies* from one to the next (the data set, the split of one
data set, the start of the network), and what stays. With `lower` and `upper` the bounds that the true mean passes with
a chance of 5 % each (2.5 % for `between`), computed as `bounds` says:

| asked for            | holds                          | contradicted               |
|----------------------|--------------------------------|----------------------------|
| `above=t`            | lower > t                      | upper < t                  |
| `below=t`            | upper < t                      | lower > t                  |
| `between=(lo, hi)`   | lower and upper inside lo…hi   | both on one side of it     |

and everything else is **not shown**: these values do not decide. Two things stand above the table. A claim about a
posterior whose chains have an R-hat beyond the lesson's own line is **not mixed**, whatever its values; and fewer than
5 independent values (10 for a bootstrap) are an **observation**. A lesson keeps its claims whatever the verdict.

Where two things vary, such as photos and, for each, the start of the network, the values come in *clusters*. The mean
is that of the clusters' means, and the bound is that of these means: with as many values in every cluster this is the
interval of the mixed model with one random effect. A value at the end of its grid is known only to lie there or
beyond: it leaves the mean without a bound on that side, and it never counts as inside an interval. The median has a
bound as long as few enough values are so.

The line is shown in the notebook, and the record behind it is stored as JSON in the same output, from which
`stored_claims` reads it back, checking the verdict against the values.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .._support import environment
from .bounds import BOUNDS, chances, limits, mean_and_sd, quantile

__all__ = ["Claim", "claim", "combined", "stored_claims"]

# A type of our own, because JupyterLab would show plain application/json as a tree in place of the line.
MIME = "application/vnd.bdlcore.claim+json"
ERROR_RATE = 0.05
SYMBOLS = {"holds": "✔", "not shown": "?", "contradicted": "✘", "not mixed": "≈", "observation": "○"}
DECIDED = ("holds", "contradicted")
RULES = ("above", "below", "between")
# what may vary from one value to the next, and how several of it are called
UNITS = {
    "data set": "data sets",
    "target function": "target functions",
    "split": "splits",
    "labels": "sets of labels",
    "noise": "draws of the noise",
    "photo": "photos",
    "table": "tables",
    "prior draw": "sets of draws from the prior",
    "network start": "network starts",
    "sampler": "runs of the sampler",
}
EDGES = ("", "low", "high", "both")
MIXED_RUNS = 0.9  # of the runs behind a combined claim must have mixed


@dataclass(frozen=True)
class Claim:
    """One measured claim: what was claimed, the numbers, and what they say about it.

    `varies` and `fixed` are the unit of replication, `clusters` the values' clusters (None: each value is one).
    `lower` and `upper` are the two confidence bounds that the verdict used, None where values at the end of their
    grid leave none: of the mean, or of the median where `bound` says so. `sd` is the spread of the independent
    values, which are the clusters' means where there are clusters; `sd_within` is then the spread inside them.
    `share` is the share of independent values that are on the claimed side by themselves. `p` is the chance of a
    mean as far on its side of the threshold, or farther, if the true mean were on the threshold (a median
    likewise): below 0.05 where the bounds decide. `seed_shift` and `scale` are those of `setup` at the time of the
    run.
    """

    name: str
    lesson: str
    statement: str
    quantity: str
    unit: str
    regime: str
    varies: tuple[str, ...]
    fixed: str
    rule: str
    threshold: float | tuple[float, float]
    bound: str
    seeds: tuple[int | str, ...]
    values: tuple[float, ...]
    clusters: tuple[int | str, ...] | None
    at_edge: tuple[str, ...] | None
    rhat: float | None
    rhat_limit: float | None
    mean: float
    sd: float
    sd_within: float | None
    lower: float | None
    upper: float | None
    share: float
    p: float
    verdict: str
    scale: str
    seed_shift: int

    @property
    def independent(self) -> int:
        """The number of independent values: of clusters, where there are any."""
        return len(self.values if self.clusters is None else set(self.clusters))

    @property
    def favourable(self) -> int:
        """How many of them are on the claimed side by themselves."""
        return round(self.share * self.independent)

    @property
    def number(self) -> str:
        """The mean with the spread of the independent values, for example `0.213 ± 0.041 nats`.

        Of a claim about the median it and the quartiles: `median 0.21, quartiles 0.18 and 0.24 nats`.
        """
        unit = f" {self.unit}" if self.unit else ""
        if self.bound == "median":
            return f"{self._quartiles()}{unit}"
        sign = {(True, False): "≤ ", (False, True): "≥ "}.get((self.lower is None, self.upper is None), "")
        if self.sd == 0:
            return f"{sign}{_digits(self.mean, 4)}{unit} every time"
        decimals = _decimals(self.sd)
        if decimals is not None and abs(self.mean) < 1e6:
            return f"{sign}{self.mean:.{decimals}f} ± {self.sd:.{decimals}f}{unit}"
        return f"{sign}{_digits(self.mean, 3)} ± {_digits(self.sd, 2)}{unit}"

    def _quartiles(self) -> str:
        """The median and the quartiles, with `≤` or `≥` before what may lie anywhere beyond."""
        x, edges = np.array(self.values), self.at_edge or [""] * len(self.values)
        quarters = [[quantile(each, q) for q in (0.25, 0.5, 0.75)] for each in (x, *_reach(x, edges))]
        decimals = _decimals((quarters[0][2] - quarters[0][0]) / 2)
        first, median, third = (
            ("≤ " if low == -math.inf else "≥ " if high == math.inf else "")
            + (_digits(q) if decimals is None else f"{q:.{decimals}f}")
            for q, low, high in zip(*quarters, strict=True)
        )
        return f"median {median}, quartiles {first} and {third}"

    @property
    def replication(self) -> str:
        """What varied and what did not, for example `5 values, each with its own split; fixed: the same images`."""
        n, fixed = self.independent, f"; fixed: {self.fixed}" if self.fixed else ""
        if self.clusters is None:
            return f"{n} values, each with its own {_listed(self.varies)}{fixed}"
        between, *within = self.varies
        each = Counter(self.clusters).values()
        times = f"{min(each)}" if min(each) == max(each) else f"{min(each)} to {max(each)}"
        inside = (
            f"each with {times} {_listed([UNITS[name] for name in within])}, sd {_digits(self.sd_within, 2)}"
        )
        return f"{n} {UNITS[between]}, {inside} within one{fixed}"

    @property
    def evidence(self) -> str:
        """The comparison that made the verdict, for example `95 % lower bound 0.19 > 0`."""
        kind = {"t": "", "fisher": " (Fisher z)"}.get(self.bound, f" ({self.bound})")
        thresholds = self.threshold if self.rule == "between" else (self.threshold,)
        low, high = (
            f"{sign}∞" if bound is None else _apart(bound, *thresholds)
            for sign, bound in (("−", self.lower), ("", self.upper))
        )
        if self.verdict == "not mixed":
            rhat = _apart(self.rhat, self.rhat_limit)
            return f"R-hat {rhat} is above the line of {self.rhat_limit:g}: the chains have not mixed"
        if self.verdict == "observation":
            return f"95 % bounds{kind} {low} and {high}, of too few values for a verdict"
        if self.rule == "between":
            lo, hi = self.threshold
            relation = {"holds": "inside", "contradicted": "outside", "not shown": "partly outside"}[
                self.verdict
            ]
            return f"95 % interval{kind} {low} to {high} is {relation} {_digits(lo)} to {_digits(hi)}"
        sign = ">" if self.rule == "above" else "<"
        threshold = _digits(self.threshold)
        if self.verdict == "not shown":
            return f"95 % bounds{kind} {low} and {high} do not decide whether it is {sign} {threshold}"
        if self.lower is not None and self.lower > self.threshold:
            return f"95 % lower bound{kind} {low} > {threshold}"
        return f"95 % upper bound{kind} {high} < {threshold}"

    @property
    def caveats(self) -> str:
        """What else must be known: values at the end of their grid, and the mixing of the chains."""
        said = []
        if self.at_edge:
            ends = sum(edge != "" for edge in self.at_edge)
            said += (
                [f"{ends} of {len(self.values)} values lie at the end of their grid, or beyond"]
                if ends
                else []
            )
        if self.rhat is not None and self.verdict != "not mixed":
            said.append(f"worst R-hat {_apart(self.rhat, self.rhat_limit)}, line {self.rhat_limit:g}")
        return "; ".join(said)

    def again(
        self,
        values: Sequence[float],
        seeds: Sequence[int | str],
        *,
        seed_shift: int,
        clusters: Sequence[int | str] | None = None,
        at_edge: Sequence[str] | None = None,
        rhat: float | None = None,
    ) -> Claim:
        """The same claim, measured by another run of its lesson."""
        found = {"values": values, "seeds": seeds, "seed_shift": seed_shift, "clusters": clusters}
        found |= {"at_edge": at_edge, "rhat": rhat, self.rule: self.threshold}
        found["rhat_limit"] = None if rhat is None else self.rhat_limit  # no chains, no line
        return _measure(**{field: getattr(self, field) for field in _GIVEN} | found)

    def record(self) -> dict[str, Any]:
        """Everything as plain JSON types: what is stored in the notebook."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Claim:
        """The claim that a record holds, computed again from its values.

        Raises ValueError when what the record says differs from what its values say.
        """
        if "values" in record and not record.get("varies"):
            raise ValueError(
                f"Claim {record.get('name')!r} does not say what varies from value to value. State it with varies=, "
                "and execute the notebook again."
            )
        try:
            claim = _measure(
                **{record["rule"]: record["threshold"]}, **{name: record[name] for name in _GIVEN}
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"Not a claim record: {error!r}. Execute the notebook again.") from error
        again = claim.record()
        for field, value in again.items():
            stored = record.get(field)
            near = isinstance(value, float) and isinstance(stored, int | float)
            if not (math.isclose(stored, value, rel_tol=1e-9, abs_tol=1e-12) if near else stored == value):
                raise ValueError(
                    f"Claim {claim.name!r} stores {field} = {stored!r}, but its values give {value!r}. "
                    "Execute the notebook again instead of editing its outputs."
                )
        return claim

    def __str__(self) -> str:
        return f"{SYMBOLS[self.verdict]} {self.verdict.capitalize()}: {self._sentence()}"

    def _sentence(self) -> str:
        regime = f" [{self.regime}]" if self.regime else ""
        caveats = f" · {self.caveats}" if self.caveats else ""
        summary = "" if self.bound == "median" else "mean ± sd of "
        return (
            f"{self.statement}{regime} · {self.quantity}: {self.number} ({summary}{self.replication}; "
            f"{self.favourable} of {self.independent} on the claimed side) · {self.evidence}{caveats}"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        line = (
            f"<div><b>{SYMBOLS[self.verdict]}&nbsp;{self.verdict.capitalize()}:</b> "
            f"{html.escape(self._sentence(), quote=False)}</div>"
        )
        return {"text/plain": str(self), "text/html": line, MIME: self.record()}

    def _ipython_display_(self) -> None:
        if _shown == (self, _cell()):
            return  # it is the value of the cell that made and showed it
        raise NotImplementedError  # IPython's way to say: display as usual


def claim(
    name: str,
    statement: str,
    values: Sequence[float],
    *,
    quantity: str,
    above: float | None = None,
    below: float | None = None,
    between: tuple[float, float] | None = None,
    seeds: Sequence[int | str],
    varies: str | Sequence[str],
    fixed: str = "",
    clusters: Sequence[int | str] | None = None,
    bound: str = "t",
    rhat: float | Sequence[float] | None = None,
    rhat_limit: float | None = None,
    at_edge: Sequence[str] | None = None,
    unit: str = "",
    regime: str = "",
) -> Claim:
    """Measure a claim over independent values, show its verdict in the notebook and return the record.

    Args:
        name: short and unique in the course, for example `averaging-beats-best`.
        statement: what is claimed, as a sentence a reader understands without the code.
        values: finite numbers, one per seed.
        quantity: what the numbers are, for example "test log-likelihood, average minus best single".
        above, below, between: the claim about the mean or median, exactly one of them; see the module's table.
        seeds: what tells the values apart, in the same order and all different (inside a cluster): the seeds that
            gave them, or names, such as those of photos.
        varies: what is another one for each value, one or more of "data set" (fresh draws from where data come
            from), "target function", "split" (the same examples, split anew), "labels", "noise", "photo", "table",
            "prior draw", "network start", "sampler".
        fixed: what stays although a reader might think that it varies, for example "the same 1,797 images".
        clusters: where two things vary, one label per value. `varies` then names what differs between clusters
            first, and after it what differs inside them; values of equal labels count as one.
        bound: "t", "fisher" for correlations, "binomial" for values of 0 and 1, "bootstrap" for heavy tails; "median"
            for a claim about the median, which values at the end of their grid do not stop; see
            `bdlcore.notebook.bounds`.
        rhat: R-hat of the chains behind the values; the worst counts.
        rhat_limit: the lesson's line, above which its chains have not mixed; with `rhat`.
        at_edge: for each value "", or "low" or "high" where it is the lowest or highest of the grid on which it was
            searched, so that the true one may lie beyond; "both" for what is computed from two such values.
        unit: of the values, for example "nats per point".
        regime: where the claim was measured, if it does not hold everywhere, for example "20 points".

    Raises:
        ValueError: naming the argument, what it was and what to do.

    >>> gains = [0.2, 0.3, 0.25, 0.22, 0.28]
    >>> print(claim("gain", "It gains.", gains, quantity="gain", above=0, seeds=range(5), varies="data set"))
    ✔ Holds: It gains. · gain: 0.250 ± 0.041 (mean ± sd of 5 values, each with its own data set; 5 of 5 on the \
claimed side) · 95 % lower bound 0.211 > 0
    """
    measured = _measure(
        name=name,
        statement=statement,
        values=values,
        quantity=quantity,
        above=above,
        below=below,
        between=between,
        seeds=seeds,
        varies=varies,
        fixed=fixed,
        clusters=clusters,
        bound=bound,
        rhat=rhat,
        rhat_limit=rhat_limit,
        at_edge=at_edge,
        unit=unit,
        regime=regime,
        lesson=_lesson(os.environ.get("JPY_SESSION_NAME", "")),
        scale=environment.scale(),
        seed_shift=environment.seed_shift(),
    )
    _show(measured)
    return measured


def combined(runs: Sequence[Claim]) -> Claim:
    """One claim over the values of several runs of a lesson, which differ in their seeds alone.

    Values with the same name (of a photo, say) or the same cluster in two runs stay one cluster: running again adds
    no photos. The combined claim has mixed when nine of ten runs have.

    Raises ValueError where the runs are not of one claim, or share a seed.
    """
    if not runs:
        raise ValueError("runs must hold at least one claim.")
    first = runs[0]
    same = ("name", "lesson", "quantity", "rule", "threshold", "bound", "varies", "rhat_limit", "scale")
    for field in same:
        if len({getattr(run, field) for run in runs}) > 1:
            raise ValueError(f"runs must be of one claim, but their {field} differs: {first.name!r}.")
    shifts = [run.seed_shift for run in runs]
    if len(set(shifts)) < len(shifts):
        raise ValueError(f"runs must be on different seeds, got shifts {shifts} of {first.name!r}.")
    clusters, varies = None, first.varies
    named = any(isinstance(seed, str) for run in runs for seed in run.seeds)
    if first.clusters is not None:
        clusters = [label for run in runs for label in run.clusters]
    elif named and len(runs) > 1:
        clusters = [seed for run in runs for seed in run.seeds]
        varies = (*varies, "network start") if len(varies) == 1 else varies
    # a name says nothing about the run it comes from
    seeds = [f"{seed}/{run.seed_shift}" if named else seed for run in runs for seed in run.seeds]
    rhats = sorted(run.rhat for run in runs if run.rhat is not None)
    edges = [edge for run in runs for edge in run.at_edge or [""] * len(run.values)]
    return _measure(
        **{field: getattr(first, field) for field in _GIVEN}
        | {
            first.rule: first.threshold,
            "values": [value for run in runs for value in run.values],
            "seeds": seeds if len(runs) > 1 else first.seeds,
            "varies": varies,
            "clusters": clusters,
            "rhat": rhats[math.ceil(MIXED_RUNS * len(rhats)) - 1] if rhats else None,
            "at_edge": edges if any(edges) else None,
        }
    )


def stored_claims(notebook: str | Path | Mapping[str, Any]) -> list[Claim]:
    """The claims in the stored outputs of a notebook (a path, or its parsed JSON), in order.

    Raises ValueError for a record that disagrees with its own values or that came from another lesson.
    """
    path = None
    if isinstance(notebook, str | Path):
        path = Path(notebook)
        notebook = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Claim] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            record = output.get("data", {}).get(MIME)
            if record is None:
                continue
            claim = Claim.from_record(record)
            if path is not None and claim.lesson != _lesson(path.as_posix()):
                raise ValueError(
                    f"{path} holds the claim {claim.name!r} of the lesson {claim.lesson!r}. "
                    "Execute it again with tools/execute_notebooks.py."
                )
            if claim.name in found and found[claim.name] != claim:
                raise ValueError(
                    f"Two different claims of {path or 'the notebook'} are named {claim.name!r}."
                )
            found[claim.name] = claim
    return list(found.values())


# what a claim is measured from; the rest of its fields is computed
_GIVEN = (
    "name", "lesson", "statement", "quantity", "unit", "regime", "varies", "fixed", "bound", "seeds", "values",
    "clusters", "at_edge", "rhat", "rhat_limit", "scale", "seed_shift",
)  # fmt: skip


def _measure(
    *,
    name: str,
    statement: str,
    values: Sequence[float],
    quantity: str,
    above: float | None = None,
    below: float | None = None,
    between: Sequence[float] | None = None,
    seeds: Sequence[int | str],
    varies: str | Sequence[str],
    fixed: str,
    clusters: Sequence[int | str] | None,
    bound: str,
    rhat: float | Sequence[float] | None,
    rhat_limit: float | None,
    at_edge: Sequence[str] | None,
    unit: str,
    regime: str,
    lesson: str,
    scale: str,
    seed_shift: int,
) -> Claim:
    for argument, text in {"name": name, "statement": statement, "quantity": quantity}.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{argument} must be a text that says something, got {text!r}.")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(
            f"name must be lower-case words joined by hyphens, like 'averaging-helps'; got {name!r}."
        )
    if not isinstance(fixed, str):
        raise ValueError(f"fixed must be a text, such as 'the same 1,797 images'; got {fixed!r}.")
    rule, threshold = _rule(above, below, between)
    varies = _units(varies)
    x = _numbers("values", values)
    seeds = _labels("seeds", seeds, len(x))
    if clusters is not None:
        clusters = _labels("clusters", clusters, len(x))
        if len(varies) < 2:
            raise ValueError(
                f"With clusters, varies must name what differs between them and what differs inside; got {varies}."
            )
    told_apart = list(zip(clusters, seeds)) if clusters else list(seeds)
    if len(set(told_apart)) < len(told_apart):
        raise ValueError(
            f"seeds must all be different{' in a cluster' if clusters else ''}, got {list(seeds)}. "
            "Repeating a seed adds no evidence."
        )
    edges = _edges(at_edge, len(x))
    rhat, rhat_limit = _mixing(rhat, rhat_limit)
    if bound not in BOUNDS:
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}; got {bound!r}.")
    way = BOUNDS[bound]
    way.check(x)
    if clusters and not way.clustered:
        raise ValueError(f"bound={bound!r} is for independent values; with clusters use 't' or 'bootstrap'.")

    x_given, edges_given, sd_within = x, edges, None
    if clusters:
        x, edges, sd_within = _by_cluster(x, edges, clusters)
    if len(x) < 2:
        of = "clusters" if clusters else "values"
        raise ValueError(f"A claim needs at least 2 independent values to have a spread, got {len(x)} {of}.")
    mean, sd = mean_and_sd(x)
    if not (math.isfinite(mean) and math.isfinite(sd)):
        raise ValueError("values are too large to take their mean and spread. Rescale them.")

    lows, highs = _reach(x, edges)
    tail = ERROR_RATE / (2 if rule == "between" else 1)
    lower, upper = limits(way, lows, highs, tail)
    if rule == "between":
        lo, hi = threshold
        holds, contradicted = lo < lower and upper < hi, upper < lo or lower > hi
        good = (lows > lo) & (highs < hi)
        (above_lo, below_lo), (above_hi, below_hi) = (chances(way, lows, highs, t) for t in threshold)
        p = min(1.0, 2 * min(max(above_lo, below_hi), below_lo, above_hi))
    else:
        over, under = lower > threshold, upper < threshold
        holds, contradicted = (over, under) if rule == "above" else (under, over)
        good = lows > threshold if rule == "above" else highs < threshold
        p = min(chances(way, lows, highs, threshold))
    verdict = "holds" if holds else "contradicted" if contradicted else "not shown"
    if len(x) < way.least:
        verdict = "observation"
    if rhat is not None and rhat > rhat_limit:
        verdict = "not mixed"
    return Claim(
        name=name,
        lesson=lesson,
        statement=statement.strip(),
        quantity=quantity.strip(),
        unit=unit,
        regime=regime,
        varies=varies,
        fixed=fixed.strip(),
        rule=rule,
        threshold=threshold,
        bound=bound,
        seeds=seeds,
        values=tuple(x_given.tolist()),
        clusters=clusters,
        at_edge=edges_given if at_edge is not None else None,
        rhat=rhat,
        rhat_limit=rhat_limit,
        mean=mean,
        sd=sd,
        sd_within=sd_within,
        lower=lower if math.isfinite(lower) else None,
        upper=upper if math.isfinite(upper) else None,
        share=float(good.mean()),
        p=p,
        verdict=verdict,
        scale=scale,
        seed_shift=seed_shift,
    )


def _by_cluster(
    x: np.ndarray, edges: Sequence[str], clusters: Sequence[int | str]
) -> tuple[np.ndarray, tuple[str, ...], float]:
    """The clusters' means, at which edges these are, and the spread inside clusters, pooled over them."""
    members = {label: [i for i, other in enumerate(clusters) if other == label] for label in clusters}
    means = np.array([mean_and_sd(x[index])[0] for index in members.values()])
    found = []
    for index in members.values():
        low, high = (any(edges[i] in (side, "both") for i in index) for side in ("low", "high"))
        found.append("both" if low and high else "low" if low else "high" if high else "")
    freedom = len(x) - len(members)
    squares = sum(np.square(x[index] - x[index].mean()).sum() for index in members.values())
    return means, tuple(found), math.sqrt(squares / freedom) if freedom else 0.0


def _reach(x: np.ndarray, edges: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """How low and how high each true value may lie: without end where it was found at the end of its grid."""
    low, high = (np.array([edge in (side, "both") for edge in edges]) for side in ("low", "high"))
    return np.where(low, -math.inf, x), np.where(high, math.inf, x)


def _rule(above: Any, below: Any, between: Any) -> tuple[str, float | tuple[float, float]]:
    given = {rule: t for rule, t in zip(RULES, (above, below, between), strict=True) if t is not None}
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise ValueError(f"State exactly one of above, below or between; got {got}.")
    rule, threshold = given.popitem()
    limits = list(threshold) if rule == "between" and isinstance(threshold, Sequence) else [threshold]
    if not all(isinstance(t, Real) and not isinstance(t, bool) and math.isfinite(t) for t in limits):
        raise ValueError(f"{rule} must be finite, a plain number each; got {threshold!r}.")
    if rule != "between":
        return rule, float(limits[0])
    if len(limits) != 2 or limits[0] >= limits[1]:
        raise ValueError(f"between must be (low, high) with low < high, got {threshold!r}.")
    return rule, (float(limits[0]), float(limits[1]))


def _units(varies: Any) -> tuple[str, ...]:
    names = (varies,) if isinstance(varies, str) else tuple(varies) if isinstance(varies, Sequence) else ()
    if not names or not all(isinstance(name, str) and name in UNITS for name in names):
        raise ValueError(
            f"varies must say what is another one for each value: one or more of {', '.join(UNITS)}; got {varies!r}."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"varies must name each unit once, got {varies!r}.")
    return names


def _mixing(rhat: Any, limit: Any) -> tuple[float | None, float | None]:
    if (rhat is None) != (limit is None):
        raise ValueError("rhat and rhat_limit, the line above which chains have not mixed, come together.")
    if rhat is None:
        return None, None
    if isinstance(limit, bool) or not isinstance(limit, Real) or not 1 < limit < math.inf:
        raise ValueError(f"rhat_limit must be a number above 1, such as 1.05; got {limit!r}.")
    single = np.ndim(rhat.detach().cpu() if hasattr(rhat, "detach") else rhat) == 0
    return float(_numbers("rhat", [rhat] if single else rhat).max()), float(limit)


def _edges(at_edge: Any, n: int) -> tuple[str, ...]:
    if at_edge is None:
        return ("",) * n
    edges = tuple(at_edge) if isinstance(at_edge, Sequence) and not isinstance(at_edge, str) else ()
    if len(edges) != n or not all(isinstance(edge, str) and edge in EDGES for edge in edges):
        raise ValueError(
            f"at_edge must hold '', 'low', 'high' or 'both' for each of the {n} values; got {at_edge!r}."
        )
    return edges


def _numbers(argument: str, values: Any) -> np.ndarray:
    """Finite float64 numbers in one row, from a list, array or tensor."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        # a list may hold 0-d tensors, which numpy takes one by one
        x = np.asarray(list(values) if not hasattr(values, "dtype") else values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{argument} must be a list of numbers, one per seed; got {values!r}.") from error
    if x.dtype.kind not in "iuf" or x.ndim != 1 or x.size == 0:
        raise ValueError(f"{argument} must be a non-empty list of numbers, one per seed; got {values!r}.")
    x = x.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        raise ValueError(
            f"{argument} must be finite, but item {bad[0]} is {x[bad[0]]}. A run that diverged is a result: "
            "find out why before claiming anything."
        )
    return x


def _labels(argument: str, labels: Any, n: int) -> tuple[int | str, ...]:
    """Whole numbers or names, one per value."""
    x = np.asarray(labels)
    if x.ndim != 1 or x.dtype.kind not in "iuU" or x.size == 0:
        raise ValueError(f"{argument} must be a list of whole numbers, or of names; got {labels!r}.")
    if len(x) != n:
        raise ValueError(f"values and {argument} must pair up, got {n} values for {len(x)} {argument}.")
    return tuple(x.tolist())


_shown: tuple[Claim, int] | None = None


def _cell() -> int | None:
    """The number of the notebook cell that is running, or None outside IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell.execution_count if shell else None


def _show(measured: Claim) -> None:
    """Display a claim where it is made, so that it is stored wherever in the cell that is."""
    global _shown
    if _cell() is None:
        return
    from IPython.display import display

    _shown = None
    display(measured)
    _shown = measured, _cell()


def _lesson(path: str) -> str:
    """`…/lessons/2_priors/04_images.ipynb` is the lesson `2_priors/04_images`."""
    notebook = PurePosixPath(path.replace("\\", "/"))
    if notebook.suffix != ".ipynb":
        return ""
    parts = notebook.with_suffix("").parts
    trees = [i for i, part in enumerate(parts[:-1]) if part == "lessons"]
    return "/".join(parts[trees[-1] + 1 :] if trees else parts[-1:])


def _decimals(spread: float) -> int | None:
    """How many decimals show two digits of a spread; None where that is no way to write the number."""
    decimals = 1 - math.floor(math.log10(spread)) if spread > 0 else -1
    return decimals if 0 <= decimals <= 6 else None


def _digits(x: float, digits: int = 3) -> str:
    """A number to so many digits, without a needless exponent, '-0' or trailing zeros."""
    text = f"{x:.{digits}g}"
    return f"{float(text):,.0f}" if "e+" in text and abs(x) < 1e7 else text


def _apart(x: float, *thresholds: float) -> str:
    """A number to enough digits for its place among the thresholds to show."""
    for digits in range(3, 15):
        shown = float(f"{x:.{digits}g}")
        if all((shown > t) == (x > t) and (shown < t) == (x < t) for t in thresholds):
            break
    return _digits(x, digits)


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])
