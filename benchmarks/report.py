"""Results as JSON files, and all of them together as Markdown tables."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from .race import best, ratio

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "jax", "blackjax", "numpyro", "pyro-ppl", "hamiltorch", "laplace-torch")


def machine(cores: int) -> dict[str, str | int]:
    """What a reader needs to know of the machine to read the numbers."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
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
    """Write one suite's result; `result` holds "title", "text" (Markdown) and whatever it is made from."""
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": machine(cores), **result}
    path = RESULTS / f"{name}_{cores}_core{'s' * (cores > 1)}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


def write_tables() -> str:
    """Collect every stored result into results/README.md and return its text."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    parts = ["# Speed, measured by `make bench`"]
    for result in results:
        where = result["machine"]
        installed = ", ".join(f"{p} {where[p]}" for p in _PACKAGES if where[p] != "not installed")
        cores = where["cores used"]
        parts += [
            f"## {result['title']}, {cores} core{'s' * (cores > 1)}",
            result["text"],
            f"<sub>{where['cpu']} ({where['instructions']}), {installed}.</sub>",
        ]
    text = "\n\n".join(parts) + "\n"
    (RESULTS / "README.md").write_text(text)
    return text
