"""Proves that every exercise's check tells right answers from wrong ones, and says what is missing where it does not.

    python tools/prove_checks.py             all exercises: what is missing, and the kill score
    python tools/prove_checks.py priors      only notebooks with this in their path
    python tools/prove_checks.py --seeds 99  on more seeds: does a check ever mistake one answer for another?
    python tools/prove_checks.py --right --seeds 1000 --minutes 25
                                             right answers alone, on so many seeds: is one ever refused?

The cells of a solutions notebook and of its exercise notebook are run in this process. At each check cell the solution
must pass on several seeds, or the untouched stub read "not attempted"; senseless answers must never pass. At each
variants cell every right answer must pass, and every wrong one fail with the message that it was promised.

What `--right` finds is stored in tests/exercises/proofs.json and goes on there at the next call: after --minutes, or an
interrupt, nothing is lost. A lesson begins anew once its checks, its solutions or the machine behind them have changed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import inspect
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from exercise_notebooks import ROOT, Lesson, lessons, run_cells

from bdlcore.exercises import examine, registered, variants
from bdlcore.exercises._records import CORRECT, NOT_ATTEMPTED, NOT_YET

SEEDS = range(5)
MORE_SEEDS = range(5, 20)  # for right answers alone: one refusal undoes what many good messages have built
SECONDS = 1.0  # the longest that a check of the solution may compute
PROOFS = Path("tests/exercises/proofs.json")
RIGHT, WRONG = 2, 3  # variants that an exercise must have at least


@dataclass
class Proof:
    """What is known of one exercise: counts of variants, wrong ones that fail as promised, and what is missing."""

    id: str
    right: int = 0
    wrong: int = 0
    killed: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class LessonProof:
    """The exercises of one notebook, and faults that concern it as a whole."""

    lesson: Lesson
    exercises: dict[str, Proof]
    faults: list[str] = field(default_factory=list)


class KillScore(NamedTuple):
    """One row of the kill score: wrong answers that fail with the message promised, of all."""

    lesson: str
    exercises: int
    right: int
    wrong: int
    killed: int


def prove(root: Path, lesson: Lesson, seeds: Sequence[int] = SEEDS) -> LessonProof:
    """Runs both notebooks of a lesson and judges every exercise on some seeds."""
    proof = LessonProof(lesson, {entry.id: Proof(entry.id) for entry in lesson.entries})
    proof.faults += _wrong_number(lesson) + _unregistered(lesson)
    for tree, course in (("solutions", _Solutions), ("exercises", _Untouched)):
        path = root / tree / lesson.path
        if not path.exists():
            proof.faults.append(f"{tree}/{lesson.path.as_posix()} is missing; run `make exercises`")
            continue
        seen = course(proof, seeds)
        broken = run_cells(path, seen.names())
        if broken:
            proof.faults.append(f"{tree}/{lesson.path.as_posix()} does not run to its end: {broken}")
        seen.complete(f"{tree}/{lesson.path.as_posix()}")
    for one in proof.exercises.values():
        if one.right < RIGHT or one.wrong < WRONG:
            one.faults.append(
                f"has {one.right} right and {one.wrong} wrong variants; at least {RIGHT} and {WRONG} must be there"
            )
        if one.id in registered() and not registered()[one.id].hints:
            one.faults.append("has no hints")
    return proof


def kill_score(root: Path = ROOT) -> list[KillScore]:
    """One row a lesson, by running all solutions notebooks."""
    return [summary(prove(root, lesson)) for lesson in lessons(root)]


def summary(proof: LessonProof) -> KillScore:
    """A lesson's row of the kill score."""
    each = proof.exercises.values()
    counts = (sum(getattr(one, name) for one in each) for name in ("right", "wrong", "killed"))
    return KillScore(proof.lesson.path.with_suffix("").as_posix(), len(each), *counts)


def table(scores: list[KillScore]) -> str:
    """The kill score as text, with its total."""
    total = KillScore("all", *(sum(row[i] for row in scores) for i in range(1, 5)))
    lines = ["exercises  right answers  wrong answers caught, with the message for their mistake"]
    lines += [
        f"{row.exercises:9d}  {row.right:13d}  {row.killed:5d} of {row.wrong:<5d}  {row.lesson}"
        for row in [*scores, total]
    ]
    return "\n".join(lines)


def right_table(rows: dict[str, dict]) -> str:
    """What is known of right answers, as text."""
    lines = ["right answers  seeds  refused"]
    lines += [
        f"{row['right']:13d}  {row['seeds']:5d}  {len(row['refused']):7d}  {name}"
        for name, row in rows.items()
    ]
    checked = sum(row["right"] * row["seeds"] for row in rows.values())
    refused = sum(len(row["refused"]) for row in rows.values())
    return "\n".join([*lines, f"{checked} times a right answer was checked, and {refused} times refused"])


class _Solutions:
    """Stands in for `check`, `variants` and `score_card` while a solutions notebook runs."""

    def __init__(self, proof: LessonProof, seeds: Sequence[int]) -> None:
        self.proof, self.seeds, self.seen, self.cards = proof, seeds, set(), 0
        self.more = [seed for seed in MORE_SEEDS if seed not in seeds] if seeds else []

    def names(self) -> dict[str, object]:
        """What the notebook's imports from bdlcore.exercises give instead."""
        check = functools.partial(self.check)
        check.hint = lambda id: None
        return {"check": check, "variants": self.variants, "score_card": self.score_card}

    def check(self, id: str, answer: object, **_: object) -> None:
        one = self.proof.exercises.setdefault(id, Proof(id))
        self.seen.add(id)
        seconds = []
        for seed in (*self.seeds, *self.more):
            start = time.process_time()
            result = examine(id, answer, seed)
            seconds.append(time.process_time() - start)
            if result.state != CORRECT:
                one.faults.append(f"the solution reads {result.state!r} at seed {seed}: {result.text}")
                break
        if min(seconds) > SECONDS:
            one.faults.append(
                f"its check takes {min(seconds):.1f} s; a learner waits for at most {SECONDS:.0f} s"
            )
        one.faults += _fooled(id)

    def variants(self, id: str) -> object:
        found = variants(id)
        found.show = lambda seed=0: self._judge(found)
        return found

    def _judge(self, found: object) -> None:
        one = self.proof.exercises.setdefault(found.exercise.id, Proof(found.exercise.id))
        for variant in found.items:
            seeds = (*self.seeds, *self.more) if variant.fragment is None else self.seeds
            problem = next(filter(None, (variant.judge(one.id, seed)[1] for seed in seeds)), "")
            if problem:
                one.faults.append(problem)
            if variant.fragment is None:
                one.right += 1
            else:
                one.wrong += 1
                one.killed += not problem

    def score_card(self, lesson: str | None = None) -> None:
        self.cards += 1

    def complete(self, path: str) -> None:
        for one in self.proof.exercises.values():
            if one.id not in self.seen:
                one.faults.append(f"{path} does not come to its check")
        if not self.cards:
            self.proof.faults.append(f"{path} does not show its score card")


class _Untouched(_Solutions):
    """The same while an exercise notebook runs as handed out."""

    def check(self, id: str, answer: object, **_: object) -> None:
        self.seen.add(id)
        for seed in self.seeds:
            result = examine(id, answer, seed)
            if result.state != NOT_ATTEMPTED:
                self.proof.exercises.setdefault(id, Proof(id)).faults.append(
                    f'the untouched stub must read "{NOT_ATTEMPTED}", but reads "{result.state}": {result.text}'
                )
                return


class _RightAnswers(_Solutions):
    """Collects right answers, (exercise id, name, answer), while a solutions notebook runs."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(LessonProof(lesson, {}), ())
        self.answers: list[tuple[str, str, object]] = []

    def check(self, id: str, answer: object, **_: object) -> None:
        self.answers.append((id, "the solution", answer))

    def _judge(self, found: object) -> None:
        self.answers += [
            (found.exercise.id, variant.name, variant.answer)
            for variant in found.items
            if variant.fragment is None
        ]


def right_answers(root: Path, lesson: Lesson) -> list[tuple[str, str, object]]:
    """The solution and the right variants of every exercise of a lesson: (exercise id, name, answer)."""
    seen = _RightAnswers(lesson)
    path = root / "solutions" / lesson.path
    broken = run_cells(path, seen.names())
    if broken:
        raise RuntimeError(f"{path} does not run to its end: {broken}")
    return seen.answers


def refusals(answers: Sequence[tuple[str, str, object]], seeds: Sequence[int]) -> list[str]:
    """Which right answers are refused on which seed, and what the learner would be told."""
    found = []
    for id, name, answer in answers:
        for seed in seeds:
            result = examine(id, answer, seed)
            if result.state != CORRECT:
                found.append(f"{id}: {name} reads {result.state!r} at seed {seed}: {result.text}")
    return found


def prove_right(
    wanted: Sequence[Lesson], seeds: int, store: Path, *, root: Path = ROOT, minutes: float = math.inf
) -> dict[str, dict]:
    """Right answers of some lessons on seeds 0, 1, ..., a few seeds of each lesson in turn; kept in the file `store`.

    For each lesson: how many right answers, on how many seeds, the refusals, and a digest of what was proved.
    """
    kept = json.loads(store.read_text(encoding="utf-8"))["lessons"] if store.exists() else {}
    end = time.monotonic() + 60 * minutes
    answers, rows = {}, {}
    for lesson in wanted:
        name = lesson.path.with_suffix("").as_posix()
        digest = _digest(root, lesson)
        answers[name] = right_answers(root, lesson)
        row = {"digest": digest, "right": len(answers[name]), "seeds": 0, "refused": []}
        rows[name] = kept[name] if kept.get(name, {}).get("digest") == digest else row
    block = 10
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < end and any(row["seeds"] < seeds for row in rows.values()):
            name = min(rows, key=lambda name: rows[name]["seeds"])
            row = rows[name]
            some = range(row["seeds"], min(row["seeds"] + block, seeds))
            refused = refusals(answers[name], some)
            rows[name] = row | {"seeds": some.stop, "refused": row["refused"] + refused}
            _store(store, kept | rows)
    return kept | rows


def _store(store: Path, rows: dict[str, dict]) -> None:
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    text = json.dumps(
        {"versions": versions, "lessons": dict(sorted(rows.items()))}, indent=1, ensure_ascii=False
    )
    new = store.with_name(f"{store.name}.new")
    new.write_text(text + "\n", encoding="utf-8")
    os.replace(new, store)


def _digest(root: Path, lesson: Lesson) -> str:
    """Of the code cells of the solutions, the lesson's checks, and the machine that runs them."""
    machine = Path(inspect.getfile(examine)).parent
    checks = root / "bdlcore" / "exercises" / "checks" / f"{lesson.name}.py"
    files = [machine / f"_{name}.py" for name in ("judgements", "machine", "reading", "trial")]
    parts = [cell.source for cell in lesson.notebook.cells if cell.cell_type == "code"]
    parts += [path.read_text(encoding="utf-8") for path in (checks, *files) if path.exists()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _fooled(id: str) -> list[str]:
    """Senseless answers that pass, or fail without a word."""

    def raises(*_: object, **__: object) -> None:
        raise RuntimeError("senseless")

    values = (
        object(),
        "?",
        {},
        [],
        [[1.0], [2.0, 3.0]],
        float("nan"),
        np.zeros((0,)),
        torch.zeros(1, 1, 1, 1, 1, 1),
    )
    faults = []
    for answer in (*values, *(lambda *_, _v=value, **__: _v for value in values), raises):
        result = examine(id, answer, 0)
        if result.state == CORRECT or (result.state == NOT_YET and not result.message):
            what = answer(0) if callable(answer) and answer is not raises else answer
            faults.append(
                f"a senseless answer, {what!r} or a function that returns it, reads {result.state!r}"
            )
    return faults


def _wrong_number(lesson: Lesson) -> list[str]:
    fewest = 2 if lesson.path.stem.startswith("00") else 4
    n = len(lesson.entries)
    return (
        []
        if fewest <= n <= 8
        else [f"solutions/{lesson.path.as_posix()} has {n} exercises; {fewest} to 8 are due"]
    )


def _unregistered(lesson: Lesson) -> list[str]:
    here = [entry.id for entry in lesson.entries]
    there = [found.id for found in registered().values() if found.lesson == lesson.name]
    if here == there:
        return []
    where = f"bdlcore/exercises/checks/{lesson.name}.py"
    return [
        f"{where} registers {there}, but solutions/{lesson.path.as_posix()} has {here}; they must agree, in order"
    ]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="only notebooks with this in their path")
    parser.add_argument(
        "--seeds", type=int, default=len(SEEDS), help=f"how many seeds (default: {len(SEEDS)})"
    )
    parser.add_argument("--right", action="store_true", help="right answers alone; stores what it finds")
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="with --right: stop after so many, to go on at the next call",
    )
    options = parser.parse_args(arguments)
    wanted = [one for one in lessons(root) if all(part in one.path.as_posix() for part in options.parts)]
    if options.right:
        rows = prove_right(wanted, options.seeds, root / PROOFS, root=root, minutes=options.minutes)
        refused = [line for row in rows.values() for line in row["refused"]]
        print("\n".join([*refused, right_table(rows)]))
        return int(bool(refused))
    proofs = [prove(root, lesson, range(options.seeds)) for lesson in wanted]
    for proof in proofs:
        for fault in proof.faults:
            print(fault)
        for one in proof.exercises.values():
            for fault in one.faults:
                print(f"{proof.lesson.path.stem} · {one.id}: {fault}")
    print(table([summary(proof) for proof in proofs]))
    return int(any(proof.faults or any(one.faults for one in proof.exercises.values()) for proof in proofs))


if __name__ == "__main__":
    sys.exit(main())
