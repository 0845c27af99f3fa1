"""Checks of lesson 11: the height of a bump, where it lies, the prior that removes it, and what averages can gain."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .._machine import exercise
from .._trial import Trial
from . import REDRAWS, swapped


@exercise(
    "measure-the-bump",
    points=2,
    hints=(
        "At each width you need the smallest error so far: torch.cummin gives it.",
        "errors.cummin(1).values is (S, W); subtract it from errors, and take the largest along the widths.",
    ),
)
def measure_the_bump(answer: object, trial: Trial) -> None:
    """The largest rise above the best narrower width, per seed."""
    S, W = trial.integer(3, 5), trial.integer(7, 10)
    errors = 0.3 + 0.2 * trial.rand(S, W)
    errors[:, 0] = 0.38 + 0.04 * trial.rand(S)
    errors[:, 2] = 0.2 + 0.02 * trial.rand(S)  # the dip, then a peak, then a lower end
    errors[:, 3] = 0.35 + 0.05 * trial.rand(S)
    errors[:, 4] = 0.5 + 0.1 * trial.rand(S)
    errors[:, -1] = 0.1 + 0.05 * trial.rand(S)
    errors[-1] = errors[-1].sort(descending=True).values  # a curve that only falls
    right = (errors - errors.cummin(1).values).amax(1)
    got = trial.call(answer, errors)
    after = torch.stack([row[row.argmin() :].amax() - row.amin() for row in errors])
    mean = errors.mean(0)
    mistakes = {
        "That is the highest minus the lowest, which may lie on either side of the peak: only *narrower* counts.": (
            errors.amax(1) - errors.amin(1)
        ),
        "That is the rise above the narrowest width; the best of *all* narrower widths counts.": (
            (errors - errors[:, :1]).amax(1)
        ),
        "That is the largest rise from one width to the next; a bump may climb over several.": (
            errors.diff(dim=1).amax(1).clamp(min=0)
        ),
        "You start from the lowest point of the whole curve; it may lie behind the peak.": after,
        "You averaged over seeds first; return one number for each seed.": (
            (mean - mean.cummin(0).values).amax(0)
        ),
        "You went along the seeds; return one number for each seed, not each width.": (
            (errors - errors.cummin(0).values).amax(0)
        ),
    }
    message = "The largest of: error minus the smallest error at this or a narrower width."
    trial.judge(got, right, mistakes, message)


@exercise(
    "minimum-norm",
    points=2,
    hints=(
        "Solve the n × n system ΦΦᵀ a = y first; then w = Φᵀ a.",
        "features.T @ torch.linalg.solve(features @ features.T, y)",
    ),
)
def minimum_norm(answer: object, trial: Trial) -> None:
    """Least squares of smallest norm, against the pseudo-inverse."""
    n = trial.integer(4, 6)
    features, y = trial.randn(n, n + trial.integer(3, 6)), trial.randn(n)
    right = torch.linalg.pinv(features) @ y
    got = trial.call(answer, features, y)
    dual = torch.linalg.solve(features @ features.T, y)
    mistakes = {
        "That is (ΦΦᵀ)⁻¹ y, one number per datum; times Φᵀ it becomes one weight per feature.": dual,
        "That is Φᵀ y; the inverse is missing.": features.T @ y,
    }
    trial.reject_mistakes(got, right, mistakes)
    w = trial.tensor(got)
    trial.expect_shape(w, right.shape, "One weight per feature is asked for.")
    trial.expect(
        trial.is_close(features @ w, y, rtol=1e-3 if w.dtype == torch.float32 else 1e-5),
        "This w does not fit the data exactly, features @ w is not y: no ridge, and all data, please.",
    )
    trial.expect_close(w, right, "This w fits the data, but others with a smaller norm do too.", rtol=1e-4)


@exercise(
    "threshold-width",
    points=1,
    hints=(
        "A layer from a to b units has a · b weights and b biases.",
        "(inputs + 1) · W + (W + 1) · W + (W + 1) · outputs; raise W until that is at least n.",
    ),
    trials=6,
)
def threshold_width(answer: object, trial: Trial) -> None:
    """The smallest width of two hidden layers with at least n weights and biases."""
    for _ in range(REDRAWS):  # until no two mistakes give the same width
        inputs, outputs, hidden = trial.integer(5, 60), trial.integer(2, 10), trial.integer(6, 30)

        def count(
            W: int, biases: int = 1, deep: int = 1, inputs: int = inputs, outputs: int = outputs
        ) -> int:
            return (inputs + biases) * W + deep * (W + biases) * W + (W + biases) * outputs

        # a little less than a width has, then a little more, then just as many, then less than one unit has
        n = count(hidden) + (-trial.integer(1, 3) if trial.index < 3 else 4 - trial.index)
        if trial.index == 5:
            n = trial.integer(1, outputs)

        def smallest(n: int = n, count: Callable[..., int] = count, **parts: int) -> int:
            return next(W for W in range(1, n + 1) if count(W, **parts) >= n)

        right = smallest()
        mistakes = {
            "Biases count too: a layer from a to b units has (a + 1) · b parameters.": smallest(biases=0),
            "The weights between the two hidden layers are missing, (W + 1) · W.": smallest(deep=0),
            "That is the largest width that is still too narrow; the next one is asked for.": right - 1,
            "Units are not weights: count the lines between them.": n // 2,
        }
        if trial.index > 2 or trial.distinct(right, mistakes, rtol=1e-9):
            break
    if trial.index == 5:
        mistakes = {"A layer has one unit at least.": 0}
    elif trial.index > 2:  # no other mistake has come so far
        mistakes = {"A width with just n of them is wide enough: *at least* n.": smallest(n=n + 1)}
    got = trial.call(answer, n, inputs, outputs)
    trial.reject_mistakes(got, right, mistakes)
    trial.expect_number(
        got, right, "Another width is the smallest one with at least n weights and biases.", rtol=1e-9
    )


@exercise(
    "bug-weight-decay",
    points=2,
    hints=(
        "Multiply the first line by σ² / n: then its data term is the mean loss.",
        "The factor in front of the squared norm has become σ² / (n s²).",
    ),
)
def bug_weight_decay(answer: object, trial: Trial) -> None:
    """Find the bug: the decay of a mean loss forgets n."""
    n, W = trial.integer(6, 12), trial.integer(3, 5)
    features, y = trial.randn(n, W), trial.randn(n)
    prior_std, noise_std = trial.uniform(0.4, 0.8), trial.uniform(1.1, 1.6)

    def ridge(decay: float) -> torch.Tensor:
        return torch.linalg.solve(
            features.T @ features / n + decay * torch.eye(W, dtype=y.dtype), features.T @ y / n
        )

    ratio = noise_std**2 / prior_std**2
    right = ridge(ratio / n)
    got = trial.call(answer, features, y, prior_std, noise_std)
    trial.unchanged_if_close(got, ridge(ratio))
    mistakes = {
        "s and σ are standard deviations: square both.": ridge(noise_std / prior_std / n),
        "The ratio is upside down: a wide prior decays little, much noise decays more.": (
            ridge(1 / ratio / n)
        ),
        "It no longer depends on the noise: σ² belongs on top.": ridge(1 / prior_std**2 / n),
        "n is on the wrong side: the more data, the less the prior should count.": ridge(ratio * n),
        "There is no decay at all now.": torch.linalg.lstsq(features, y[:, None]).solution[:, 0],
    }
    trial.judge(got, right, mistakes, "These are not the weights that minimise the first formula.")


@exercise(
    "choose-the-prior",
    points=3,
    hints=(
        "Make e of shape (K, n): stds[:, None] ** 2 * values + noise_std ** 2.",
        "The evidence of each std is −½ Σ (c² / e + log e) along the second axis; the constant does not matter.",
        "stds[evidence.argmax()]",
    ),
)
def choose_the_prior(answer: object, trial: Trial) -> None:
    """The prior std of highest evidence, from the spectrum of the kernel matrix."""
    for _ in range(REDRAWS):  # until no two mistakes choose alike, and none of the best is nearly a draw
        n, noise_std = trial.integer(60, 90), trial.uniform(0.15, 0.4)
        values = 3 * trial.rand(n) ** 3 + 0.01
        stds = torch.linspace(0.3, 9.0, trial.integer(30, 40), dtype=torch.float64)
        stds = stds[torch.randperm(len(stds), generator=trial.generator)]  # in no order
        true_std = trial.uniform(1.4, 2.0)
        c = (true_std**2 * values + noise_std**2).sqrt() * trial.randn(n)
        (right, sure), (by_fit, _), (lowest, _), (by_std, _), (by_noise, _), (no_square, _) = (
            _best(c, e, complexity, sign)
            for e, complexity, sign in (
                (stds[:, None] ** 2 * values + noise_std**2, 1.0, -1.0),
                (stds[:, None] ** 2 * values + noise_std**2, 0.0, -1.0),
                (stds[:, None] ** 2 * values + noise_std**2, 1.0, 1.0),
                (stds[:, None] * values + noise_std**2, 1.0, -1.0),
                (stds[:, None] ** 2 * values + noise_std, 1.0, -1.0),
                (stds[:, None] ** 2 * values**2 + noise_std**2, 1.0, -1.0),
            )
        )
        mistakes = {
            "That is the best fit alone, always the largest std: Σ log e, which charges for flexibility, is missing.": (
                stds[by_fit]
            ),
            "That is the std of *lowest* evidence: mind the sign.": stds[lowest],
            "The stds are standard deviations: square them, e = s² λ + σ².": stds[by_std],
            "That is the position, not the prior std: return stds[position].": float(right),
        }
        mistakes |= {
            "The noise enters by its variance, noise_std².": stds[by_noise],
            "`values` are eigenvalues of ΦΦᵀ already: do not square them.": stds[no_square],
        }
        if sure and trial.distinct(stds[right], mistakes, rtol=1e-4):
            break
    got = trial.call(answer, values, c, stds, noise_std)
    trial.reject_mistakes(got, stds[right], mistakes)
    trial.expect_number(got, float(stds[right]), "Another entry of stds has a higher evidence.", rtol=1e-5)


def _best(c: torch.Tensor, e: torch.Tensor, complexity: float, sign: float) -> tuple[int, bool]:
    """The row of e with the largest sign · Σ (c² / e + complexity · log e), and whether it is the largest by far."""
    score = sign * (c**2 / e + complexity * e.log()).sum(1)
    first, second = score.topk(2).values.tolist()
    return int(score.argmax()), first - second > 1e-2


@exercise(
    "bug-ensemble-error",
    points=1,
    hints=(
        "In which order: average, most probable class, compare, average over inputs?",
        "Average the probabilities over the networks, axis 0, before the argmax.",
    ),
)
def bug_ensemble_error(answer: object, trial: Trial) -> None:
    """Find the bug: the average error of the members is not the error of their average."""
    S, N, C = 2 * trial.integer(2, 3), trial.integer(150, 200), trial.integer(4, 6)
    for _ in range(REDRAWS):  # until every mistake gives a number of its own
        y = trial.randint(0, C, N)
        f = trial.randn(S, N, C) * torch.exp(1.2 * trial.randn(S, N, 1))  # some are much surer than others
        f[..., torch.arange(N), y] += 1.0
        p, votes = f.softmax(-1), torch.nn.functional.one_hot(f.argmax(-1), C).sum(0)
        labels = [p.mean(0).argmax(-1), p.argmax(-1), f.mean(0).argmax(-1), votes.argmax(-1), f[0].argmax(-1)]
        errors = [(guess != y).double().mean() for guess in labels]
        right, shipped, mean_logits, vote, first = errors
        if torch.stack(errors).unique().numel() == len(errors):
            break
    got = trial.call(answer, f, y)
    trial.unchanged_if_close(got, shipped, rtol=1e-5)
    mistakes = {
        "You averaged the logits; average the probabilities.": mean_logits,
        "That is a majority vote; average the probabilities, so that sure members count for more.": vote,
        "That is the accuracy; the error is asked for.": 1 - right,
        "You used only the first network.": first,
    }
    trial.reject_mistakes(got, right, mistakes, rtol=1e-5)
    trial.expect_number(got, float(right), "That is not the error of the averaged probabilities.", rtol=1e-5)


@exercise(
    "bias-variance",
    points=2,
    hints=(
        "Bias: average over models first, then subtract the truth, square, and average over inputs.",
        "Variance: f.var(0, correction=0).mean(). An average of M independent members has a variance M times smaller.",
        "The error of the average is bias + variance / members.",
    ),
)
def bias_variance(answer: object, trial: Trial) -> None:
    """Squared bias, variance, and the expected squared error of an average of M models."""
    K, N, members = trial.integer(4, 7), trial.integer(8, 15), trial.integer(3, 9)
    truth = trial.randn(N)
    f = truth + 0.7 * trial.randn(N) + trial.randn(K, N)
    middle = f.mean(0)
    right_bias, right_variance = (middle - truth).square().mean(), f.var(0, correction=0).mean()
    bias, variance, error = trial.parts(
        trial.call(answer, f, truth, members), "squared bias", "variance", "error of the average"
    )
    if swapped(trial, (bias, variance), (right_bias, right_variance)):
        trial.fail("The first two are in the wrong order: the squared bias first, then the variance.")
    mistakes = {
        "That is the whole squared error of a single model: average the models before you subtract the truth.": (
            (f - truth).square().mean()
        ),
        "You averaged over inputs before squaring: errors of different inputs cancel.": (
            (f.mean() - truth.mean()).square()
        ),
        "That is the mean absolute distance; square it at each input.": (middle - truth).abs().mean(),
        "That is the root; the *squared* bias is asked for.": right_bias.sqrt(),
        "That is the sum over the inputs; average over them.": right_bias * N,
    }
    message = "Square the distance of the mean prediction to the truth at each input."
    trial.judge(bias, right_bias, mistakes, message, what="The squared bias", part=True)
    mistakes = {
        "Divide by K, not by K − 1: the K models are the whole population.": f.var(0).mean(),
        "That is the variance over inputs, or over everything; it is over models, at each input.": (
            f.var(1, correction=0).mean(),
            f.var(1).mean(),
            f.var(correction=0),
            f.var(),
        ),
        "That is a standard deviation; the variance is asked for.": (
            right_variance.sqrt(),
            f.std(0, correction=0).mean(),
        ),
    }
    message = "The variance over models, averaged over inputs."
    trial.judge(variance, right_variance, mistakes, message, what="The variance", part=True)
    mistakes = {
        "Averaging does not take away the bias: only the variance is divided.": (
            (right_bias + right_variance) / members
        ),
        "A standard deviation falls as 1/√M; the variance falls as 1/M, not 1/√M.": (
            right_bias + right_variance / members**0.5
        ),
    }
    right = right_bias + right_variance / members
    message = "The bias stays; the variance of an average of M independent models is M times smaller."
    trial.judge(error, right, mistakes, message, what="The error of the average", part=True)
