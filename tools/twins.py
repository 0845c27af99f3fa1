"""Measure headline claims a second time, by other code on other data: `twins.py [NAME ...]`.

A twin is a file of tests/twins/, named like its claim: at most 80 lines of NumPy, SciPy or plain PyTorch, without
bdlcore, that derives one value of the claim's quantity from its definition. `make twins` computes its values and keeps
them in tests/twins/results.json with a digest of the code, so that only twins that changed are computed again; the
claims page shows them beside the lesson's. Where the two come to different verdicts, the twin's docstring says why, in
a paragraph that begins "Differs from the lesson:".
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from execute_notebooks import ROOT, notebooks

from bdlcore.notebook.claims import SYMBOLS, Claim, stored_claims

FOLDER = "tests/twins"
LONGEST = 80  # lines
VALUES = 10  # unless the twin says otherwise, in a constant of this name


@dataclass(frozen=True)
class Twin:
    """A file of tests/twins/ and the values that it gave, none when they are those of other code."""

    path: Path
    values: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return self.path.stem.replace("_", "-")

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def difference(self) -> str:
        """Why it comes to another verdict than the lesson, in the words of its docstring."""
        said = ast.get_docstring(ast.parse(self.text)) or ""
        found = re.search(r"^Differs from the lesson: (.+?)(?:\n\n|\Z)", said, flags=re.DOTALL | re.MULTILINE)
        return re.sub(r"\s+", " ", found[1]) if found else ""

    def measured(self, claim: Claim) -> Claim:
        """The same claim with this twin's values."""
        return claim.again(self.values, range(len(self.values)), seed_shift=0)

    def module(self):
        spec = importlib.util.spec_from_file_location(self.path.stem, self.path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def results_of(root: Path = ROOT) -> dict[str, dict]:
    file = root / FOLDER / "results.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def twins_of(root: Path = ROOT) -> dict[str, Twin]:
    """All twins by the claim's name, with the values that belong to their present code."""
    stored, found = results_of(root), {}
    for path in sorted((root / FOLDER).glob("[!_]*.py")):
        if path.stem.startswith(("test_", "conftest")):
            continue
        twin = Twin(path)
        result = stored.get(twin.name, {})
        fresh = result.get("digest") == twin.digest
        found[twin.name] = Twin(path, tuple(result["values"]) if fresh else ())
    return found


def value(path: Path, seed: int) -> float:
    """One value of a twin, on one thread."""
    import torch

    torch.set_num_threads(1)
    return float(Twin(path).module().value(seed))


def store(twin: Twin, values: list[float], root: Path = ROOT) -> None:
    """Keep the values of one twin beside those of the others that still exist."""
    results = results_of(root) | {twin.name: {"digest": twin.digest, "values": values}}
    lines = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(results[name])}"
        for name in sorted(results)
        if name in twins_of(root)
    )
    file = root / FOLDER / "results.json"
    unfinished = file.with_name(file.name + ".tmp")
    unfinished.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    unfinished.replace(file)


def report(twins: Iterable[Twin], claims: dict[str, Claim]) -> str:
    """One line a twin: its number and verdict beside the lesson's."""
    lines = []
    for twin in twins:
        claim = claims[twin.name]
        if not twin.values:
            lines.append(f"  {twin.name}: not measured")
            continue
        own = twin.measured(claim)
        agree = "" if own.verdict == claim.verdict else "   DIFFERS"
        lesson = f"in the lesson {SYMBOLS[claim.verdict]} {claim.number}"
        lines.append(f"{SYMBOLS[own.verdict]} {twin.name}: {own.number}; {lesson}{agree}")
    return "\n".join(lines)


def main(arguments: Iterable[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="claims (default: all that have a twin)")
    parser.add_argument("--fresh", action="store_true", help="also those whose values are there")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    options = parser.parse_args(arguments)
    twins = twins_of(root)
    unknown = [name for name in options.names if name not in twins]
    if unknown or options.jobs < 1:
        parser.error(f"no twin named {', '.join(unknown)}" if unknown else "--jobs must be at least 1")
    claims = {claim.name: claim for path in notebooks("lessons", root=root) for claim in stored_claims(path)}
    chosen = [twins[name] for name in options.names or twins]
    if strangers := [twin.name for twin in chosen if twin.name not in claims]:
        parser.error(f"no lesson claims {', '.join(strangers)}")

    todo = [twin for twin in chosen if options.fresh or not twin.values]
    found: dict[str, dict[int, float]] = {twin.name: {} for twin in todo}
    with ProcessPoolExecutor(options.jobs) as pool:
        counts = {twin.name: getattr(twin.module(), "VALUES", VALUES) for twin in todo}
        work = {
            pool.submit(value, twin.path, seed): (twin, seed)
            for twin in todo
            for seed in range(counts[twin.name])
        }
        for done in as_completed(work):
            twin, seed = work[done]
            own = found[twin.name]
            own[seed] = done.result()
            if len(own) == counts[twin.name]:
                store(twin, [own[seed] for seed in sorted(own)], root)
                print(f"{twin.name}: {len(own)} values", flush=True)
    print(
        "\n"
        + report([twin for name, twin in twins_of(root).items() if name in {t.name for t in chosen}], claims)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
