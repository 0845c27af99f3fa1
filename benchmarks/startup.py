"""What a fresh process waits for before it has its first ensemble, beside what PyTorch alone takes.

Each round is a process of its own. PyTorch's import belongs to every contestant, and its optimisers are imported by the
first that needs them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

TITLE = "A fresh process: seconds of computing until the first ensemble is fitted"
PROGRAM = """
import time
begun = time.process_time()
import torch
print(time.process_time() - begun)
x = torch.linspace(-1, 1, 20)[:, None]
begun = time.process_time()
{}
print(time.process_time() - begun)
"""
BDLCORE = """
import bdlcore as bdl
model = bdl.Model(bdl.nets.mlp(1, 50, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
bdl.ensemble(model, x, x, members=5, steps=100)
"""
LOOP = """
for _ in range(5):
    network = torch.nn.Sequential(torch.nn.Linear(1, 50), torch.nn.Tanh(), torch.nn.Linear(50, 1))
    optimiser = torch.optim.Adam(network.parameters())
    for _ in range(100):
        optimiser.zero_grad()
        (network(x) - x).square().mean().backward()
        optimiser.step()
"""
PROGRAMS = {"a loop over five networks, torch.optim": LOOP, "bdlcore": BDLCORE}


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Start processes, the two programs in turns, and say what they computed; `clock` is that of each process."""
    rounds, unseen = (1, 0) if quick else (7, 1)  # the first compiles what is imported, and is not counted
    seconds = {name: [] for name in PROGRAMS}
    for _ in range(unseen + rounds):
        for name, work in PROGRAMS.items():
            seconds[name].append(_seconds(work))
    rows, lines = [], ["| | after `import torch` | `import torch` |", "|---|---:|---:|"]
    for name, found in seconds.items():
        torch_alone, after = (statistics.median(part) for part in zip(*found[unseen:], strict=True))
        rows.append(
            {"name": name, "case": "after import torch", "seconds": after, "import torch": torch_alone}
        )
        lines.append(f"| {name} | {after:.2f} s | {torch_alone:.2f} s |")
    text = (
        "\n".join(lines)
        + f"\n\nCPU time, median of {rounds} processes each; everything is compiled and cached."
    )
    return {"title": TITLE, "rows": rows, "text": text}


def _seconds(work: str) -> list[float]:
    """What `import torch`, and then the work, compute in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(work)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
    )
    return [float(line) for line in done.stdout.split()[-2:]]
