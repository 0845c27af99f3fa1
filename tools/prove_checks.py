"""Proves that every exercise's check tells right answers from wrong ones, and says what is missing where it does not.

    python tools/prove_checks.py             all exercises: what is missing, and the kill score
    python tools/prove_checks.py priors      only notebooks with this in their path
    python tools/prove_checks.py --seeds 99  on more seeds: does a check ever mistake one answer for another?

The cells of a solutions notebook and of its exercise notebook are run in this process. At each check cell the solution
must pass on several seeds, or the untouched stub read "not attempted"; senseless answers must never pass. At each
variants cell every right answer must pass, and every wrong one fail with the message that it was promised.
"""

from __future__ import annotations

import argparse
import functools
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
SECONDS = 1.0  # the longest that a check of the solution may compute
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


class _Solutions:
    """Stands in for `check`, `variants` and `score_card` while a solutions notebook runs."""

    def __init__(self, proof: LessonProof, seeds: Sequence[int]) -> None:
        self.proof, self.seeds, self.seen, self.cards = proof, seeds, set(), 0

    def names(self) -> dict[str, object]:
        """What the notebook's imports from bdlcore.exercises give instead."""
        check = functools.partial(self.check)
        check.hint = lambda id: None
        return {"check": check, "variants": self.variants, "score_card": self.score_card}

    def check(self, id: str, answer: object, **_: object) -> None:
        one = self.proof.exercises.setdefault(id, Proof(id))
        self.seen.add(id)
        seconds = []
        for seed in self.seeds:
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
            problem = next(filter(None, (variant.judge(one.id, seed)[1] for seed in self.seeds)), "")
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
    options = parser.parse_args(arguments)
    wanted = [one for one in lessons(root) if all(part in one.path.as_posix() for part in options.parts)]
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
