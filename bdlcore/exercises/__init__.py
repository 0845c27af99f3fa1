"""Exercises that answer back: checks, hints, a score card, and the proof that each check works.

In a notebook::

    from bdlcore.exercises import check, score_card
    check("average-probabilities", average_probabilities)   # ○ not attempted, ◐ not yet (and why), ✓ correct
    check.hint("average-probabilities")                     # one hint more
    score_card()

Adding an exercise takes two places: its check in `checks/`, in the module named like the lesson
(`model_averaging.py` for `01_model_averaging.ipynb`), and its cells in the notebook under `solutions/`.

The check draws inputs, calls the answer, names known mistakes and compares with an independent reference::

    @exercise("average-probabilities", points=2, hints=("Which axis holds the samples?", "First softmax, then mean."))
    def average_probabilities(answer, trial):
        logits = trial.randn(trial.integer(4, 9), 5, 3)                   # fresh at each call; float64
        got = trial.call(answer, logits)                                  # exceptions, None, ... become messages
        mistakes = {
            "You averaged the logits, then took the softmax.": logits.mean(0).softmax(-1),
            "You summed over the samples; an average also divides by their number.": logits.softmax(-1).sum(0),
        }
        right = logits.softmax(-1).mean(0)
        trial.judge(got, right, mistakes, "These are not the averaged probabilities.")

Where several things are asked for, `trial.parts` takes them apart, and `trial.judge(..., part=True)` of each gives it a
share of the points.

The cells, in this order (`make exercises` writes their nbgrader metadata)::

    ### Exercise 3 · Average the right thing  ★☆☆ · 5 min    <- markdown, then the text of the exercise
    def average_probabilities(logits):                       # solution cell
        ### BEGIN SOLUTION
        return logits.softmax(-1).mean(0)
        ### END SOLUTION
    check("average-probabilities", average_probabilities)    # check cell
    v = variants("average-probabilities") ...                # variants cell, see `variants`

`make exercises` replaces each region by `...  # your code here`, or by the commented lines after `### STUB` within it
(a value to fill in: `# answer = ...`; find the bug: the line as shipped), and leaves the variants out. The tests then
hold the untouched stub, the solution and all variants against the check. `Trial` and `Judgements` document what `trial`
can do beside `judge`.
"""

from ._judgements import Judgements
from ._machine import check, examine, exercise, registered, score_card
from ._trial import Trial
from ._variants import variants

__all__ = ["Judgements", "Trial", "check", "examine", "exercise", "registered", "score_card", "variants"]
