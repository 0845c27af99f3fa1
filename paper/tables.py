"""Stored results as Markdown: ours beside the paper's, with the spread over seeds and where they were computed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from .estimate import duration
from .experiment import Experiment

SIZE_NAMES = {
    "full": "at full size",
    "hour": "at the size of an hour on two cores",
    "tiny": "at the size of the tests",
}


def table(experiment: Experiment, result: Mapping) -> str:
    """One row per value of the table's labels, with mean ± standard deviation over seeds; the paper's values last."""
    shown, records = experiment.table, [record for each in result["cells"] for record in each["records"]]
    if not shown.columns:
        return _grid(experiment, [(heading, records, value) for value, heading in shown.values.items()])
    names = dict.fromkeys(record[shown.columns] for record in records)
    parts = {name: [record for record in records if record[shown.columns] == name] for name in names}
    return "\n\n".join(
        f"{heading}:\n\n{_grid(experiment, [(_label(name), part, value) for name, part in parts.items()])}"
        for value, heading in shown.values.items()
    )


def _grid(experiment: Experiment, columns: Sequence[tuple[str, Sequence[Mapping], str]]) -> str:
    """A table with columns (heading, records, value)."""
    labels, beside = experiment.table.rows, bool(experiment.paper)
    rows = dict.fromkeys(
        tuple(record[name] for name in labels) for _, records, _ in columns for record in records
    )
    head = [", ".join(labels), *(heading for heading, _, _ in columns), *["paper"] * beside]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for row in rows:
        cells = [", ".join(map(_label, row))]
        for _, records, value in columns:
            mine = [record[value] for record in records if tuple(record[name] for name in labels) == row]
            cells.append(spread(mine))
        cells += [experiment.paper.get(row, "–")] * beside
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation, to two digits of the latter; three digits of a single value."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = statistics.fmean(known)
    if len(known) == 1:
        return _digits(mean, 3)
    std = statistics.stdev(known)
    if std == 0:
        return _digits(mean, 3)
    text = f"{std:.1e}"
    decimals = max(0, 1 - int(text.split("e")[1]))
    return f"{mean:,.{min(decimals, 4)}f} ± {std:.{min(decimals, 4)}f}"


def _digits(value: float, digits: int) -> str:
    return f"{float(f'{value:.{digits}g}'):,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def section(experiment: Experiment, found: Mapping[str, Mapping]) -> str:
    """The text of a lesson about an experiment: the question, each size that is stored, the paper's word, the command.

    Args:
        experiment: which.
        found: size -> stored result, for sizes with at least one cell.
    """
    parts = [f"**{experiment.question}** {experiment.source}. {experiment.published}"]
    for size, result in found.items():
        seeds = len({str(each["cell"].get("seed")) for each in result["cells"]})
        total, have = len(experiment.cells(size)), len(result["cells"])
        seconds = sum(each["seconds"] for each in result["cells"])
        devices = ", ".join(
            dict.fromkeys(
                f"{where['device']}, PyTorch {where['torch'].split('+')[0]}" for where in result["machines"]
            )
        )
        whole = "" if have == total else f", {have} of {total} cells so far"
        spreads = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ", one seed"
        parts += [
            f"Ours, {SIZE_NAMES[size]}{whole}{spreads}; {duration(seconds)} on {devices}:",
            table(experiment, result),
            f"<sub>{settings_line(result['settings'])}</sub>",
        ]
    command = f"`make paper UNIT={experiment.name}`"
    if "full" not in found:
        parts.append(f"Not run at full size yet: {command} does it on a GPU. {experiment.differences}")
    else:
        parts.append(f"{command} runs it again. {experiment.differences}")
    return "\n\n".join(parts)


def settings_line(settings: Mapping) -> str:
    """All settings in a line."""
    many = {name: value if isinstance(value, list | tuple) else [value] for name, value in settings.items()}
    return "; ".join(
        f"{name.replace('_', ' ')} {', '.join(map(_label, each))}" for name, each in many.items()
    )
