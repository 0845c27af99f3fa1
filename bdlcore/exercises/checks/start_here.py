"""Checks of lesson 00: counting weights, units, averaging, and reading a sampler's report."""

from __future__ import annotations

import math

from .._machine import exercise
from .._trial import Trial


@exercise(
    "count-weights",
    points=1,
    hints=(
        "A dense layer from n to m units has a weight per pair and a bias per unit: n·m + m.",
        "There are three layers: 1 → 20, 20 → 20 and 20 → 1.",
    ),
)
def count_weights(answer: object, trial: Trial) -> None:
    """D of mlp(1, 20, 20, 1)."""
    mistakes = {
        "You counted the weights only; each unit has a bias as well.": 440,
        "You added up units; a dense layer has a weight for every *pair* of units.": 60,
        "One bias is missing: the output unit has one, too.": 480,
        "These are the numbers of units; a dense layer has a weight for every pair of units.": 42,
    }
    trial.reject_mistakes(answer, 481, mistakes)
    trial.expect_number(
        answer, 481, "Go layer by layer: pairs of units, plus one bias per unit of the layer.", rtol=0
    )


@exercise(
    "whitened-weights",
    points=1,
    hints=(
        "theta has standard deviation 1 under the prior; a weight has standard deviation `std`.",
        "Multiplying a standard normal number by s gives a number of standard deviation s.",
    ),
)
def whitened_weights(answer: object, trial: Trial) -> None:
    """w = theta * std."""
    theta = trial.randn(trial.integer(2, 6), 7)
    std = 0.2 + 2 * trial.rand(7)
    got = trial.call(answer, theta, std)
    mistakes = {
        "You divided: that turns weights into theta, the other way round.": theta / std,
        "You multiplied by the variance; a weight scales with the standard deviation.": theta * std**2,
        "You took a square root: `std` is a standard deviation already.": theta * std.sqrt(),
        "You added; a standard deviation is a scale, so multiply.": theta + std,
    }
    trial.judge(got, theta * std, mistakes, "A weight is theta times its prior standard deviation.")


@exercise(
    "average-and-spread",
    points=2,
    hints=(
        "f has shape (S, N, C). Which of the three axes counts networks?",
        "Mean and standard deviation over axis 0; their shape is (N, C).",
        "total² = spread² + noise².",
    ),
)
def average_and_spread(answer: object, trial: Trial) -> None:
    """Mean over networks and total std of y."""
    f = trial.randn(trial.integer(30, 60), trial.integer(4, 7), 2) + trial.randn(1, 1, 2)
    noise_std = trial.uniform(0.3, 1.0)
    mean, total = trial.parts(trial.call(answer, f, noise_std), "mean", "total")
    mistakes = {"You averaged over the inputs (axis 1); average over the networks.": f.mean(1)}
    trial.judge(
        mean, f.mean(0), mistakes, "The mean is not the average over networks.", what="The mean", part=True
    )
    spreads = f.std(0), f.std(0, correction=0)  # with and without Bessel's correction are both fine
    mistakes = {
        "That is the spread of f alone; y also has noise.": spreads,
        "Standard deviations do not add up; variances do.": tuple(s + noise_std for s in spreads),
        "Square the noise: `noise_std` is a standard deviation.": tuple(
            (s**2 + noise_std).sqrt() for s in spreads
        ),
        "That is the variance; its root is asked for.": tuple(s**2 + noise_std**2 for s in spreads),
    }
    right, other = ((s**2 + noise_std**2).sqrt() for s in spreads)
    message = "total² should be the variance of f over networks plus noise_std²."
    trial.judge(total, right, mistakes, message, also=[other], what="total", part=True)


@exercise(
    "which-posterior",
    points=1,
    hints=(
        "A chain that never moves looks very sure of itself. Which number would give it away?",
        "R-hat near 1 *and* an acceptance well above 0 *and* an ESS in the hundreds.",
    ),
)
def which_posterior(answer: object, trial: Trial) -> None:
    """Reading a sampler's report."""
    trial.expect_choice(
        answer,
        right="b",
        because={
            "a": "R-hat of 1.9: the chains are in different places, so their mixture is not the posterior.",
            "c": "Acceptance 0.00: these chains never moved. A frozen chain's numbers mean nothing.",
            "d": "An ESS of 6: R-hat is a warning too, and so few effective draws estimate nothing.",
        },
    )


@exercise(
    "networks-for-accuracy",
    points=2,
    hints=(
        "The error of an average of J independent votes is spread / √J.",
        "Solve spread / √J ≤ tolerance for J; then round up, since you cannot ask half a network.",
    ),
)
def networks_for_accuracy(answer: object, trial: Trial) -> None:
    """J = ceil((spread / tolerance)^2)."""
    # neither a whole number nor within rounding of one
    exact, tolerance = trial.integer(20, 2000) + trial.uniform(0.1, 0.9), trial.uniform(0.02, 0.1)
    spread = tolerance * math.sqrt(exact)
    got = trial.call(answer, spread, tolerance)
    mistakes = {
        "The error falls with the root of J, so J grows with the square.": (
            math.ceil(spread / tolerance),
            spread / tolerance,
        ),
        "Rounded down, the error is a little too large: round up.": math.floor(exact),
        "Round up to a whole number of networks.": exact,
        "The ratio is upside down.": math.ceil((tolerance / spread) ** 2),
    }
    message = "spread / √J should just be within the tolerance."
    trial.judge(got, math.ceil(exact), mistakes, message, rtol=1e-6, scale=0.0)
    whole = 2 ** trial.integer(1, 4)  # powers of two: exact in floating point
    got = trial.call(answer, 0.5 * whole, 0.5)
    mistakes = {"One too many where the ratio is a whole number: that many just suffice.": whole**2 + 1}
    trial.judge(got, whole**2, mistakes, message, rtol=1e-6)
