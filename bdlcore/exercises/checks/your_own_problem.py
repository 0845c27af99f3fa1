"""Checks of lesson 14: units, noise that is learned, conformal intervals, abstaining, and what to make Bayesian."""

from __future__ import annotations

import math

import torch

from .._machine import exercise
from .._trial import Trial
from . import REDRAWS


@exercise(
    "units-there-and-back",
    points=2,
    hints=(
        "Standardise x and y by the training rows, fit, and undo what you did to y.",
        "With y = m + s t: the mean of y is m + s times that of t, and a standard deviation is multiplied by s alone.",
        "xm, xs, ym, ys = x.mean(0), x.std(0), y.mean(), y.std();  mean, std = fit((x - xm) / xs, (y - ym) / ys, "
        "(x_new - xm) / xs);  return ym + ys * mean, ys * std",
    ),
)
def units_there_and_back(answer: object, trial: Trial) -> None:
    """Standardise, predict, and return to the units of y."""
    N, M, D = 12, trial.integer(4, 5), 3
    scale = torch.tensor([1.0, 40.0, 3000.0], dtype=torch.float64)
    x, x_new = (scale * (1.5 + trial.randn(n, D)) for n in (N, M))
    y = 150 + 60 * (x / scale) @ trial.randn(D) + trial.randn(N)

    def fit(x: torch.Tensor, y: torch.Tensor, x_new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Ridge regression with unit prior, of the offset too, and unit noise: mean and std at x_new."""
        x, x_new = (torch.cat([part, torch.ones(len(part), 1, dtype=part.dtype)], 1) for part in (x, x_new))
        A = x.T @ x + torch.eye(D + 1, dtype=x.dtype)
        mean = x_new @ torch.linalg.solve(A, x.T @ y)
        return mean, (1 + (x_new * torch.linalg.solve(A, x_new.T).T).sum(1)).sqrt()

    xm, xs, ym, ys = x.mean(0), x.std(0), y.mean(), y.std()
    mean, std = fit((x - xm) / xs, (y - ym) / ys, (x_new - xm) / xs)
    own_mean, own_std = fit((x - xm) / xs, (y - ym) / ys, (x_new - x_new.mean(0)) / x_new.std(0))
    raw_mean, raw_std = fit(x, y, x_new)
    half_mean, half_std = fit((x - xm) / xs, y, (x_new - xm) / xs)
    wide = (x - xm) / xs**2, (x_new - xm) / xs**2
    square_mean, square_std = fit(wide[0], (y - ym) / ys, wide[1])
    one_mean, one_std = fit((x - x.mean()) / x.std(), (y - ym) / ys, (x_new - x.mean()) / x.std())
    ps, qs = x.std(0, correction=0), y.std(correction=0)
    other_mean, other_std = fit((x - xm) / ps, (y - ym) / qs, (x_new - xm) / ps)
    found = trial.parts(trial.call(answer, x, y, x_new, fit), "mean", "std")
    for value in found:
        trial.expect_shape(value, (M,))
    got = torch.cat([trial.tensor(value) for value in found])
    mistakes = {
        "The mean is still in standardised units: multiply by y's std and add its mean.": (mean, ys * std),
        "The standard deviation is still in standardised units: multiply it by y's std.": (
            ym + ys * mean,
            std,
        ),
        "Nothing was undone: both are in standardised units.": (mean, std),
        "y's mean was added to the standard deviation as well; adding a constant moves, but does not widen.": (
            ym + ys * mean,
            ym + ys * std,
        ),
        "y's mean is missing: that is how far predictions lie from it.": (ys * mean, ys * std),
        "The variance of y took part; a standard deviation is multiplied by a standard deviation.": (
            ym + ys * mean,
            ys**2 * std,
        ),
        "New rows were standardised by themselves; the model knows the scale of the training rows alone.": (
            ym + ys * own_mean,
            ys * own_std,
        ),
        "Inputs and targets went in as they are: with a prior of std 1 that posterior is useless.": (
            raw_mean,
            raw_std,
        ),
        "y went in as it is: the prior has no functions there.": (half_mean, half_std),
        "x was divided by its variance.": (ym + ys * square_mean, ys * square_std),
        "One mean and one std for the whole of x; every column has its own unit.": (
            ym + ys * one_mean,
            ys * one_std,
        ),
        "That is the std over N; .std() divides by N - 1, and a fit with a prior of std 1 sees the difference.": (
            ym + qs * other_mean,
            qs * other_std,
        ),
        "Swapped: the mean comes first.": (ys * std, ym + ys * mean),
    }
    mistakes = {message: torch.cat(pair) for message, pair in mistakes.items()}
    trial.judge(got, torch.cat([ym + ys * mean, ys * std]), mistakes, "ym + ys * mean and ys * std.")


@exercise(
    "noise-with-a-prior",
    points=2,
    hints=(
        "Two densities multiply: that of the data given f and the noise, and that of the parameter s itself.",
        "The noise std is exp(s): log N(y; f, exp(s)^2) summed over data, plus log N(s; log median, log(factor)^2).",
        "Normal(f, s.exp()).log_prob(y).sum() + Normal(math.log(median), math.log(factor)).log_prob(s)",
    ),
)
def noise_with_a_prior(answer: object, trial: Trial) -> None:
    """log p(y | f, s) + log p(s) with s = log noise."""
    N = trial.integer(6, 8)
    f, noise = trial.randn(N), trial.randn(N)
    s = torch.tensor(trial.uniform(-1.5, -0.8), dtype=torch.float64)
    y, median, factor = f + s.exp() * noise, trial.uniform(0.4, 0.6), trial.uniform(2.5, 3.5)

    def normal(value: torch.Tensor, mean: torch.Tensor | float, std: torch.Tensor | float) -> torch.Tensor:
        std = torch.as_tensor(std, dtype=torch.float64)
        return -0.5 * ((value - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)

    fit, prior = normal(y, f, s.exp()).sum(), normal(s, math.log(median), math.log(factor))
    want = fit + prior
    got = trial.call(answer, f, y, s, median, factor)
    constant = 0.5 * math.log(2 * math.pi)
    mistakes = {
        "The prior of the noise is missing.": fit,
        "The prior counts once, not once per datum.": fit + N * prior,
        "That is the mean over data; log densities of independent data add up.": fit / N + prior,
        "s was taken for the noise itself; it is exp(s).": normal(y, f, s.abs()).sum() + prior,
        "exp(s) was taken for the variance; it is the standard deviation.": normal(y, f, (s / 2).exp()).sum()
        + prior,
        "The prior's mean is log(median), on the scale of s.": fit + normal(s, median, math.log(factor)),
        "The prior's std is log(factor), on the scale of s.": fit + normal(s, math.log(median), factor),
        "(log factor)² is the prior's variance; its std is log(factor).": fit
        + normal(s, math.log(median), math.log(factor) ** 2),
        "The sign is wrong: that is the loss, minus the log density.": -want,
        "The prior is one of s, not of exp(s).": fit + normal(s.exp(), median, math.log(factor)),
        "The normalising -log std of the data is missing; without it the largest noise fits best.": (
            want + N * s
        ),
        "The constants -½ log 2π are missing.": (want + (N + 1) * constant, want + N * constant),
        "The constants are missing: -½ log 2π, and -log std of the prior.": (
            want + (N + 1) * constant + math.log(math.log(factor)),
            want + math.log(math.log(factor)),
        ),
        "log std took part twice: s is the parameter, and its density needs no Jacobian.": (
            want - s,
            want + s,
        ),
    }
    message = "log N(y; f, e^2s) summed, plus log N(s; log median, (log factor)²)."
    trial.judge(got, want, mistakes, message, scale=float(N))  # the terms may cancel


@exercise(
    "conformal-factor",
    points=2,
    hints=(
        "How many standard deviations would have been enough, for most of the patients that were kept apart?",
        "Sort |y - mean| / std. A new patient is as likely to fall into any of the N + 1 gaps between these.",
        "k = math.ceil((len(y) + 1) * probability);  ((y - mean).abs() / std).sort().values[k - 1]",
    ),
)
def conformal_factor(answer: object, trial: Trial) -> None:
    """Split conformal prediction in units of the predictive std."""
    N, probability = (19, 39, 29, 24)[trial.index % 4], (0.8, 0.9)[trial.index % 2]
    mean, std = trial.randn(N), 0.5 + trial.rand(N)
    y = mean + 1.3 * std * trial.randn(N)
    scores = ((y - mean).abs() / std).sort().values
    k = math.ceil((N + 1) * probability - 1e-9)
    want = scores[k - 1]
    got = trial.call(answer, y, mean, std, probability)
    signed = ((y - mean) / std).sort().values
    mistakes = {
        "One patient too few: with N kept apart the rank is ceil((N + 1) · probability), not ceil(N · probability).": (
            scores[math.ceil(N * probability - 1e-9) - 1]
        ),
        "One place too far: the k-th smallest has the index k - 1.": scores[min(k, N - 1)],
        "Misses count on both sides: take the absolute value.": (signed[k - 1], -signed[k - 1]),
        "The misses were not divided by the std of their prediction.": (y - mean).abs().sort().values[k - 1],
        "The variance took part; divide by the standard deviation.": (
            ((y - mean).abs() / std**2).sort().values[k - 1]
        ),
        "That is a quantile of the normal distribution, which conformal prediction does not need.": (
            torch.tensor(2**0.5 * torch.erfinv(torch.tensor(probability)).item(), dtype=torch.float64)
        ),
        "That is the quantile of the other side: the share outside.": scores[N - k],
        "Squared misses: their root is the factor.": scores[k - 1] ** 2,
        "An interpolated quantile is too short: the promise holds for one of the misses themselves.": (
            torch.quantile(scores, probability)
        ),
    }
    trial.judge(got, want, mistakes, "The ceil((N + 1) p)-th smallest |y - mean| / std.")


@exercise(
    "abstain",
    points=2,
    hints=(
        "Sort by confidence, the surest first, and follow the error of those that are kept.",
        "The error of the first k is the running sum of `wrong` over k. Keep the largest k that is good enough.",
        "order = confidence.argsort(descending=True); error = wrong[order].double().cumsum(0) / torch.arange(1, n + 1)"
        "; good = (error <= target).nonzero(); share = (good[-1] + 1) / n",
    ),
)
def abstain(answer: object, trial: Trial) -> None:
    """The largest share of predictions whose error is at most a target; at the last trial there is none."""
    n, target = 40, (0.15, 0.2, 0.13)[trial.index % 3]
    pattern = torch.zeros(n, dtype=torch.bool)
    # sure ones err, too: the curve is not monotone
    pattern[[1, 9, 14, 21, 23, 25, 28, 30, 31, 33, 34, 35, 36, 37]] = True
    ranks = torch.arange(1, n + 1, dtype=torch.float64)
    if trial.index == 4:
        confidence = 0.3 + 0.7 * trial.rand(n)
        wrong = torch.zeros(n, dtype=torch.bool)
        wrong[confidence.argsort(descending=True)[::3]] = True
        got = trial.call(answer, confidence, wrong, target)
        mistakes = {
            "No share is good enough here, since the surest are wrong too; then nothing is kept, a share of 0.": 1.0
        }
        trial.judge(got, torch.tensor(0.0, dtype=torch.float64), mistakes, "0, as no k is good enough.")
        return

    def share(error: torch.Tensor) -> torch.Tensor:
        good = (error <= target).nonzero().flatten()
        return (good[-1:] + 1).sum().double() / n

    error = pattern.double().cumsum(0) / ranks
    want = share(error)
    for _ in range(REDRAWS):
        confidence, wrong = 0.3 + 0.7 * trial.rand(n), torch.zeros(n, dtype=torch.bool)
        order = confidence.argsort(descending=True)
        wrong[order] = pattern
        mistakes = {
            "You stopped where the error first exceeds the target; it falls again, and more can be kept.": (
                (error > target).nonzero()[0, 0].double() / n
            ),
            "The predictions were not sorted by confidence.": share(wrong.double().cumsum(0) / ranks),
            "Sorted the wrong way: the least sure come first.": share(
                pattern.flip(0).double().cumsum(0) / ranks
            ),
            "Those are errors over all n; the error among the kept is the running sum over k.": share(
                pattern.double().cumsum(0) / n
            ),
            "That is the number that is kept; the share is asked for.": want * n,
            "That is the share that is left to somebody else.": 1 - want,
            "That is the confidence of the last one kept; the share is asked for.": (
                confidence[order][round(want.item() * n) - 1]
            ),
            "The accuracy was compared with the target; the error is asked for.": share(1 - error),
        }
        strict = ((error < target).nonzero().flatten()[-1] + 1).double() / n
        if strict != want:
            mistakes["An error of just the target is good enough: at most, not below."] = strict
        if trial.distinct(want, mistakes):
            break
    got = trial.call(answer, confidence, wrong, target)
    trial.judge(got, want, mistakes, "The largest k with running error at most the target, over n.")


@exercise(
    "what-to-make-bayesian",
    points=2,
    hints=(
        "Rule out what does not fit in time or memory. Of the rest take the one that gains most.",
        "HMC takes draws x leapfrog gradients, of all chains together, and keeps chains x draws settings.",
        "fits = draws * leapfrog * seconds <= budget and 4 * chains * draws * weights <= memory;  max of gain",
    ),
)
def what_to_make_bayesian(answer: object, trial: Trial) -> None:
    """Choose a part of a network under a budget of seconds and bytes."""
    chains, draws, leapfrog = 8, 512, (4, 8)[trial.index % 2]
    gain = [0.02 + 0.001 * trial.uniform(0, 1) * k for k in range(8)]
    budget, memory = 64.0, float(2**30)  # powers of two: the right one takes just as much as there is
    per_gradient = budget / (draws * leapfrog)
    room = memory / (4 * chains * draws)
    # name: (weights, seconds of one gradient of all chains, gain in nats)
    options = {
        "last layer": (0.1 * room, 0.3 * per_gradient, 0.05 + gain[0]),
        "low rank": ((room, 0.5 * room)[trial.index % 2], per_gradient, 0.10 + gain[1]),
        "last block": (1.2 * room, 0.8 * per_gradient, 0.16 + gain[2]),
        "all biases": (0.05 * room, 1.2 * per_gradient, 0.13 + gain[3]),
        "everything": (90.0 * room, 12.0 * per_gradient, 0.20 + gain[4]),
        "one layer": (0.2 * room, 0.1 * per_gradient, 0.03 + gain[5]),
        "embedding": (0.9 * room, 0.4 * per_gradient, 0.02 + gain[6]),
        "all gains": (0.3 * room, 0.12 * per_gradient, 0.04 + gain[7]),
    }
    options = {name: (int(w), s, g) for name, (w, s, g) in options.items()}
    got = trial.call(answer, options, chains, draws, leapfrog, budget, memory)
    reasons = {
        "last block": "Its draws do not fit in memory: chains x draws settings are kept, at 4 bytes a weight.",
        "all biases": "It takes too long: each draw costs leapfrog gradients.",
        "everything": "It fits neither in time nor in memory.",
        "last layer": "It fits, but something else fits as well and gains more: one may take all that there is.",
        "one layer": "That is the cheapest one; of those that fit take the one that gains most.",
        "embedding": "Of those that fit it has the most weights; take the one that gains most.",
        "all gains": "More fits than that: the seconds are those of all chains together, whatever their number.",
    }
    trial.expect(got == "low rank", reasons.get(got, f"Return one of the names, got {got!r}."))


@exercise(
    "average-then-rescale",
    points=2,
    hints=(
        "The temperature belongs to the prediction that is handed in: first average, then rescale.",
        "Average probabilities over members, take the logarithm, divide by T, and normalise again.",
        "p = logits.softmax(-1).mean(0);  (p.log() / T).log_softmax(-1)",
    ),
)
def average_then_rescale(answer: object, trial: Trial) -> None:
    """Temperature scaling of an averaged predictive, from logits (S, N, C)."""
    S, N, C = 4, trial.integer(5, 6), 3
    logits, T = 2 * trial.randn(S, N, C), trial.uniform(1.5, 2.5)
    logits = logits - logits.mean(-1, keepdim=True)
    log_p = logits.log_softmax(-1).logsumexp(0) - math.log(S)
    want = (log_p / T).log_softmax(-1)
    got = trial.call(answer, logits, T)
    trial.unchanged_if_close(got, (logits / T).log_softmax(-1).logsumexp(0) - math.log(S))
    mistakes = {
        "That is the average without a temperature.": log_p,
        "Logits, or log probabilities, were averaged: that is the geometric mean. Average probabilities.": (
            logits.mean(0) / T
        ).log_softmax(-1),
        "Multiplied by T instead of divided.": (log_p * T).log_softmax(-1),
        "After dividing by T it has to be normalised again.": log_p / T,
        "Those are probabilities; their logarithms are asked for.": want.exp(),
        "Normalised over inputs: classes are the last axis.": (log_p / T).log_softmax(0),
        "The logarithm is missing: it is log probabilities that are divided by T.": (
            log_p.exp() / T
        ).log_softmax(-1),
    }
    trial.judge(got, want, mistakes, "log_softmax of log(mean of softmax) / T.")
