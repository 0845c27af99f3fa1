"""Checks of lesson 04: the choice of a, class collapse, entropies of sure draws, correlations, equivariance."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch

from .._machine import exercise
from .._trial import Trial
from . import REDRAWS, swapped

Layer = Callable[[torch.Tensor], torch.Tensor]


@exercise(
    "softmax-choice-linear",
    points=2,
    hints=(
        "What is the variance of w·x + b over the prior, for one x, when every w and b is N(0, a²)?",
        "It is a² (|x|² + 1): a sum of D independent terms a² x_d², and a² from the bias.",
        "The mean of a² (|x_n|² + 1) over the images should be 1; solve for a.",
    ),
)
def softmax_choice_linear(answer: object, trial: Trial) -> None:
    """The prior std that gives the logits of a linear classifier a root mean square std of 1, by bisection."""
    N, D = trial.integer(4, 7), trial.integer(9, 14)
    for _ in range(REDRAWS):  # until no two mistakes give the same number
        x = trial.rand(N, D) * (0.1 + trial.rand(N, 1))
        squares = x.square().sum(1)

        def variance(a: float, x: torch.Tensor = x) -> float:
            return float(((a * x).square().sum(1) + a**2).mean())

        want = _bisect(lambda a: variance(a) - 1)
        mistakes = {
            "That is one over the answer: the std of the logits at a = 1.": variance(1.0) ** 0.5,
            "That is a²; a itself is asked for.": want**2,
            "The bias is missing: it is N(0, a²) as well.": squares.mean() ** -0.5,
            "Take the *sum* of x² over the pixels, not the mean: variances of independent terms add up.": (
                (x.square().mean() + 1) ** -0.5
            ),
            "That averages |x| first; the root mean square averages |x|².": (
                (squares.sqrt().mean() ** 2 + 1) ** -0.5
            ),
            "That averages stds over the images; average the variances and take the root then.": (
                (squares + 1).sqrt().mean() ** -1
            ),
            "That averages the best a of each image; one a for all is asked for.": (
                ((squares + 1) ** -0.5).mean()
            ),
        }
        if trial.distinct(want, mistakes, rtol=4e-3):
            break
    got = trial.call(answer, x)
    message = "With this a the logits do not have a root mean square std of 1."
    trial.judge(got, want, mistakes, message, rtol=2e-3)  # as fine as some ten bisections


@exercise(
    "softmax-choice-hidden",
    points=3,
    hints=(
        "First the hidden layer: before the ReLU a unit is N(0, a² (|x|² + 1)). Half of its mean square survives.",
        "So the mean square of a hidden unit is a² s / 2, with s = mean |x|² + 1. Then the output layer, as before.",
        "The variance of a logit is a² (H a² s / 2 + 1). Set it to 1: a quadratic equation for a².",
    ),
)
def softmax_choice_hidden(answer: object, trial: Trial) -> None:
    """The same for one hidden layer of ReLU units, by bisection."""
    N, D, H = trial.integer(4, 7), trial.integer(9, 14), trial.integer(3, 8)  # few units: all biases count
    for _ in range(REDRAWS):  # until no two mistakes give the same number
        x = trial.rand(N, D) * (0.3 + 2 * trial.rand(N, 1))
        s = float(x.square().sum(1).mean() + 1)
        want = _a_of_hidden(H, s)
        mistakes = {
            "That is a²; a itself is asked for.": want**2,
            "That is right without the ReLU, which lets only half of the mean square pass.": (
                _a_of_hidden(H, s, survives=1.0)
            ),
            "ReLU halves the mean *square* of a symmetric variable, not its root: 1/2, not 1/4.": (
                _a_of_hidden(H, s, survives=0.25)
            ),
            "After the ReLU the mean is not 0: take the mean square, 1/2, not the variance.": (
                _a_of_hidden(H, s, survives=0.5 - 0.5 / math.pi)
            ),
            "The bias of the outputs is missing.": _a_of_hidden(H, s, output_bias=0.0),
            "The biases of the hidden units are missing.": _a_of_hidden(H, s - 1),
            "Both biases are missing.": _a_of_hidden(H, s - 1, output_bias=0.0),
            "The sum over the H hidden units is missing.": _a_of_hidden(1, s),
            "That is the answer for a linear classifier; the hidden layer is missing.": s**-0.5,
        }
        if trial.distinct(want, mistakes, rtol=1e-2):
            break
    got = trial.call(answer, x, H)
    message = (
        "With this a the logits do not have a root mean square std of 1 (half a per cent off is allowed)."
    )
    trial.judge(got, want, mistakes, message, rtol=5e-3)


def _a_of_hidden(units: int, total: float, survives: float = 0.5, output_bias: float = 1.0) -> float:
    """The a for which a² (units · a² · total · survives + output_bias) is 1."""
    return _bisect(lambda a: a**2 * (units * a**2 * total * survives + output_bias) - 1)


def _bisect(excess: Callable[[float], float]) -> float:
    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return (low + high) / 2


@exercise(
    "two-shares",
    points=2,
    hints=(
        "Both are maxima over classes of a mean over images, one of probabilities and one of yes-or-no.",
        "Order matters: average over the images, then take the maximum over the classes, then average over the draws.",
        "p.mean(1).amax(1).mean() for the first; the same with a one-hot matrix of the arg-max for the second.",
    ),
)
def two_shares(answer: object, trial: Trial) -> None:
    """Probability share and arg-max share, against loops."""
    S, N, C = trial.integer(3, 5), trial.integer(11, 15), trial.integer(4, 6)
    favourites = torch.eye(C, dtype=torch.float64)[torch.arange(S) % C]  # another one in each draw
    logits = trial.randn(S, N, C) + 2 * favourites[:, None]
    # in the last draw most images get one label by a hair, and the others another one for sure: their favourites differ
    many = N // 2 + 1
    logits[-1] = 0.1 * trial.rand(N, C)
    logits[-1, :many, 0] += 0.5
    logits[-1, many:, C - 1] += 8.0
    p = logits.exp() / logits.exp().sum(2, keepdim=True)
    votes = torch.zeros_like(p)
    for s in range(S):
        for n in range(N):
            votes[s, n, max(range(C), key=lambda c: float(logits[s, n, c]))] = 1.0

    def share(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([max(rows[s, :, c].mean() for c in range(C)) for s in range(S)]).mean()

    def share_of(scores: torch.Tensor) -> torch.Tensor:
        """The share of images whose label is the class that has the largest mean score."""
        return torch.stack([votes[s, :, scores[s].mean(0).argmax()].mean() for s in range(S)]).mean()

    names = "probability share", "arg-max share"
    got = trial.parts(trial.call(answer, logits), *names)
    want = share(p), share(votes)
    if swapped(trial, got, want):
        trial.fail("The two are swapped: probability share first, then arg-max share.")
    wrong_axis = logits.softmax(1)
    mistakes = {
        "That is the confidence: the maximum over classes comes *after* the mean over the images.": (
            p.amax(2).mean()
        ),
        "That is the share in the average over draws; take each draw's maximum first, then average over draws.": (
            p.mean((0, 1)).amax()
        ),
        "The softmax runs over the images; classes are the last axis.": share(wrong_axis),
        "That is the softmax of averaged logits; average probabilities.": (
            logits.mean(1).softmax(1).amax(1).mean()
        ),
        "That is the largest draw; average over the draws.": p.mean(1).amax(),
        "Those are logits; turn them into probabilities.": share(logits),
        "That is the mean probability of the class with the most labels; take the largest mean probability.": (
            torch.stack([p[s, :, votes[s].sum(0).argmax()].mean() for s in range(S)]).mean()
        ),
    }
    message = "mean over draws of (max over classes of (mean over images of p))."
    trial.judge(got[0], want[0], mistakes, message, what=names[0], part=True)
    mistakes = {
        "That is the number of images; the share is asked for.": want[1] * N,
        "That pools the draws: every draw has its own favourite, so count within each draw.": (
            votes.mean((0, 1)).amax()
        ),
        "That is the probability share again; the second counts labels.": want[0],
        "That is the largest draw; average over the draws.": votes.mean(1).amax(),
        "That is the share of the class with the largest mean probability, or mean logit; most images may get another "
        "label.": (share_of(p), share_of(logits)),
    }
    message = "mean over draws of the largest share of images with one label."
    trial.judge(got[1], want[1], mistakes, message, what=names[1], part=True)


@exercise(
    "sure-draws-unsure-average",
    points=2,
    hints=(
        "Where a draw is quite sure, some probabilities are exactly 0 in floating point, and 0 · log 0 is NaN.",
        "The contribution of p = 0 to an entropy is 0. torch.special.entr(p) is −p log p with that rule.",
        "entr(p).sum(-1) is the entropy. One: of every draw, then the mean. Two: of p.mean(0).",
    ),
)
def sure_draws_unsure_average(answer: object, trial: Trial) -> None:
    """Mean entropy of draws and entropy of their mean, for saturated softmaxes, against plain Python."""
    S, N, C = trial.integer(4, 6), trial.integer(5, 8), trial.integer(3, 5)
    scale = 3000.0 if trial.index % 2 else 3.0  # in every other trial the softmax is saturated
    logits = scale * trial.randn(S, N, C)
    p = logits.softmax(2)

    def entropy(row: torch.Tensor) -> float:
        return -math.fsum(v * math.log(v) for v in row.tolist() if v > 0)

    def mean_entropy(rows: torch.Tensor) -> float:
        rows = rows.reshape(-1, C)
        return math.fsum(entropy(row) for row in rows) / len(rows)

    names = "mean entropy of a draw", "entropy of the average"
    want = mean_entropy(p), mean_entropy(p.mean(0))
    got = trial.parts(trial.call(answer, logits), *names)
    for part, name in zip(got, names):
        if trial.tensor(part).isnan().any():
            lower = trial.call(
                answer, logits - logits.amax(2, keepdim=True)
            )  # the same softmax, and no exp overflows
            if trial.tensor(trial.parts(lower, *names)[names.index(name)]).isnan().any():
                trial.fail(f"The {name} is NaN: where p is exactly 0, 0 · log 0 should count as 0.")
            trial.fail(
                f"The {name} is NaN: exp of a logit of thousands overflows, and inf / inf is no number. Subtract the "
                "largest logit of each row first, or let `softmax` do it."
            )
    close = functools.partial(trial.is_close, scale=math.log(C))
    if close(got[0], want[1]) and close(got[1], want[0]) and not close(got[0], want[0]):
        trial.fail("The two are swapped: the mean entropy of a draw first, then the entropy of the average.")

    def rescaled(right: float) -> dict[str, float]:
        return {
            "Entropy is never negative: a sign is missing.": -right,
            "That is in bits; use natural logarithms.": right / math.log(2),
            "That is the mean over classes; an entropy is the sum over classes.": right / C,
            "Average over the images instead of adding up.": right * N,
        }

    softmax_over_images, softmax_over_draws = logits.softmax(1), logits.softmax(0)

    message = "mean over draws and images of −Σ p log p."
    mistakes = rescaled(want[0]) | {
        "Average over the draws instead of adding up.": want[0] * S,
        "The softmax runs over the images; classes are the last axis.": mean_entropy(softmax_over_images),
        "The softmax runs over the draws; classes are the last axis.": mean_entropy(softmax_over_draws),
        "That is the mean of p · p, not of p · log p.": float(p.square().sum(2).mean()),
    }
    trial.judge(got[0], want[0], mistakes, message, what=names[0], scale=math.log(C), part=True)
    mistakes = rescaled(want[1]) | {
        "You averaged the logits and took the softmax then; average probabilities.": (
            mean_entropy(logits.mean(0).softmax(1))
        ),
        "You averaged over the images as well before taking the entropy.": mean_entropy(p.mean((0, 1))),
        "You averaged over the images; the average is over draws.": mean_entropy(p.mean(1)),
    }
    message = "Average p over the draws, then take the entropy of each image."
    trial.judge(got[1], want[1], mistakes, message, what=names[1], scale=math.log(C), part=True)


@exercise(
    "correlation-estimator",
    points=3,
    hints=(
        "Random is the draw, axis 0. For two images n and m you have S pairs of numbers: correlate those.",
        "Offset: one number per draw, the mean over its images; subtract it first. Then centre each column over draws.",
        "c = f − f.mean(0); cov = c.T @ c; divide by the roots of its diagonal, rows and columns.",
    ),
)
def correlation_estimator(answer: object, trial: Trial) -> None:
    """Correlation over draws, plain and with the offset removed, against NumPy's definition pair by pair."""
    S, N = trial.integer(8, 12), trial.integer(4, 6)
    f = trial.randn(S, N) @ trial.randn(N, N) + 2 * trial.randn(S, 1) + 3 * trial.randn(N)

    def correlate(values: torch.Tensor) -> torch.Tensor:
        columns = [column - column.mean() for column in values.T]
        return torch.stack([torch.stack([a @ b / (a.norm() * b.norm()) for b in columns]) for a in columns])

    def cosine(values: torch.Tensor) -> torch.Tensor:
        unit = values / values.norm(dim=0)
        return unit.T @ unit

    removed = f - f.mean(1, keepdim=True)
    want = correlate(f), correlate(removed)
    names = "plain correlation", "correlation with the offset removed"
    got = trial.parts(trial.call(answer, f), *names)
    shape = tuple(trial.tensor(got[0]).shape)
    trial.expect(
        shape != (S, S), "That correlates draws with draws (S, S); correlate images over draws, (N, N)."
    )
    centred = f - f.mean(0)
    mistakes = {
        "Those are covariances; divide by both standard deviations.": centred.T @ centred / (S - 1),
        "Those are covariances (divisor S); divide by both standard deviations.": centred.T @ centred / S,
        "Divide by the standard deviations, not by the variances.": (
            centred.T @ centred / (centred.square().sum(0)[:, None] * centred.square().sum(0)).sqrt() ** 2
        ),
        "The mean over the draws is not subtracted: a common sign then passes for correlation.": cosine(f),
        "That is the second one: the plain correlation keeps the offset.": want[1],
        "You subtracted the mean over the images instead of that over the draws.": cosine(removed),
    }
    message = "The usual correlation coefficient of columns n and m of f."
    trial.judge(got[0], want[0], mistakes, message, what=names[0], scale=1.0, part=True)
    mistakes = {
        "The offset is still there: it is each draw's mean over *images*; no mean over draws changes a correlation.": (
            want[0]
        ),
        "You removed the offset of each draw, but then did not centre over the draws.": cosine(removed),
        "You subtracted the mean correlation. Remove the offset from f, then correlate.": (
            want[0] - want[0].mean()
        ),
    }
    message = "Subtract each draw's mean over its images, then correlate."
    trial.judge(got[1], want[1], mistakes, message, what=names[1], scale=1.0, part=True)


@exercise(
    "equivariance-test",
    points=2,
    trials=3,
    hints=(
        "Two ways to the same place: shift, then the layer; or the layer, then shift. How far apart do they end?",
        "torch.roll(x, pixels, dims=3) shifts images (N, channels, height, width) to the right, wrapping around.",
        "(layer(shift(x)) − shift(layer(x))).abs().max()",
    ),
)
def equivariance_test(answer: object, trial: Trial) -> None:
    """The largest equivariance error of a layer, exact and broken ones."""
    H, W = trial.integer(5, 6), trial.integer(7, 8)
    pixels = trial.integer(1, 3)
    roll, pad = functools.partial(torch.roll, dims=3), torch.nn.functional.pad
    kernel, gain = trial.randn(3, 2, 3, 3), torch.ones(W)

    def circular(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(pad(x, (1, 1, 1, 1), mode="circular"), kernel.to(x))

    def zeros(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, kernel.to(x), padding=1)

    def uneven(x: torch.Tensor) -> torch.Tensor:
        return circular(x) * gain.to(x)

    def from_outside(x: torch.Tensor) -> torch.Tensor:
        """Shifted to the right, with zeros for what comes in."""
        return pad(x, (pixels, 0))[..., :W]

    for layer in (uneven, zeros):
        for _ in range(REDRAWS):  # until no two mistakes give the same number
            x, gain = trial.randn(trial.integer(2, 3), 2, H, W), 2 + trial.randn(W)
            y, moved = layer(x), layer(roll(x, pixels))
            difference = moved - roll(y, pixels)
            want = difference.abs().max()
            mistakes = {
                "That compares with the layer of the unmoved image: *invariance*. Move its output as well.": (
                    (moved - y).abs().max()
                ),
                "Pixels that leave on the right come in on the left: shift by wrapping around, as torch.roll does.": (
                    (layer(from_outside(x)) - roll(y, pixels)).abs().max(),
                    (layer(from_outside(x)) - from_outside(y)).abs().max(),
                ),
                "That shifts down: the width is the last axis.": (
                    (layer(x.roll(pixels, 2)) - y.roll(pixels, 2)).abs().max()
                ),
                "That is the mean; one bad pixel is enough to break equivariance. Take the largest.": (
                    difference.abs().mean()
                ),
                "That is a root mean square; take the largest.": difference.square().mean().sqrt(),
                "That is the sum of absolute differences; the largest is asked for.": difference.abs().sum(),
                "The output moves back instead of with the image.": (moved - roll(y, -pixels)).abs().max(),
                "Take absolute values before the maximum: errors may be negative.": difference.max(),
                "That shifts to the left: torch.roll by +pixels goes to the right.": (
                    (layer(roll(x, -pixels)) - roll(y, -pixels)).abs().max()
                ),
            }
            if layer is zeros or (difference.max() < want and trial.distinct(want, mistakes)):
                break
        if layer is zeros:  # its errors are those of the edges: many mistakes give the same
            mistakes = {}
        got = trial.call(answer, layer, x, pixels)
        trial.judge(got, want, mistakes, "largest |layer(shift x) − shift layer(x)|, over everything.")
    got = trial.tensor(trial.call(answer, circular, x, pixels))
    trial.expect(
        got.numel() == 1 and float(got.abs()) < 1e-4,
        "For a circular convolution it should be 0, to rounding.",
    )


@exercise(
    "bug-circular-convolution",
    points=3,
    hints=(
        "Shift the image down instead of to the right, and test again.",
        "F.pad takes the margins of the last axis first: (left, right, top, bottom). Which of them wrap here?",
        "Wrap both axes, by half a kernel on each side, and let conv2d pad nothing.",
    ),
)
def bug_circular_convolution(answer: object, trial: Trial) -> None:
    """Find the bugs: only the width wraps, and the margin fits one size of kernel."""
    size = 3 if trial.index % 2 == 0 else 5
    N, C, K, H, W = 2, 2, 3, trial.integer(6, 7), trial.integer(8, 9)
    x, kernel = trial.randn(N, C, H, W), trial.randn(K, C, size, size)
    margin = size // 2

    def convolve(down: bool, right: bool, sign: int = 1) -> torch.Tensor:
        """Sum over the offsets of the kernel, wrapping around where asked for, zeros elsewhere."""
        out = torch.zeros(N, K, H, W, dtype=x.dtype)
        for i in range(-margin, margin + 1):
            for j in range(-margin, margin + 1):
                moved = x.roll((-sign * i, -sign * j), (2, 3)).clone()
                if not down:
                    rows = torch.arange(H) + sign * i
                    moved[:, :, (rows < 0) | (rows >= H)] = 0
                if not right:
                    columns = torch.arange(W) + sign * j
                    moved[..., (columns < 0) | (columns >= W)] = 0
                out += torch.einsum("kc,nchw->nkhw", kernel[:, :, margin + i, margin + j], moved)
        return out

    got = trial.call(answer, x, kernel)
    trial.unchanged_if_close(got, convolve(down=False, right=True))
    shape = tuple(trial.tensor(got).shape)
    if shape != (N, K, H, W):
        trial.fail(
            f"Maps should be as large as the images, {(N, K, H, W)}, but yours are {shape}: "
            "pad half a kernel on each side, and only once."
        )
    mistakes = {
        "Now neither axis wraps: that is zero padding.": convolve(down=False, right=False),
        "Now the height wraps and the width does not.": convolve(down=True, right=False),
        "That is the flipped kernel. What deep learning calls a convolution does not flip it.": (
            convolve(True, True, sign=-1)
        ),
    }
    message = "Every pixel should see its neighbours, around all edges."
    trial.judge(got, convolve(True, True), mistakes, message)
