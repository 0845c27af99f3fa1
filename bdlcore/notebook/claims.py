"""State what a lesson measured, with a verdict that is computed from the numbers and never passed in.

A **claim** is an inequality about the mean of one number per seed, such as "averaging gains more than 0 nats".
With n values of mean m and standard deviation s, and t_p the p-quantile of Student's t with n - 1 degrees of
freedom, the true mean lies

    above  lower = m - t_0.95 s/√n    with 95 % confidence,
    below  upper = m + t_0.95 s/√n    with 95 % confidence.

| asked for            | holds                          | contradicted               |
|----------------------|--------------------------------|----------------------------|
| `above=t`            | lower > t                      | upper < t                  |
| `below=t`            | upper < t                      | lower > t                  |
| `between=(lo, hi)`   | m ± t_0.975 s/√n inside lo…hi  | the same wholly outside    |

and everything else is **not shown**: these seeds do not decide. A lesson keeps its claims whatever the verdict.

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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .._support import environment

__all__ = ["Claim", "claim", "stored_claims"]

# A type of our own, because JupyterLab would show plain application/json as a tree in place of the line.
MIME = "application/vnd.bdlcore.claim+json"
CONFIDENCE = 0.95
MINIMUM_SEEDS = 3
SYMBOLS = {"holds": "✔", "not shown": "?", "contradicted": "✘"}
RULES = ("above", "below", "between")


@dataclass(frozen=True)
class Claim:
    """One measured claim: what was claimed, the numbers, and what they say about it.

    `lower` and `upper` are the two confidence bounds of the mean that the verdict used: one-sided ones for
    `above` and `below`, the two-sided interval for `between`. `share` is the share of seeds that are on the
    claimed side by themselves. `seed_shift` and `scale` are those of `setup` at the time of the run.
    """

    name: str
    lesson: str
    statement: str
    quantity: str
    unit: str
    regime: str
    rule: str
    threshold: float | tuple[float, float]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    sd: float
    lower: float
    upper: float
    share: float
    verdict: str
    scale: str
    seed_shift: int

    @property
    def number(self) -> str:
        """The mean with its spread over seeds, for example `0.213 ± 0.041 nats`."""
        unit = f" {self.unit}" if self.unit else ""
        if self.sd == 0:
            return f"{_digits(self.mean, 4)}{unit} on every seed"
        decimals = 1 - math.floor(math.log10(self.sd))  # two digits of the spread
        if 0 <= decimals <= 6 and abs(self.mean) < 1e6:
            return f"{self.mean:.{decimals}f} ± {self.sd:.{decimals}f}{unit}"
        return f"{_digits(self.mean, 3)} ± {_digits(self.sd, 2)}{unit}"

    @property
    def evidence(self) -> str:
        """The comparison that made the verdict, for example `95 % lower bound 0.19 > 0`."""
        if self.rule == "between":
            lo, hi = self.threshold
            relation = {"holds": "inside", "contradicted": "outside", "not shown": "partly outside"}[
                self.verdict
            ]
            interval = f"{_apart(self.lower, lo, hi)} to {_apart(self.upper, lo, hi)}"
            return f"95 % interval {interval} is {relation} {_digits(lo)} to {_digits(hi)}"
        sign = ">" if self.rule == "above" else "<"
        threshold = _digits(self.threshold)
        low, high = _apart(self.lower, self.threshold), _apart(self.upper, self.threshold)
        if self.verdict == "not shown":
            return f"95 % bounds {low} and {high} do not decide whether it is {sign} {threshold}"
        if self.lower > self.threshold:
            return f"95 % lower bound {low} > {threshold}"
        return f"95 % upper bound {high} < {threshold}"

    def record(self) -> dict[str, Any]:
        """Everything as plain JSON types: what is stored in the notebook."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Claim:
        """The claim that a record holds, computed again from its values.

        Raises ValueError when what the record says differs from what its values say.
        """
        try:
            given = {field: record[field] for field in ("name", "statement", "quantity", "unit", "regime")}
            claim = _measure(
                **given,
                **{record["rule"]: record["threshold"]},
                values=record["values"],
                seeds=record["seeds"],
                lesson=record["lesson"],
                scale=record["scale"],
                seed_shift=record["seed_shift"],
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
        n = len(self.seeds)
        return (
            f"{self.statement}{regime} · {self.quantity}: {self.number} (mean ± sd over {n} seeds, "
            f"{round(self.share * n)} of {n} on the claimed side) · {self.evidence}"
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
    seeds: Sequence[int],
    unit: str = "",
    regime: str = "",
) -> Claim:
    """Measure a claim over seeds, show its verdict in the notebook and return the record.

    Args:
        name: short and unique in the course, for example `averaging-beats-best`.
        statement: what is claimed, as a sentence a reader understands without the code.
        values: one finite number per seed.
        quantity: what the numbers are, for example "test log-likelihood, average minus best single".
        above, below, between: the claim about the mean, exactly one of them; see the module's table.
        seeds: the seeds that gave the values, in the same order, at least 3 and all different.
        unit: of the values, for example "nats per point".
        regime: where the claim was measured, if it does not hold everywhere, for example "20 points".

    Raises:
        ValueError: naming the argument, what it was and what to do.

    >>> print(claim("gain", "Averaging gains.", [0.2, 0.3, 0.25], quantity="gain", above=0, seeds=[0, 1, 2]))
    ✔ Holds: Averaging gains. · gain: 0.250 ± 0.050 (mean ± sd over 3 seeds, 3 of 3 on the claimed side) · \
95 % lower bound 0.166 > 0
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
        unit=unit,
        regime=regime,
        lesson=_lesson(os.environ.get("JPY_SESSION_NAME", "")),
        scale=environment.scale(),
        seed_shift=environment.seed_shift(),
    )
    _show(measured)
    return measured


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


def _measure(
    *,
    name: str,
    statement: str,
    values: Sequence[float],
    quantity: str,
    above: float | None = None,
    below: float | None = None,
    between: Sequence[float] | None = None,
    seeds: Sequence[int],
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
    rule, threshold = _rule(above, below, between)
    x = _numbers("values", values)
    seeds = _seeds(seeds)
    if len(x) != len(seeds):
        raise ValueError(f"values and seeds must pair up, got {len(x)} values for {len(seeds)} seeds.")
    if len(x) < MINIMUM_SEEDS:
        raise ValueError(
            f"A claim needs at least {MINIMUM_SEEDS} seeds to have a spread, got {len(x)}. Run more seeds."
        )

    from scipy.special import stdtrit  # here, because importing bdlcore should stay quick

    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = float(x.mean()), float(x.std(ddof=1))
    if (x == x[0]).all():  # the mean of equal numbers can differ from them in its last bit
        mean, sd = float(x[0]), 0.0
    if not (math.isfinite(mean) and math.isfinite(sd)):
        raise ValueError("values are too large to take their mean and spread. Rescale them.")
    tails = 2 if rule == "between" else 1
    half = float(stdtrit(len(x) - 1, 1 - (1 - CONFIDENCE) / tails)) * sd / math.sqrt(len(x))
    lower, upper = mean - half, mean + half

    if rule == "above":
        holds, contradicted, good = lower > threshold, upper < threshold, x > threshold
    elif rule == "below":
        holds, contradicted, good = upper < threshold, lower > threshold, x < threshold
    else:
        lo, hi = threshold
        holds, contradicted = lo < lower and upper < hi, upper < lo or lower > hi
        good = (x > lo) & (x < hi)
    return Claim(
        name=name,
        lesson=lesson,
        statement=statement.strip(),
        quantity=quantity.strip(),
        unit=unit,
        regime=regime,
        rule=rule,
        threshold=threshold,
        seeds=seeds,
        values=tuple(x.tolist()),
        mean=mean,
        sd=sd,
        lower=lower,
        upper=upper,
        share=float(good.mean()),
        verdict="holds" if holds else "contradicted" if contradicted else "not shown",
        scale=scale,
        seed_shift=seed_shift,
    )


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


def _seeds(seeds: Any) -> tuple[int, ...]:
    x = np.asarray(seeds)
    if x.ndim != 1 or x.dtype.kind not in "iu" or x.size == 0:
        raise ValueError(f"seeds must be a list of whole numbers, got {seeds!r}.")
    if len(set(x.tolist())) < len(x):
        raise ValueError(f"seeds must all be different, got {x.tolist()}. Repeating a seed adds no evidence.")
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
