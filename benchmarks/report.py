"""Results as JSON files, and all of them together as Markdown tables."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import torch

from bdlcore._support.processor import name as processor_name

from .race import best, ratio

RESULTS = Path(__file__).parent / "results"
FIRST = "first"  # folder beside a processor's results
_PACKAGES = ("torch", "jax", "blackjax", "numpyro", "pyro-ppl", "hamiltorch", "laplace-torch")


def machine(cores: int) -> dict[str, str | int | bool]:
    """What a reader needs to know of the machine to read the numbers."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpu": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "has more instructions": "ATEN_CPU_CAPABILITY" in os.environ,
        "cores in the machine": os.cpu_count() or 0,
        "cores used": cores,
        "python": platform.python_version(),
        **versions,
    }


def table(cases: dict[str, dict[str, list[float] | str]], base: str) -> tuple[list[dict], str]:
    """Speeds and ratios of raced cases.

    Args:
        cases: case -> contestant -> speed in each round, or why it is missing.
        base: the contestant that ratios refer to.

    Returns:
        rows for JSON, and a Markdown table with cases as columns: speed (ratio to base).
    """
    names = list(dict.fromkeys(name for speeds in cases.values() for name in speeds))
    rows, lines = [], [f"| | {' | '.join(cases)} |", "|---|" + "---:|" * len(cases)]
    for name in names:
        cells = []
        for case, speeds in cases.items():
            found = speeds.get(name, "–")
            if isinstance(found, str):
                rows.append({"name": name, "case": case, "missing": found})
                cells.append(found)
                continue
            rows.append({"name": name, "case": case, "speed": best(found), "speeds": found})
            cells.append(short(best(found)))
            if not isinstance(speeds[base], str):
                rows[-1]["ratio"] = ratio(found, speeds[base])
                cells[-1] += f" (×{rows[-1]['ratio']:.2g})"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return rows, "\n".join(lines)


def short(value: float) -> str:
    """Three significant digits."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def save(name: str, cores: int, result: dict) -> None:
    """Write one suite's result; `result` holds "title", "text" (Markdown) and whatever it is made from.

    Each processor has a folder of its own, so that a machine replaces its own numbers alone. The first result of a
    suite there stays beside the newest, in `FIRST`.
    """
    result = {"machine": machine(cores), **result}
    folder = RESULTS / processor(result["machine"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{cores}_core{'s' * (cores > 1)}.json"
    first = folder / FIRST / path.name
    if path.exists() and not first.exists():
        first.parent.mkdir(exist_ok=True)
        path.rename(first)
    path.write_text(json.dumps(result, indent=1) + "\n")


def processor(where: dict) -> str:
    """A folder's name for the processor and the instructions that PyTorch uses of it: `amd-epyc-avx2`."""
    name = re.sub(r"\((r|tm)\)|processor|cpu|@.*", " ", where["cpu"].lower())
    return re.sub("[^a-z0-9]+", "-", f"{name} {where['instructions']}".lower()).strip("-")


def write_tables() -> str:
    """Collect every stored result into results/README.md and return its text."""
    found = [(path, json.loads(path.read_text())) for path in RESULTS.glob("*/*.json")]
    found.sort(key=lambda pair: (pair[0].stem, pair[0].parent.name))
    first = [json.loads(path.read_text()) for path in RESULTS.glob(f"*/{FIRST}/*.json")]
    parts = ["# Speed, measured by `make bench`", *_against_best([result for _, result in found], first)]
    for path, result in found:
        where = result["machine"]
        installed = ", ".join(f"{p} {where[p]}" for p in _PACKAGES if where[p] != "not installed")
        cores = where["cores used"]
        held = "held to " if where.get("has more instructions") else ""
        parts += [
            f"## {result['title']}, {cores} core{'s' * (cores > 1)}, {path.parent.name}",
            result["text"],
            f"<sub>{where['cpu']} ({held}{where['instructions']}), {installed}.</sub>",
        ]
    text = "\n\n".join(parts) + "\n"
    (RESULTS / "README.md").write_text(text)
    return text


# what is aimed at on one core: the title's beginning, the case, its network, the rivals, and the ratio
Rivals = Callable[[str], bool]
AIMS: tuple[tuple[str, str, str | None, str, Rivals, float], ...] = (
    *(
        ("Gradient evaluations", case, None, "compiled vmap or JAX", lambda name: name in COMPILED, aim)
        for case, aim in (("1 chain", 0.8), ("8 chains", 0.9), ("64 chains", 1.0), ("512 chains", 1.0))
    ),
    *(
        ("HMC samplers", case, None, "BlackJAX", lambda name: name.startswith("BlackJAX"), aim)
        for case, aim in (("64 chains", 1.2), ("512 chains", 1.5))
    ),
    *(
        ("Training deep ensembles", case, network, "torch.func.vmap", lambda name: name == "torch.func.vmap", aim)
        for network, aim in (("MLP 1-50-50-1", 1.5), ("MLP 784-100-10", 1.0), ("CNN 8×8 digits", 1.5))
        for case in ("K = 20", "K = 50")
    ),
    *(
        ("Training deep ensembles", case, "CNN 28×28", "the best of loops and vmap", lambda name: True, 1.0)
        for case in ("K = 20", "K = 50")
    ),
)  # fmt: skip
COMPILED = ("torch.compile of vmap", "JAX jit of vmap")


def _against_best(newest: Iterable[dict], first: Iterable[dict]) -> list[str]:
    """A table of bdlcore's speed over its best rival's, on one core of each processor, beside what is aimed at."""
    races: dict[str, list[dict]] = {}
    for results, when in ((first, ", at first"), (newest, "")):
        for result in results:
            if result["machine"]["cores used"] == 1:
                races.setdefault(processor(result["machine"]) + when, []).append(result)

    def lead(name: str, title: str, case: str, network: str | None, rival: Rivals) -> float | None:
        rows = [
            row
            for result in races[name]
            if result["title"].startswith(title)
            for row in result["rows"]
            if row["case"] == case and row.get("network") == network and "speeds" in row
        ]
        ours = [row["speeds"] for row in rows if row["name"] == "bdlcore"]
        theirs = [row["speeds"] for row in rows if row["name"] != "bdlcore" and rival(row["name"])]
        return min(ratio(ours[0], speeds) for speeds in theirs) if ours and theirs else None

    names = sorted(races, key=lambda name: (name.removesuffix(", at first"), not name.endswith("first")))
    found = {name: [lead(name, *aim[:3], aim[4]) for aim in AIMS] for name in names}
    found = {name: leads for name, leads in found.items() if any(leads)}
    if not found:
        return []
    lines = [f"| | against | {' | '.join(found)} | aim |", "|---|---|" + "---:|" * (len(found) + 1)]
    for i, (title, case, network, words, _, aim) in enumerate(AIMS):
        cells = ["–" if leads[i] is None else f"{leads[i]:.2f}" for leads in found.values()]
        what = ", ".join(part for part in (title, network, case) if part)
        lines.append(f"| {what} | {words} | {' | '.join(cells)} | {aim:g} |")
    said = [
        "How many times as fast as its best rival bdlcore is on one core, median over rounds; below 1 it loses:",
        "\n".join(lines),
    ]
    limited = (name for name in found if any(r["machine"].get("has more instructions") for r in races[name]))
    said += [f"{name}: held to these instructions, which most laptops have; it has more." for name in limited]
    return said
