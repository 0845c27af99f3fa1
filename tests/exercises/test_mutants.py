"""Generated wrong answers: how they are made, that none loops for ever, and that each survivor is accounted for."""

from exercise_notebooks import ROOT, lessons
from mutants import STORE, at_most, digests, merged, mutants, score, stored, survives, try_all
from update_readme import mutant_score

from bdlcore.exercises import examine

MEAN = """
def f(x, y, dim=-1):
    if len(x) < 2:
        return x.clamp(min=0)
    return (x - y.exp()).mean(dim, keepdim=True)
"""


def test_a_mutant_differs_in_one_place():
    made = dict(mutants(MEAN))
    whats = [what.partition(": ")[2] for what in made]
    for expected in (
        "x - y.exp(): Add",
        "x - y.exp(): the left part only",
        "x - y.exp(): the parts swapped",
        "x - y.exp() in place",
        "sum for mean",
        "exp left out",
        "log for exp",
        "len(x) < 2: LtE",
        "3 for 2",
        "0 for -1",
        "False for True",
        "x.clamp(min=0) without min",
    ):
        assert expected in whats, whats
    assert len(set(made.values())) == len(made)
    assert "x.sub_(y.exp())" in made[next(what for what in made if what.endswith("in place"))]
    assert all(MEAN.strip() != text for text in made.values())


def one_more_member(log_average, k, logits):
    import math

    import torch

    return torch.logaddexp(log_average + math.log(k), logits.log_softmax(-1)) - math.log(k + 1)


def source_of(body):
    return f"def one_more_member(log_average, k, logits):\n    import math, torch\n    {body}"


def test_a_right_answer_survives_and_a_wrong_one_does_not():
    assert examine("one-more-member", one_more_member, 0).state == "correct"
    right = "return torch.logaddexp(log_average + math.log(k), logits.log_softmax(1)) - math.log(k + 1)"
    assert survives("one-more-member", one_more_member, source_of(right))
    assert not survives("one-more-member", one_more_member, source_of(right.replace("k + 1", "k - 1")))
    assert not survives("one-more-member", one_more_member, source_of("return"))


def test_a_mutant_that_loops_for_ever_is_refused(monkeypatch):
    monkeypatch.setattr("mutants.SECONDS", 1)
    with at_most(1):
        assert not survives("one-more-member", one_more_member, source_of("while True: pass"))


def test_reasons_stay_and_new_survivors_ask_for_one():
    before = {"a": {"digest": "1", "tried": 3, "alive": {"left": "equal", "gone": "once"}}, "b": {"tried": 1}}
    rows = merged({"a": {"digest": "2", "tried": 4, "alive": ["left", "new"]}}, before)
    assert rows["a"] == {"digest": "2", "tried": 4, "alive": {"left": "equal", "new": ""}}
    assert rows["b"] == {"tried": 1}
    assert score({"a": rows["a"]}) == "Of 4 generated mutants of 1 solutions the checks refuse 2; 2 survive"


def test_every_solution_was_mutated_and_every_survivor_has_a_reason():
    rows = stored()
    for lesson in lessons(ROOT):
        for id, digest in digests(lesson).items():
            if id in rows:
                assert rows[id]["digest"] == digest, f"the solution of {id} has changed: run `make mutants`."
    unread = [
        f"{id}: {what}" for id, row in rows.items() for what, reason in row["alive"].items() if not reason
    ]
    assert not unread, f"without a reason in {STORE}: {unread}"
    known = {id for lesson in lessons(ROOT) for id in digests(lesson)}
    assert set(rows) <= known and len(rows) > 0.8 * len(known)


def test_the_guide_states_the_score():
    page = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert mutant_score(ROOT) in page, "docs/teaching.md is out of date: run `make readme`."


def test_the_stored_rows_come_from_the_notebook():
    lesson = next(lesson for lesson in lessons(ROOT) if lesson.path.stem == "00_start_here")
    for id, row in try_all([lesson]).items():
        kept = stored()[id]
        assert (row["digest"], row["tried"]) == (kept["digest"], kept["tried"])
        assert sorted(row["alive"]) == sorted(kept["alive"])
