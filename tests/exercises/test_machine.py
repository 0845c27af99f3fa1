"""What a learner is told: every state, every kind of mistake, whatever the answer is."""

import json
import math
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from bdlcore import exercises
from bdlcore.exercises import _machine, _reading, check, examine, exercise, score_card, variants


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A registry and a session of this test alone, outside grading."""
    _machine.registered()  # the lessons' checks must not register in this test's registry
    monkeypatch.setattr(_machine, "_registry", {})
    monkeypatch.setattr(_machine, "session", _machine._Session())
    monkeypatch.setattr(_machine, "GRADING", False)


@pytest.fixture
def averaging():
    @exercise("average-probabilities", points=2, hints=("nudge", "push", "the answer, nearly"))
    def average_probabilities(answer, trial):
        logits = trial.randn(trial.integer(4, 9), 5, 3)
        got = trial.call(answer, logits)
        mistakes = {"You averaged the logits.": logits.mean(0).softmax(-1)}
        trial.judge(got, logits.softmax(-1).mean(0), mistakes, "These are not the averaged probabilities.")

    return "average-probabilities"


def right(logits):
    return logits.softmax(-1).mean(0)


def stub(logits):
    """Average the probabilities."""
    ...  # noqa: PIE790 - the stub that learners get


def raising_stub(logits):
    raise NotImplementedError


def stub_that_goes_on(logits):
    probabilities = ...
    return probabilities.mean(0)


@pytest.mark.parametrize(
    "answer", [stub, raising_stub, stub_that_goes_on, None, ..., [1, ...], {"a": ...}, lambda x: ...]
)
def test_stub_reads_not_attempted(averaging, answer):
    assert examine(averaging, answer).state == "not attempted"


def loop(logits):
    total = torch.zeros(logits.shape[1:])
    for one in logits:
        total += torch.exp(one) / torch.exp(one).sum(-1, keepdim=True)
    return total / len(logits)


def numpy_lists(logits):
    e = np.exp(logits.numpy())
    return (e / e.sum(-1, keepdims=True)).mean(0).tolist()


def half(logits):
    return right(logits).half()


def with_gradient(logits):
    return right(logits.requires_grad_())


def with_a_small_constant(logits):
    return (right(logits) + 1e-12).log().exp()


def single_precision_in_between(logits):
    return right(logits.float()).double()


def list_of_tensors(logits):
    return list(right(logits))


@pytest.mark.parametrize(
    "answer",
    [
        right,
        loop,
        numpy_lists,
        half,
        with_gradient,
        list_of_tensors,
        with_a_small_constant,
        single_precision_in_between,
    ],
)
def test_any_right_answer_passes(averaging, answer):
    for seed in range(5):
        assert examine(averaging, answer, seed).state == "correct"


def no_return(logits):
    logits.softmax(-1).mean(0)


def wrong_axis(logits):
    return logits.softmax(-1).mean(1)


def bad_axis(logits):
    scores = logits.softmax(-1)
    return scores.mean(7)


def too_many_arguments(logits, weights):
    return right(logits)


def misspelt(logits):
    return logit.softmax(-1)  # noqa: F821


def endless(logits):
    return endless(logits)


TOLD = [
    (lambda logits: logits.mean(0).softmax(-1), "You averaged the logits."),
    (lambda logits: logits.softmax(-1).sum(0), "times the reference"),
    (lambda logits: right(logits) + 1, "the reference +1"),
    (lambda logits: right(logits) * (1 + 1e-4), "That is close"),
    (no_return, "`no_return` returned None: is a `return` missing?"),
    (wrong_axis, "The shape should be (5, 3), but yours is"),
    (lambda logits: right(logits).T, "(3, 5). The axes are in another order."),
    (lambda logits: right(logits).log() / 0, "infinite"),
    (lambda logits: (right(logits) - 1).log(), "15 of 15 numbers are NaN"),
    (lambda logits: "a", "Your answer is the text 'a', not numbers."),
    (lambda logits: right, "does it still have to be called?"),
    (lambda logits: [logits[0], logits[0, 0]], "different shapes"),
    (lambda logits: right(logits) + 0j, "complex"),
    (lambda logits: np.array(["a"]), "not numbers"),
    (bad_axis, "IndexError in line"),
    (bad_axis, "`return scores.mean(7)`"),
    (bad_axis, "print its `.shape`"),
    (bad_axis, "`bad_axis` was called with a tensor of shape ("),
    (too_many_arguments, "missing a required argument: 'weights'"),
    (misspelt, "has not been run"),
    (endless, "RecursionError"),
    (lambda logits: torch.fft.fft(logits.cfloat()) < 1, "NotImplementedError"),
    (lambda logits: logits @ logits.float(), "dtype=x.dtype"),
    (lambda logits: logits + torch.zeros(17), "Shapes do not fit"),
    (right(torch.zeros(2, 2, 2)), "A function is asked for, but the answer is a tensor of shape (2, 2)"),
    (17, "A function is asked for, but the answer is the int 17."),
]


@pytest.mark.parametrize("answer, told", TOLD, ids=[told for _, told in TOLD])
def test_mistake_is_named(averaging, answer, told):
    for seed in range(3):
        result = examine(averaging, answer, seed)
        assert (result.state, told in result.text) == ("not yet", True), result.text


def test_numbers_that_cancel_are_compared_with_the_scale_of_their_terms():
    @exercise("difference", trials=1)
    def difference(answer, trial):
        trial.judge(answer, 0.0, {"the sum": 2e-5}, "not the difference", scale=1.0)

    @exercise("tiny", trials=1)
    def tiny(answer, trial):
        trial.judge(answer, 3.7e-17, {}, "not zero")

    for zero in (0, -1e-12, 1e-6, torch.tensor(1e-4), np.float32(-1e-4)):
        assert examine("difference", zero).state == "correct"
    assert examine("difference", 2e-5).message == "the sum"
    assert examine("difference", 1e-4).message == "not the difference"
    assert examine("tiny", 0).state == "correct"
    assert examine("tiny", 1e-7).message == "not zero"


def test_a_missing_gradient_is_told():
    @exercise("slope", trials=1)
    def slope(answer, trial):
        x = trial.randn(3).requires_grad_()
        trial.expect_gradient(trial.call(answer, x), [x], [2 * x.detach()], "no gradient")

    assert examine("slope", lambda x: x.square().sum()).state == "correct"
    assert examine("slope", lambda x: x.square()).state == "correct"
    for cut in (
        lambda x: x.detach().square().sum(),
        lambda x: x.square().sum().item(),
        lambda x: x.square().sum() + x.prod(),
        lambda x: torch.ones(1, requires_grad=True).sum(),
    ):
        assert examine("slope", cut).message == "no gradient"


def test_what_stops_on_inputs_with_a_pitfall_is_told_so():
    @exercise("pitfall", trials=1)
    def pitfall(answer, trial):
        trial.call(answer, [], stops="There may be no number at all.")

    result = examine("pitfall", lambda numbers: max(numbers))
    assert result.message == "There may be no number at all."
    assert "ValueError" in result.detail


def test_a_factor_of_one_is_not_told(averaging):
    assert "times the reference" not in examine(averaging, lambda logits: right(logits) * 1.0005, 0).text


@pytest.mark.parametrize("answer", [2.5, [2.5], np.array([[2.5]]), torch.tensor(2.5)])
def test_a_single_number_may_have_any_shape(answer):
    @exercise("single", trials=1)
    def single(answer, trial):
        trial.judge(answer, torch.tensor(2.5), {"one too many": 3.5})

    assert examine("single", answer).state == "correct"
    assert examine("single", np.asarray(answer) + 1.0).message == "one too many"


def test_other_answers_may_be_as_right():
    @exercise("spread")
    def spread(answer, trial):
        x = trial.randn(6)
        trial.expect_close(trial.call(answer, x), x.std(), "not the spread", also=[x.std(correction=0)])

    for answer in (lambda x: x.std(), lambda x: x.var(correction=0) ** 0.5):
        assert examine("spread", answer).state == "correct"
    assert examine("spread", lambda x: x.var()).message == "not the spread"


@pytest.fixture
def spread():
    @exercise("spread")
    def spread(answer, trial):
        x = trial.randn(6)
        mistakes = {
            "not the variance": (x.var(), x.var(correction=0)),
            "not the variance, nor with the other divisor": x.var(correction=0),
            "not its absolute value": x.std().abs(),  # on these inputs as on all others the right answer
            "not the other divisor's": x.std(correction=0),  # as right, see below
            "one for all, please": x.std().repeat(6),
        }
        got, also = trial.call(answer, x), [x.std(correction=0)]
        trial.judge(got, x.std(), mistakes, "not the spread", also=also, what="The spread")

    return "spread"


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.std(),
        lambda x: x.std(correction=0),
        lambda x: [float(x.std())],
        lambda x: x.float().std(),
        lambda x: x.half().std(),
    ],
)
def test_a_right_answer_is_never_taken_for_a_mistake_that_gives_the_same_numbers(spread, answer):
    for seed in range(5):
        assert examine(spread, answer, seed).state == "correct"


JUDGED = [
    (lambda x: x.var(), "not the variance"),
    (
        lambda x: x.var(correction=0),
        "not the variance",
    ),  # the second way to make it; the first message that fits
    (lambda x: x.float().var(), "not the variance"),
    (lambda x: x.std().repeat(6), "one for all, please"),  # whatever the shape
    (lambda x: 3 * x.std(), "not the spread"),
    (lambda x: x, "The shape should be (), but yours is (6,)."),
    (lambda x: x.std() / 0, "The spread is infinite."),
    (lambda x: "wide", "The spread is the text 'wide', not numbers."),
]


@pytest.mark.parametrize("answer, message", JUDGED)
def test_a_known_mistake_is_named_before_anything_else_is_said(spread, answer, message):
    for seed in range(3):
        result = examine(spread, answer, seed)
        assert (result.state, result.message) == ("not yet", message)


def test_the_tolerance_holds_for_mistakes_as_for_the_right_answer():
    @exercise("round-up", trials=1)
    def round_up(answer, trial):
        trial.judge(answer, 10_000_000, {"rounded down": 9_999_999}, "another number", rtol=1e-12)

    assert examine("round-up", 10_000_000).state == "correct"
    assert examine("round-up", 9_999_999).message == "rounded down"
    assert examine("round-up", 10_000_001).message == "another number"


def test_mistakes_in_two_parts_can_be_named_at_once():
    @exercise("step", trials=1)
    def step(answer, trial):
        trial.reject_mistakes(list(answer), [1.0, 2.0], {"turned around": [2.0, 1.0]})
        trial.expect_close(answer[0], 1.0, "the first part")

    assert examine("step", (2.0, 1.0)).message == "turned around"
    assert examine("step", (2.0, 2.0)).message == "the first part"
    assert examine("step", (1.0, "?")).state == "correct"  # what is no number is left to what comes after


def test_our_own_traceback_is_not_shown(averaging):
    assert "bdlcore" not in examine(averaging, bad_axis).text


def test_a_check_that_crashes_reads_not_yet():
    @exercise("strict")
    def strict(answer, trial):
        return answer.nothing.here

    @exercise("stricter")
    def stricter(answer, trial):
        trial.call(answer).nothing()

    assert "sense of what you return, the text 'b'." in examine("stricter", lambda: "b").message
    result = examine("strict", 3)
    assert result.state == "not yet"
    assert "could not make sense of your answer, the int 3" in result.message
    assert "no attribute 'nothing'" in result.detail


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda: 1.0, "Return 2 things, mean, std, in this order; yours is the float 1.0."),
        (lambda: (1, 2, 3), "yours is a tuple of 3 items."),
        (lambda: (1, None), "The std that you return is None."),
        (lambda: (1, 3), "wrong std"),
        (lambda: [1, 2], ""),
        (lambda: torch.tensor([1.0, 2.0]), ""),
        (lambda: np.array([[1.0], [2.0]]), ""),
        (lambda: torch.stack([torch.tensor(1), torch.tensor(2)]), ""),
        (lambda: (value for value in (1, 2)), ""),
        (lambda: map(float, "12"), ""),
        (lambda: torch.tensor([1.0, 3.0]), "wrong std"),
        (lambda: torch.tensor(1.0), "yours is a tensor of shape (), float32."),
        (lambda: torch.ones(3), "yours is a tensor of shape (3,), float32."),
        (lambda: {"mean": 1, "std": 2}, "yours is a dict of 2 items."),
        (lambda: "12", "yours is the text '12'."),
    ],
)
def test_several_things_are_returned_together(answer, told):
    @exercise("summary")
    def summary(answer, trial):
        mean, std = trial.parts(trial.call(answer), "mean", "std")
        trial.expect_close(mean, 1.0)
        trial.expect_close(std, 2.0, "wrong std")

    assert told in examine("summary", answer).text
    assert examine("summary", answer).state == ("not yet" if told else "correct")


@pytest.fixture
def summary():
    @exercise("summary", points=2)
    def summary(answer, trial):
        x = trial.randn(9)
        mean, std = trial.parts(trial.call(answer, x), "mean", "std")
        mistakes = {"That is the sum.": x.sum()}
        trial.judge(mean, x.mean(), mistakes, "wrong mean", what="The mean", part=True)
        trial.judge(std, x.std(), {"That is the variance.": x.var()}, "wrong std", what="The std", part=True)

    return "summary"


@pytest.mark.parametrize(
    "answer, told, right, earned",
    [
        (lambda x: (x.mean(), x.std()), "", (), 2),
        (lambda x: (x.mean(), x.var()), "That is the variance.", ("The mean",), 1),
        (lambda x: (x.sum(), x.std()), "That is the sum.", ("The std",), 1),
        (lambda x: (x.sum(), x.var()), "That is the sum.", (), 0),
        (lambda x: (x.mean(), "none"), "not numbers", ("The mean",), 1),
        (lambda x: (x.sum(), None), "The std that you return is None.", (), 0),
        (lambda x: x.mean(), "Return 2 things", (), 0),
        (lambda x: (x.mul_(1).mean(), x.std()), "", (), 2),
        (lambda x: (x.mean(), x.std(), x.zero_())[:2], "`x` changed in place", (), 0),
    ],
)
def test_parts_that_are_right_earn_their_share(summary, answer, told, right, earned):
    result = examine(summary, answer)
    assert told in result.text and (result.right, result.earned) == (right, earned)


def test_a_part_must_be_right_in_every_trial(summary):
    calls = []

    def sometimes(x):
        calls.append(1)
        return x.mean() + (len(calls) == 3), x.std() + (len(calls) == 2)

    result = examine(summary, sometimes)
    assert "wrong std" in result.text and (result.right, result.earned) == ((), 0)
    assert len(calls) == 3, "nothing is left to find out"


def test_the_learner_sees_which_parts_are_right(summary, capsys):
    check(summary, lambda x: (x.mean(), x.var()))
    score_card()
    shown = capsys.readouterr().out
    assert "Right already, 1 of 2 parts: the mean (1 point)." in shown
    assert "0 of 1 exercises correct · 1 of 2 points" in shown and "◐ not yet         1 / 2" in shown


def test_answers_may_change_global_randomness(averaging):
    def careless(logits):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)  # noqa: NPY002
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        return right(logits)

    def state():
        numpy_state = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2], random.getstate()

    before = state()
    assert examine(averaging, careless).state == "correct"
    assert state() == before


def zeroes_its_input(logits):
    found = right(logits)
    logits.zero_()
    return found


def changes_its_input_and_is_wrong(logits):
    logits += 1
    return logits.mean(0).softmax(-1)


def test_a_right_answer_that_changes_its_input_is_told_so_by_name(averaging):
    result = examine(averaging, zeroes_its_input, 0)
    assert result.state == "not yet"
    assert "The numbers are right, but `logits` changed in place" in result.message
    assert "`logits.clone()`" in result.detail
    assert "averaged the logits" in examine(averaging, changes_its_input_and_is_wrong, 0).message


def grow(item):
    item.append(0)


def empty(item):
    item.clear()


def add_one(item):
    item[0] += 1


@pytest.mark.parametrize(
    "change, value",
    [
        (add_one, torch.tensor([1.0, math.nan])),
        (add_one, np.array([1, 2])),
        (add_one, [torch.ones(2)]),
        (grow, [1.0]),
        (empty, {"a": 1.0}),
        (lambda item: item["a"].zero_(), {"a": torch.ones(1)}),
        (lambda item: item.resize_(1), torch.ones(2)),
    ],
)
def test_changes_within_any_container_are_seen(change, value):
    @exercise("count", trials=1)
    def count(answer, trial):
        trial.judge(trial.call(answer, 1.0, value=value), 1, {})

    def changes(n, *, value):
        change(value)
        return 1

    assert "`value` changed in place" in examine("count", changes).message
    assert examine("count", lambda n, *, value: 1).state == "correct"


def test_equal_seeds_draw_equal_inputs_and_others_do_not(averaging):
    inputs = []
    for seed in (1, 1, 2, None, None):
        examine(averaging, lambda logits: inputs.append(logits.tolist()), seed)
    assert inputs[0] == inputs[1]
    assert len({json.dumps(one) for one in inputs}) == 4


def test_a_random_answer_repeats_with_the_seed_and_differs_between_calls():
    seen = []

    @exercise("draw", trials=1)
    def draw(answer, trial):
        seen.append([float(trial.call(answer, 1)) for _ in range(2)])

    for _ in range(2):
        examine("draw", lambda n: torch.rand(n), seed=3)
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[0][1]


def test_hints_open_one_by_one(averaging, capsys):
    def shown():
        return [
            hint for hint in ("nudge", "push", "the answer, nearly") if hint in capsys.readouterr().out
        ] or None

    def text():
        return capsys.readouterr().out

    check(averaging, stub)
    assert "Hint" not in text()
    check(averaging, 3)
    assert "Hint 1 of 3: nudge" in (first := text()) and "push" not in first
    check.hint(averaging)
    assert "Hint 2 of 3: push" in text()
    check(averaging, 3)
    assert "Hint 3 of 3: the answer, nearly" in (third := text()) and "solutions/" in third
    check(averaging, 3)
    assert "Hint 3 of 3" in text()
    check(averaging, right)
    assert "Hint" not in text()


def test_score_card_counts_points_and_names_what_was_not_run(averaging, capsys):
    @exercise("second-one", points=3)
    def second(answer, trial):
        trial.expect_number(answer, 2.0)

    score_card()
    assert "Run the checks above first." in capsys.readouterr().out
    check("average-probabilities", right)
    score_card()
    card = capsys.readouterr().out
    assert "1 of 2 exercises correct · 2 of 5 points" in card
    assert "○ not attempted   0 / 3   Second one" in card
    check("second-one", 7)
    score_card()
    card = capsys.readouterr().out
    assert "1 of 2 exercises correct · 2 of 5 points" in card
    assert "◐ not yet         0 / 3   Second one" in card
    check("second-one", 2)
    score_card()
    assert "2 of 2 exercises correct · 5 of 5 points" in capsys.readouterr().out


def test_under_nbgrader_only_a_correct_answer_does_not_raise(averaging, monkeypatch):
    monkeypatch.setattr(_machine, "GRADING", True)
    check(averaging, right)
    for answer, state in ((stub, "not attempted"), (no_return, "not yet")):
        with pytest.raises(_machine.NotCorrect, match=state):
            check(averaging, answer)


@pytest.mark.parametrize("phase", ["autograde", "validate"])
def test_whether_answers_are_graded_is_decided_at_import(phase):
    forget = "os.environ.pop('NBGRADER_EXECUTION')"
    code = f"import os; from bdlcore.exercises import _machine; {forget}; print(_machine.GRADING)"
    environment = os.environ | {"NBGRADER_EXECUTION": phase}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "True\n"


def test_warnings_cost_no_points(averaging, capsys):
    """nbgrader gives no points to a cell that writes to stderr."""

    def talkative(logits):
        import sys

        print("careful", file=sys.stderr)
        return right(logits)

    check(averaging, talkative)
    out, err = capsys.readouterr()
    assert "careful" in out and not err


def test_prints_are_shown_for_one_trial(averaging, capsys):
    calls = []

    def fails_at_the_third(logits):
        calls.append(1)
        print(f"call {len(calls)}")
        return right(logits) if len(calls) < 3 else None

    check(averaging, fails_at_the_third)
    out = capsys.readouterr().out
    assert "call 3" in out and "call 1" not in out and "call 2" not in out


def test_check_gives_nbgrader_nothing_to_read_as_partial_points(averaging):
    assert check(averaging, right) is None


def test_html_marks_code_and_escapes_the_rest(averaging):
    result = examine(averaging, lambda logits: "<b>")
    page = exercises._show.result(result, ()).html
    assert "&lt;b&gt;" in page and "<code>&lt;lambda&gt;</code>" in page


def test_unknown_id_names_close_ones(averaging):
    with pytest.raises(LookupError, match='no exercise "average-probability".*"average-probabilities"'):
        check("average-probability", right)


def test_bad_registrations_are_refused():
    with pytest.raises(TypeError, match="tuple of texts"):
        exercise("a", hints="one")
    with pytest.raises(ValueError, match="at least 1"):
        exercise("a", points=0)


def test_one_id_in_two_lessons_is_refused(averaging):
    def other(answer, trial): ...

    other.__module__ = "bdlcore.exercises.checks.other_lesson"
    with pytest.raises(ValueError, match="used in test_machine and in other_lesson"):
        exercise(averaging)(other)


def test_find_the_bug_reads_not_attempted_until_something_changes():
    @exercise("fix-the-scale")
    def fix(answer, trial):
        variance = trial.rand(4) + 1.5
        got = trial.call(answer, variance)
        trial.unchanged_if_close(got, variance)
        trial.expect_close(got, variance.sqrt(), "That is not the standard deviation.")

    assert examine("fix-the-scale", lambda variance: variance).state == "not attempted"
    assert "handed out" in examine("fix-the-scale", lambda variance: variance).text
    assert examine("fix-the-scale", lambda variance: variance**2).state == "not yet"
    assert examine("fix-the-scale", lambda variance: variance**0.5).state == "correct"


CHOICES = [
    ("b", "correct", ""),
    (" B ", "correct", ""),
    (["b"], "correct", ""),
    ("a", "not yet", "a is wrong since"),
    ("bc", "not yet", 'Answer with one of "a", "b", "c"'),
    ("a b", "not yet", "Answer with one of"),
    (2, "not yet", "the answer is the int 2"),
    ("", "not yet", "Answer with one of"),
    (..., "not attempted", ""),
]


@pytest.mark.parametrize("answer, state, told", CHOICES)
def test_one_choice(answer, state, told):
    @exercise("choose", trials=1)
    def choose(answer, trial):
        trial.expect_choice(answer, "b", because={"a": "a is wrong since ...", "c": "c is wrong since ..."})

    result = examine("choose", answer)
    assert result.state == state and told in result.text
    assert "seed" not in exercises._show.result(result, ()).text  # nothing was random


@pytest.mark.parametrize(
    "answer, state, told",
    [
        ("a, c", "correct", ""),
        ({"c", "a"}, "correct", ""),
        ("a", "not yet", "something is missing"),
        ("a b", "not yet", "b is wrong"),
    ],
)
def test_several_choices(answer, state, told):
    @exercise("choose", trials=1)
    def choose(answer, trial):
        trial.expect_choice(answer, {"a", "c"}, because={"b": "b is wrong"})

    result = examine("choose", answer)
    assert result.state == state and told in result.text


@pytest.mark.parametrize(
    "answer, state, told",
    [
        (0.5, "correct", ""),
        (torch.tensor([0.5004]), "correct", ""),
        (np.float32(0.5), "correct", ""),
        (0.6, "not yet", "count again"),
        (
            torch.zeros(2),
            "not yet",
            "One finite number is asked for, but the answer is a tensor of shape (2,)",
        ),
        (True, "not yet", "One finite number"),
        (float("nan"), "not yet", "One finite number"),
        ("0.5", "not yet", "is the text '0.5', not numbers"),
        (lambda: 0.5, "not yet", "does it still have to be called?"),
    ],
)
def test_number(answer, state, told):
    @exercise("number", trials=1)
    def number(answer, trial):
        trial.expect_number(answer, 0.5, "count again")

    result = examine("number", answer)
    assert result.state == state and told in result.text
    assert "0.5" not in result.message.replace("'0.5'", "")  # the number wanted is not given away


def test_random_answers_are_judged_by_their_standard_error():
    @exercise("sample", trials=1)
    def sample(answer, trial):
        draws = trial.tensor(trial.call(answer, 2000), ndim=2)
        trial.expect_mean(
            (draws - 1.0) ** 2, torch.full((3,), 4.0), "That is the variance as a standard deviation."
        )

    passed = [examine("sample", lambda n: 1 + 2 * torch.randn(n, 3), seed).state for seed in range(200)]
    assert passed.count("correct") == 200
    for seed in range(20):
        assert "standard deviation" in examine("sample", lambda n: 1 + 4 * torch.randn(n, 3), seed).text
    assert "should have 2 axes" in examine("sample", lambda n: torch.randn(n)).text
    assert "At least two draws" in examine("sample", lambda n: torch.randn(1, 3)).text


@pytest.mark.parametrize(
    "function, nothing",
    [
        (stub, True),
        (lambda: None, True),
        (lambda: 0.5, False),
        (no_return, False),
        (print, False),
        (right, False),
    ],
)
def test_stubs_are_told_from_functions_without_return(function, nothing):
    assert _reading.does_nothing(function) is nothing


def test_a_method_can_be_a_stub():
    class Sampler:
        def step(self):
            """Takes a step."""

    assert _reading.does_nothing(Sampler().step)


def test_variants_judge_and_show(averaging, capsys):
    v = variants(averaging)
    v.right(right)
    v.right(value=loop, name="with a loop")

    @v.wrong("averaged the LOGITS")
    def averages_logits(logits):
        return logits.mean(0).softmax(-1)

    v.show()
    table = capsys.readouterr().out
    assert "with a loop (right): correct" in table
    assert "averages_logits (wrong): not yet. You averaged the logits." in table
    with pytest.raises(ValueError, match="two variants are named averages_logits"):
        v.wrong("logits")(averages_logits)


def test_variants_that_break_their_promise_are_reported(averaging):
    v = variants(averaging)
    v.right(wrong_axis)
    v.wrong("logits", value=right)
    v.wrong("logits", value=bad_axis)
    v.wrong("logits", value=stub)
    with pytest.raises(AssertionError) as error:
        v.show()
    told = str(error.value)
    assert "right answer wrong_axis must pass, but it reads" in told
    assert 'wrong answer right must fail, but it reads "correct"' in told
    assert "wrong answer bad_axis must be told 'logits', but" in told
    assert 'wrong answer stub must fail, but it reads "not attempted"' in told


def test_variants_ask_for_a_telling_fragment(averaging):
    for fragment in ("", "no", right):
        with pytest.raises(ValueError, match="part of the message"):
            variants(averaging).wrong(fragment)
    with pytest.raises(TypeError, match="give a function"):
        variants(averaging).right(name="nothing")


def test_a_check_is_instant(averaging):
    examine(averaging, right)
    start = time.process_time()
    for _ in range(10):
        examine(averaging, right)
    assert time.process_time() - start < 5
