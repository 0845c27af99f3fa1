"""CLAIMS.md and its pictures: every claim with its unit, its values as dots, and what its confirmation says.

Everything is read from the executed lessons and from confirmation/. `make readme` writes the page; the tests hold it
to what is stored.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from confirm import ENOUGH_SETS, SAME_SHARE, Confirmation, Confirmed, confirmed, digest, file_of
from execute_notebooks import ROOT, notebooks
from scipy.stats import false_discovery_control
from twins import FOLDER, LONGEST, Twin, twins_of

from bdlcore.notebook.claims import DECIDED, ERROR_RATE, SYMBOLS, Claim, stored_claims

VERDICTS = ("holds", "not shown", "contradicted", "not mixed", "observation")
FAILURES_FIRST = ("contradicted", "not shown", "not mixed", "observation", "holds")
MEANINGS = {
    "holds": "the 95 % bound of the mean (or median) is on the claimed side",
    "not shown": "the values do not decide it",
    "contradicted": "the bound is on the other side",
    "not mixed": "it is about a posterior, and R-hat of the chains behind it is above the lesson's line",
    "observation": "fewer than 5 independent values (10 for a bootstrap): too few for a verdict",
}
COLORS = {
    "holds": "#0072b2",
    "not shown": "#8a8a8a",
    "contradicted": "#d55e00",
    "not mixed": "#b8860b",
    "observation": "#56b4e9",
}
PICTURES = "docs/claims"


class OutOfDate(Exception):
    """A page or a notebook is not in the state that it should be in; the message says what to do."""


@dataclass(frozen=True)
class Row:
    """One claim on the page. `planned` is False for a claim that came after its lesson had been run, and a text for
    one whose threshold is not the one that was written down before."""

    path: Path
    claim: Claim
    confirmed: Confirmed | None
    stale: bool
    planned: bool | str
    twin: Twin | None = None
    fdr: bool = True
    holm: bool = True

    @property
    def enough(self) -> bool:
        """Whether there are enough sets for the confirmation to be published."""
        return self.confirmed is not None and not self.stale and self.confirmed.sets >= ENOUGH_SETS

    @property
    def shown(self) -> Claim:
        """The claim whose numbers are published."""
        return self.confirmed.overall if self.enough else self.claim

    @property
    def verdict(self) -> str:
        return self.confirmed.verdict if self.enough else self.claim.verdict

    @property
    def number(self) -> str:
        return number_of(self.path)


def number_of(lesson: Path) -> str:
    return re.match(r"\d*", lesson.name)[0] or lesson.stem


def question(notebook: dict) -> str:
    """A notebook's title: the first heading of its first cell."""
    source = "".join(notebook["cells"][0]["source"]) if notebook["cells"] else ""
    heading = re.search(r"^# +(.+?)\s*$", source, flags=re.MULTILINE)
    if not heading:
        raise OutOfDate("A notebook's first cell must begin with a title: a line that starts with '# '.")
    return heading[1]


def read_notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(root: Path = ROOT) -> list[Row]:
    """All claims in course order, with what is known of each."""
    rows: list[Row] = []
    twins = twins_of(root)
    for path in notebooks("lessons", root=root):
        notebook, claims = read_notebook(path), stored_claims(path)
        confirmation = Confirmation.load(file_of(path, root))
        stale = confirmation is not None and confirmation.digest != digest(notebook)
        plan = notebook["metadata"].get("bdl", {}).get("claims", {})
        if lost := plan.keys() - {claim.name for claim in claims}:
            raise OutOfDate(
                f"{path.name} planned claims that it does not measure: {', '.join(sorted(lost))}. A claim that "
                "failed stays; put it back."
            )
        for claim in claims:
            found = confirmed(claim, confirmation) if confirmation and not stale else None
            twin = twins.get(claim.name)
            rows.append(Row(path.relative_to(root), claim, found, stale, planned(claim, plan), twin))
    twice = [name for name, n in Counter(row.claim.name for row in rows).items() if n > 1]
    if twice:
        raise OutOfDate(f"Claims of different lessons share a name: {', '.join(twice)}. Rename all but one.")
    return with_multiplicity(rows)


def planned(claim: Claim, plan: dict[str, dict]) -> bool | str:
    """Whether a claim stands in its lesson's list, and with this threshold."""
    if claim.name not in plan:
        return False
    (rule, threshold), *_ = plan[claim.name].items()
    now = list(claim.threshold) if claim.rule == "between" else claim.threshold
    return True if (rule, threshold) == (claim.rule, now) else f"{rule} {threshold}"


def with_multiplicity(rows: Sequence[Row]) -> list[Row]:
    """The rows, each marked whether its verdict survives that there are so many."""
    tested = [i for i, row in enumerate(rows) if row.shown.verdict in (*DECIDED, "not shown")]
    if not tested:
        return list(rows)
    p = np.array([rows[i].shown.p for i in tested])
    survives = dict(zip(tested, zip(false_discovery_control(p) < ERROR_RATE, holm(p) < ERROR_RATE)))
    marked = []
    for i, row in enumerate(rows):
        fdr, strict = survives.get(i, (True, True)) if row.verdict in DECIDED else (True, True)
        marked.append(replace(row, fdr=bool(fdr), holm=bool(strict)))
    return marked


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values (1979, Scand. J. Statist. 6): below α in all, the chance of any error is below α."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty_like(p)
    found[order] = np.minimum(adjusted, 1)
    return found


def tally(rows: Iterable[Row]) -> str:
    """`12 holds, 3 not shown`."""
    counts = Counter(row.verdict for row in rows)
    several = {"observation": "observations"}
    said = {v: several.get(v, v) if counts[v] > 1 else v for v in VERDICTS}
    return ", ".join(f"{counts[v]} {said[v]}" for v in VERDICTS if counts[v])


# --- the page ---


def page(root: Path = ROOT) -> str:
    """The text of CLAIMS.md."""
    rows = rows_of(root)
    lines = [
        "# Every claim of the course",
        "",
        "Written by `make readme` from the executed lessons and from `confirmation/`. Change those.",
        "",
    ]
    if not rows:
        return "\n".join([*lines, "No lesson has measured a claim yet.", ""])
    lines += [summary(rows), "", "| verdict | means | claims |", "|---|---|--:|"]
    counts = Counter(row.verdict for row in rows)
    lines += [f"| {SYMBOLS[v]} {v} | {MEANINGS[v]} | {counts[v]} |" for v in VERDICTS]
    lines += ["", multiplicity(rows), "", confirmation_text(rows), "", twins_summary(rows), "", MARKS]
    lines += ["", "## By verdict", ""]
    for verdict in FAILURES_FIRST:
        own = [row for row in rows if row.verdict == verdict]
        if not own:
            continue
        folded = verdict == "holds"
        lines += (
            [f"<details><summary>{SYMBOLS[verdict]} {verdict}: {len(own)}</summary>", ""] if folded else []
        )
        lines += [] if folded else [f"**{SYMBOLS[verdict]} {verdict}: {len(own)}**", ""]
        lines += [f"- {row.number} · [{one_line(row.claim.statement)}](#{row.claim.name})" for row in own]
        lines += ["", *(["</details>", ""] if folded else [])]
    lines += ["## By lesson"]
    for path in dict.fromkeys(row.path for row in rows):
        own = [row for row in rows if row.path == path]
        notebook = read_notebook(root / path)
        title, rhat = one_line(question(notebook)), notebook["metadata"].get("bdl", {}).get("rhat")
        of_a_run = f" The R-hat of a run is here {rhat}." if rhat else ""
        lines += ["", f"### {number_of(path)} [{title}]({path.as_posix()})", "", f"{tally(own)}.{of_a_run}"]
        lines += ["", f"![The values of each claim as dots]({PICTURES}/{path.stem}.svg)", "", *table(own)]
    return "\n".join([*lines, ""])


MARKS = (
    "In the pictures a dot is an independent value (of a photo, a split, a data set), the bar the interval that "
    "decided, and the shaded side is the claimed one; hollow dots lie at the end of their grid. Marks: **h** the "
    "verdict does not survive Holm's correction, **f** nor a false-discovery rate of 5 %; **+** the claim came after "
    "its lesson had first been run; **t** its threshold was moved. The worst R-hat is the largest over a claim's "
    "chains and functions where its lesson says nothing else, and of a confirmation's sets that of the ninth of ten."
)


def summary(rows: Sequence[Row]) -> str:
    scales = " and ".join(sorted({row.claim.scale for row in rows}))
    return f"{len(rows)} claims, measured at {scales} scale: {tally(rows)}."


def multiplicity(rows: Sequence[Row]) -> str:
    """How many decided verdicts survive that so many claims are tested."""
    decided = [row for row in rows if row.verdict in DECIDED]
    fdr, strict = sum(row.fdr for row in decided), sum(row.holm for row in decided)
    return (
        f"Of {len(decided)} decided verdicts {fdr} survive a false-discovery rate of 5 % over all tested claims "
        f"(Benjamini and Hochberg), and {strict} survive Holm's correction, which allows no error at all."
    )


def confirmation_text(rows: Sequence[Row]) -> str:
    done = [row for row in rows if row.enough]
    text = (
        f"A published verdict rests on all values of a *confirmation*: the lesson run on {ENOUGH_SETS} sets of seeds "
        f"or more that had no part in writing it (`make confirm`). It must come out in {SAME_SHARE:.0%} of the sets; a "
        "decided verdict that does not is published as not shown. "
    )
    if not done:
        return text + "No lesson has been confirmed yet: these verdicts are the lessons' own."
    same = sum(row.verdict == row.claim.verdict for row in done)
    return (
        text
        + f"{len(done)} of {len(rows)} claims are confirmed, {same} of them with the lesson's own verdict."
    )


def twins_summary(rows: Sequence[Row]) -> str:
    """How many claims other code was written for, and how often it came to the lesson's verdict."""
    twins = [row for row in rows if row.twin is not None and row.twin.values]
    agree = sum(row.twin.measured(row.claim).verdict == row.claim.verdict for row in twins)
    return (
        f"{len(twins)} headline claims have a *twin*: a derivation of at most {LONGEST} lines, without bdlcore, on "
        f"data and seeds of its own (`make twins`). {agree} of them come to the lesson's verdict; the others say why."
    )


def table(rows: Iterable[Row]) -> list[str]:
    lines = ["| verdict | claim | measured | own side | confirmation |", "|---|---|---|---|---|"]
    for row in rows:
        claim = row.shown
        marks = "".join(
            [
                "f" if not row.fdr else "h" if not row.holm else "",
                "" if row.planned else "+",
                "t" if isinstance(row.planned, str) else "",
            ]
        )
        verdict = f"{SYMBOLS[row.verdict]} {row.verdict}"
        verdict = verdict if row.verdict == "holds" else f"**{verdict}**"
        regime = f" *({cell(claim.regime)})*" if claim.regime else ""
        caveats = f"; {cell(claim.caveats)}" if claim.caveats else ""
        measured = (
            f"{cell(claim.quantity)}: **{cell(claim.number)}** over {cell(claim.replication)}; "
            f"{cell(claim.evidence)}{caveats}{twin_text(row)}"
        )
        side = f"{claim.favourable} of {claim.independent}"
        lines.append(
            f'| {verdict}{f" {marks}" if marks else ""} | <a id="{claim.name}"></a>{cell(claim.statement)}{regime} '
            f"| {measured} | {side} | {confirmation_cell(row)} |"
        )
    return lines


def twin_text(row: Row) -> str:
    """What other code found on other data, after a line break."""
    twin = row.twin
    if twin is None or not twin.values:
        return ""
    own = twin.measured(row.claim)
    verdict = own.verdict if own.verdict == row.claim.verdict else f"**{own.verdict}**: {twin.difference}"
    link = f"[twin]({FOLDER}/{twin.path.name})"
    return f"<br>{link}, {len(twin.values)} values: **{cell(own.number)}**, {SYMBOLS[own.verdict]} {cell(verdict)}"


def confirmation_cell(row: Row) -> str:
    if row.stale:
        return "not confirmed yet: the lesson has changed since"
    if row.confirmed is None:
        return "not confirmed yet"
    said = f"{row.confirmed.overall.verdict} in {row.confirmed.same} of {row.confirmed.sets} sets"
    if not row.enough:
        return f"not confirmed yet: {said}"
    return said if row.claim.verdict == row.verdict else f"{said}; in the lesson: **{row.claim.verdict}**"


def cell(text: str) -> str:
    """Text that stays inside one cell of a Markdown table."""
    return one_line(text).replace("|", r"\|")


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# --- the pictures ---


def pictures(root: Path = ROOT) -> dict[str, str]:
    """The SVG of each lesson's claims, and of all claims at one glance, by file."""
    rows = rows_of(root)
    found = {
        f"{PICTURES}/{path.stem}.svg": dots([row for row in rows if row.path == path])
        for path in dict.fromkeys(row.path for row in rows)
    }
    return found | {f"{PICTURES}/all.svg": overview(rows)}


def dots(rows: Sequence[Row], width: int = 860, height: int = 24) -> str:
    """One line a claim: its values against its threshold, the claimed side to the right of the dotted line.

    For `between` the interval is the shaded middle. Each line has its own scale.
    """
    left, right = 330, 20
    shapes = []
    for i, row in enumerate(rows):
        claim, y = row.shown, height * i + height / 2
        place = scale_of(claim, left, width - right)
        color = COLORS[row.verdict]
        low, high = place.claimed
        shapes.append(
            f'<rect x="{low:.0f}" y="{y - 9:.0f}" width="{high - low:.0f}" height="18" fill="#eef4ee"/>'
        )
        for end in place.thresholds:
            shapes.append(
                f'<line x1="{end:.1f}" x2="{end:.1f}" y1="{y - 9:.0f}" y2="{y + 9:.0f}" stroke="#555" '
                'stroke-dasharray="2 2"/>'
            )
        low = place.ends[0] if claim.lower is None else place(claim.lower)
        high = place.ends[1] if claim.upper is None else place(claim.upper)
        shapes.append(
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.0f}" y2="{y:.0f}" stroke="{color}" stroke-width="3"/>'
        )
        values, edges = independent_values(claim)
        for value, edge in zip(values, edges):
            fill = "#fff" if edge else color
            shapes.append(
                f'<circle cx="{place(value):.1f}" cy="{y:.0f}" r="3.2" fill="{fill}" stroke="{color}" '
                f'fill-opacity="{0.55 if len(values) < 20 else 0.3}"/>'
            )
        label = f"{SYMBOLS[row.verdict]} {claim.name}"
        shapes.append(
            f'<text x="{left - 10}" y="{y + 4:.0f}" text-anchor="end" fill="{color}">{html.escape(label)}</text>'
        )
    return svg(width, height * len(rows), shapes)


@dataclass(frozen=True)
class Scale:
    """Where a value of one claim lies on its line."""

    zero: float
    unit: float
    sign: float
    claimed: tuple[float, float]
    thresholds: tuple[float, ...]
    ends: tuple[float, float]

    def __call__(self, value: float) -> float:
        at = self.zero + self.sign * self.unit * value
        low, high = sorted(self.ends)
        return min(max(at, low), high)


def scale_of(claim: Claim, left: float, right: float) -> Scale:
    """The line of one claim: its threshold in the middle, its values and bounds as wide as they fit."""
    middle = (left + right) / 2
    seen = [*claim.values, *(b for b in (claim.lower, claim.upper) if b is not None)]
    if claim.rule == "between":
        lo, hi = claim.threshold
        centre = (lo + hi) / 2
        reach = max(hi - lo, *(abs(v - centre) for v in seen)) * 1.05
        unit = (right - left) / 2 / reach
        edge = unit * (hi - lo) / 2
        zero = middle - unit * centre
        return Scale(
            zero, unit, 1.0, (middle - edge, middle + edge), (middle - edge, middle + edge), (left, right)
        )
    reach = max(*(abs(v - claim.threshold) for v in seen), 1e-300) * 1.05
    sign = 1.0 if claim.rule == "above" else -1.0
    unit = (right - left) / 2 / reach
    zero = middle - sign * unit * claim.threshold
    ends = (left, right) if sign > 0 else (right, left)
    return Scale(zero, unit, sign, (middle, right), (middle,), ends)


def independent_values(claim: Claim) -> tuple[list[float], list[bool]]:
    """The values, or the clusters' means, and which lie at the end of a grid."""
    edges = [edge != "" for edge in claim.at_edge or [""] * len(claim.values)]
    if claim.clusters is None:
        return list(claim.values), edges
    members = {
        label: [i for i, other in enumerate(claim.clusters) if other == label] for label in claim.clusters
    }
    means = [float(np.mean([claim.values[i] for i in index])) for index in members.values()]
    return means, [any(edges[i] for i in index) for index in members.values()]


def overview(rows: Sequence[Row], column: int = 46, step: int = 13) -> str:
    """A column of dots for each lesson, one a claim, sorted by verdict."""
    paths = list(dict.fromkeys(row.path for row in rows))
    tallest = max((sum(row.path == path for row in rows) for path in paths), default=0)
    width, floor = max(column * len(paths), 5 * 128) + 20, step * tallest + 14
    shapes = []
    for i, path in enumerate(paths):
        x = 20 + column * i
        own = sorted((row for row in rows if row.path == path), key=lambda row: VERDICTS.index(row.verdict))
        for j, row in enumerate(own):
            shapes.append(mark(row.verdict, x, floor - step * j - 8, one_line(row.claim.statement)))
        shapes.append(
            f'<text x="{x}" y="{floor + 14}" text-anchor="middle" fill="#333">{number_of(path)}</text>'
        )
    counts = Counter(row.verdict for row in rows)
    for i, verdict in enumerate(VERDICTS):
        x, y = 20 + 128 * i, floor + 38
        shapes.append(mark(verdict, x, y, MEANINGS[verdict]))
        shapes.append(
            f'<text x="{x + 10}" y="{y + 4}" fill="{COLORS[verdict]}">{counts[verdict]} {verdict}</text>'
        )
    return svg(width, floor + 52, shapes)


def mark(verdict: str, x: float, y: float, title: str) -> str:
    """A verdict's shape, which can be told apart without its colour."""
    color, title = COLORS[verdict], f"<title>{html.escape(title)}</title>"
    if verdict == "contradicted":
        cross = f"M{x - 4} {y - 4}l8 8m0 -8l-8 8"
        return f'<path d="{cross}" stroke="{color}" stroke-width="2.5" fill="none">{title}</path>'
    if verdict == "not mixed":
        return f'<path d="M{x - 5} {y + 4}l5 -9l5 9z" fill="{color}">{title}</path>'
    fill = {"holds": color, "observation": "#fff"}.get(verdict, "#ddd")
    return f'<circle cx="{x}" cy="{y}" r="4.5" fill="{fill}" stroke="{color}" stroke-width="1.5">{title}</circle>'


def svg(width: float, height: float, shapes: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#fff"/>', *shapes, "</svg>", ""])
