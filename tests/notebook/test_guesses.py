"""A guess is kept, shown beside what was measured, and counted; without one the notebook reads on."""

import pytest
from IPython.display import Markdown

from bdlcore.notebook import guesses


class Page:
    """What cells displayed, in order, with updates in place, as a front end would show it."""

    def __init__(self):
        self.outputs = []

    def display(self, shown, raw=False, display_id=None):
        position = len(self.outputs)
        self.outputs.append(shown if raw else shown.data)
        page = self

        class Handle:
            def update(self, changed):
                assert isinstance(changed, Markdown)
                page.outputs[position] = changed.data

        return Handle() if display_id else None


@pytest.fixture
def page(monkeypatch):
    made, boxes = Page(), []
    monkeypatch.setattr(guesses, "display", made.display)
    monkeypatch.setattr(guesses, "_questions", {})
    monkeypatch.setattr(guesses, "_tallies", [])
    plain = guesses.widgets.VBox

    def remembered(children):
        boxes.append(plain(children))
        return boxes[-1]

    monkeypatch.setattr(guesses.widgets, "VBox", remembered)
    made.boxes = boxes
    return made


def control(page, which=-1):
    return page.boxes[which].children[1]


def test_a_guessed_choice_stands_beside_the_measured_one(page):
    guesses.guess("fall", "Does the error fall?", choices=["yes", "no"])
    control(page).value = "no"
    guesses.answer("fall", "yes", "By half.")
    assert page.outputs[-1] == "✘ You guessed: no. Measured: **yes**. By half."
    control(page).value = "yes"  # a mind may be changed, and the page follows
    assert page.outputs[-1] == "✔ You guessed: yes. Measured: **yes**. By half."


@pytest.mark.parametrize(
    "typed, mark", [("3", "✔"), ("2,1", "✔"), ("1.4", "✘"), ("7", "✘"), ("-3", "✘"), ("−3", "✘"), ("0", "✘")]
)
def test_a_guessed_number_is_right_within_a_factor_of_two(page, typed, mark):
    guesses.guess("gain", "How much?", unit="nats")
    control(page).value = typed
    guesses.answer("gain", 3.0)
    assert page.outputs[-1].startswith(mark) and page.outputs[-1].endswith("Measured: **3 nats**.")


def test_zero_is_near_to_nothing_but_zero(page):
    guesses.guess("drift", "How much?")
    guesses.answer("drift", 0.0)
    control(page).value = "0.1"
    assert page.outputs[-1].startswith("✘")
    control(page).value = "0"
    assert page.outputs[-1].startswith("✔")


def test_what_is_not_a_number_is_told_so_and_changes_nothing(page):
    guesses.guess("gain", "How much?")
    control(page).value = "3"
    for typed in ("a lot", "nan", "inf"):
        control(page).value = typed
        assert page.boxes[0].children[2].value == "A number, please, such as 3 or 0.5."
    guesses.answer("gain", 3)
    assert page.outputs[-1].startswith("✔ You guessed: 3.")
    control(page).value = ""  # taken back
    assert page.outputs[-1] == "Measured: **3**."


def test_without_guesses_everything_runs_and_reads(page):
    guesses.guess("fall", "Does the error fall?", choices=["yes", "no"])
    guesses.answer("fall", "yes", "By half.")
    guesses.tally()
    question, answer, tally = page.outputs
    assert question["text/markdown"] == "**Predict first.** Does the error fall? *Your guess:* yes / no"
    assert answer == "Measured: **yes**. By half."
    assert tally == "**Your predictions:** none of the 1 questions has a guess of yours."


def test_the_tally_counts_what_was_guessed_and_measured_also_later(page):
    guesses.guess("fall", "Does the error fall?", choices=["yes", "no"])
    guesses.guess("gain", "How much?", unit="nats")
    guesses.guess("open", "Why?", choices=["a", "b"])
    control(page, 0).value, control(page, 1).value = "yes", "30"
    guesses.answer("fall", "yes")
    guesses.answer("gain", 3.0)
    guesses.tally()
    first, *marks = page.outputs[-1].split("\n")
    assert first == "**Your predictions:** 1 of 2 came true (a number is right within a factor of 2)."
    assert marks[1:] == [
        "- ✔ Does the error fall? You: yes. Measured: yes.",
        "- ✘ How much? You: 30 nats. Measured: 3 nats.",
    ]
    control(page, 1).value = "4"
    assert page.outputs[-1].startswith("**Your predictions:** 2 of 2 came true")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"choices": ["yes"]}, "at least two different choices"),
        ({"choices": ["yes", "yes"]}, "at least two different choices"),
        ({"choices": "yes"}, "a list of texts"),
        ({"choices": [1, 2]}, "a list of texts"),
        ({"choices": ["yes", "no"], "unit": "nats"}, "belongs to a number"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(page, wrong, message):
    with pytest.raises(ValueError, match=message):
        guesses.guess("fall", "Does it?", **wrong)
    assert not page.outputs


def test_an_answer_must_answer_its_question(page):
    with pytest.raises(ValueError, match="No question is called 'gain'.*none yet"):
        guesses.answer("gain", 3.0)
    guesses.guess("gain", "How much?")
    guesses.guess("fall", "Does it?", choices=["yes", "no"])
    with pytest.raises(ValueError, match="Asked: 'gain', 'fall'"):
        guesses.answer("loss", 3.0)
    for value in ("much", float("nan")):
        with pytest.raises(ValueError, match="asks for a number"):
            guesses.answer("gain", value)
    with pytest.raises(ValueError, match=r"one of \('yes', 'no'\)|one of \['yes', 'no'\]"):
        guesses.answer("fall", "perhaps")


def test_a_saved_page_keeps_the_question_as_text():
    from execute_notebooks import WIDGET, tidy
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guesses, "display", lambda bundle, raw: shown.append(bundle))
        guesses.guess("fall", "Does the error fall?", choices=["yes", "no"])
    assert WIDGET in shown[0]
    cell = new_code_cell("", outputs=[new_output("display_data", shown[0])])
    kept = tidy(new_notebook(cells=[cell])).cells[0].outputs[0].data
    assert WIDGET not in kept and kept["text/markdown"].startswith("**Predict first.** Does the error fall?")


def test_a_live_page_shows_the_controls_with_either_ipywidgets(page, monkeypatch):
    monkeypatch.delattr(guesses.widgets.Widget, "_repr_mimebundle_", raising=False)  # ipywidgets 7 has none
    guesses.guess("fall", "Does the error fall?", choices=["yes", "no"])
    assert page.outputs[-1][guesses.VIEW]["model_id"] == page.boxes[-1].model_id
