"""Checks of lesson 06: random convolutional features, ridge regression on them, and their kernel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .._machine import exercise
from .._trial import Trial


@exercise(
    "feature-map",
    points=2,
    hints=(
        "Three steps: convolve, ReLU, average over the pixels of each map.",
        "torch.nn.functional.conv2d with padding of half a filter keeps the size of the image.",
        "F.conv2d(x, filters, padding=filters.shape[-1] // 2).relu().mean((2, 3))",
    ),
)
def feature_map(answer: object, trial: Trial) -> None:
    """Random convolutional features, against sums over patches."""
    N, C, k, side = trial.integer(3, 4), trial.integer(5, 6), 5 if trial.index % 2 else 3, trial.integer(6, 7)
    x, filters = trial.randn(N, 1, side, side + 2), trial.randn(C, 1, k, k)
    patches = F.unfold(x, k, padding=k // 2)  # (N, k², places)
    maps = filters.flatten(1) @ patches  # (N, C, places)
    want = maps.relu().mean(2)
    got = trial.call(answer, x, filters)
    flipped = (filters.flip(2, 3).flatten(1) @ patches).relu().mean(2)
    inner = (filters.flatten(1) @ F.unfold(x, k)).relu().mean(2)
    mistakes = {
        "The ReLU is missing: the mean of a linear map is a linear function of the mean pixel, and sees nothing.": (
            maps.mean(2)
        ),
        "The ReLU comes before the mean: what is below zero at one place must not cancel another.": (
            maps.mean(2).relu()
        ),
        "That is the largest value of each map; take its mean.": maps.relu().amax(2),
        "You summed over the pixels; take the mean, which does not grow with the image.": (
            maps.relu().sum(2)
        ),
        "You averaged over the filters; each filter gives one feature.": maps.relu().mean(1),
        "Without padding the border is missing: pad by half a filter, so that maps have the size of the image.": (
            inner
        ),
        "A margin of one pixel is half a filter of 3 only: pad by k // 2, whatever the size of the filters.": (
            (filters.flatten(1) @ F.unfold(x, k, padding=1)).relu().mean(2)
        ),
        "A margin of two pixels is half a filter of 5 only: pad by k // 2, whatever the size of the filters.": (
            (filters.flatten(1) @ F.unfold(x, k, padding=2)).relu().mean(2)
        ),
        "That is the mean size of the maps, |·|; the ReLU leaves out what is below zero.": maps.abs().mean(2),
        "The filters are flipped; like torch's conv2d, multiply filter and patch as they are.": flipped,
    }
    trial.judge(got, want, mistakes, "The mean over pixels of the ReLU of each map, (N, C).")


@exercise(
    "ridge",
    points=2,
    hints=(
        "Ridge regression minimises ‖Φ B − Y‖² + strength · ‖B‖² over B (C, K).",
        "Its solution solves (ΦᵀΦ + strength · I) B = ΦᵀY.",
        "features_test @ torch.linalg.solve(features.T @ features + strength * torch.eye(C), features.T @ Y)",
    ),
)
def ridge(answer: object, trial: Trial) -> None:
    """Ridge predictions, against the kernel form."""
    N, C, M, K = trial.integer(6, 9), trial.integer(3, 5), trial.integer(2, 4), trial.integer(2, 3)
    features, features_test, targets = trial.randn(N, C), trial.randn(M, C), trial.randn(N, K)
    strength = trial.uniform(1.5, 3.0)

    def predict(strength: float, at: torch.Tensor = features_test) -> torch.Tensor:
        gram = features @ features.T + strength * torch.eye(N, dtype=torch.float64)
        return at @ features.T @ torch.linalg.solve(gram, targets)

    got = trial.call(answer, features, targets, features_test, strength)
    least_squares = features_test @ torch.linalg.lstsq(features, targets).solution
    mistakes = {
        "The strength is missing: that is least squares.": least_squares,
        "The strength is squared; it multiplies ‖B‖² as it is.": predict(strength**2),
        "The strength is multiplied by N: that is the penalty of the *mean* squared error.": (
            predict(strength * N)
        ),
        "The strength is divided by N; the squared error is a sum.": predict(strength / N),
        "That is the solution B, or the fit to the training data; predict for features_test.": (
            predict(strength, features)
        ),
    }
    trial.judge(got, predict(strength), mistakes, "features_test @ B with (ΦᵀΦ + strength · I) B = ΦᵀY.")


@exercise(
    "feature-kernel",
    points=1,
    hints=(
        "f(x) = Σ_c v_c φ_c(x). Which expectations of v_c v_c' are not 0?",
        "Only c = c' counts, with variance 1 / C: the covariance is the mean over c of φ_c(x) φ_c(x').",
        "features @ features.T / features.shape[1]",
    ),
)
def feature_kernel(answer: object, trial: Trial) -> None:
    """Covariance of a random linear function of given features, against a sum over features."""
    N, C = trial.integer(3, 4), trial.integer(6, 9)
    features = trial.randn(N, C) + 0.7
    want = sum(features[:, c, None] * features[None, :, c] for c in range(C)) / C
    centred = features - features.mean(1, keepdim=True)
    got = trial.call(answer, features)
    mistakes = {
        "That sums over features; v has variance 1 / C, so take the mean.": want * C,
        "That divides by C twice, or by C²: the variance of v enters once.": want / C,
        "That divides by √C; variances and not standard deviations enter a covariance.": (
            want * math.sqrt(C)
        ),
        "That is between features; the kernel is between images, (N, N).": features.T @ features / C,
        "You subtracted each image's mean feature; the mean of f is 0 without that.": (
            centred @ centred.T / C
        ),
        "That is torch.cov of the features, which centres and divides by C − 1.": torch.cov(features),
        "That is a correlation, with ones on the diagonal; the covariance is asked for.": (
            torch.corrcoef(features)
        ),
    }
    trial.judge(got, want, mistakes, "The mean over features of φ_c(x) φ_c(x'), (N, N).")


@exercise(
    "shuffle-pixels",
    points=1,
    hints=(
        "Flatten each image, reorder its pixels, and give it its shape back.",
        "The same order for every image, in training and in test: nothing but neighbourhood may change.",
        "x.flatten(1)[:, order].reshape(x.shape), for both.",
    ),
)
def shuffle_pixels(answer: object, trial: Trial) -> None:
    """The control that permutes pixels, against an index by hand."""
    N, M, H, W = trial.integer(3, 4), trial.integer(2, 3), trial.integer(3, 4), 5
    x, x_test = trial.randn(N, 1, H, W), trial.randn(M, 1, H, W)
    order = torch.randperm(H * W, generator=trial.generator)

    def reorder(images: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        return torch.stack([image.flatten().gather(0, order).reshape(1, H, W) for image in images])

    got, got_test = trial.parts(trial.call(answer, x, x_test, order), "training images", "test images")
    want, inverse = reorder(x, order), order.argsort()
    mistakes = {
        "That is the inverse order: `order[i]` says which pixel comes to place i.": reorder(x, inverse),
        "The training images are as they were.": x,
    }
    message = "Pixel order[i] of an image comes to its place i."
    trial.judge(got, want, mistakes, message, what="The training images", part=True)
    mistakes = {
        "The test images are as they were: a classifier would be tested on other pixels than it learned from.": (
            x_test
        ),
        "The test images are shuffled in another order: every image needs the same one.": (
            reorder(x_test, inverse)
        ),
        "The test images are shuffled twice.": reorder(reorder(x_test, order), order),
    }
    message = "The same order as for training."
    trial.judge(got_test, reorder(x_test, order), mistakes, message, what="The test images", part=True)


@exercise(
    "bug-random-features",
    points=2,
    hints=(
        "Two bugs. Think of an image that is in the training set *and* in the test set: are its features equal?",
        "`draw()` makes new random weights at each call; a feature means something only with the same weights.",
        "And the test set is standardised with the training set's mean and std, not with its own.",
    ),
)
def bug_random_features(answer: object, trial: Trial) -> None:
    """Find two bugs: fresh weights for the test set, and its own standardisation."""
    N, M, D, C = trial.integer(5, 7), trial.integer(3, 4), 3, 4
    x, x_test = trial.randn(N, D), 2 * trial.randn(M, D) + 1
    pool = trial.randn(20, D, C)
    calls = [0]

    def draw() -> torch.Tensor:
        calls[0] += 1
        return pool[calls[0] - 1]

    def features(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return (x.to(weights) @ weights).relu() + 0.1 * (x.to(weights) @ weights)

    def standardised(f: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return (f - like.mean(0)) / like.std(0)

    first, second = pool[0], pool[1]
    train = features(x, first)
    test, fresh = features(x_test, first), features(x_test, second)
    got, got_test = trial.parts(
        trial.call(answer, x, x_test, draw, features), "training features", "test features"
    )
    mistakes = {
        "The training features are no longer standardised.": train,
        "The statistics come from training and test images together; test images must not take part in training.": (
            standardised(train, torch.cat([train, test]))
        ),
    }
    message = "Training features keep their own mean and std."
    trial.judge(got, standardised(train, train), mistakes, message, what="The training features")
    trial.unchanged_if_close(got_test, standardised(fresh, fresh))
    mistakes = {
        "One of two: the weights are the same now, but the test set is still standardised by its own mean.": (
            standardised(test, test)
        ),
        "One of two: the statistics are right now, but the test set still gets fresh random weights.": (
            standardised(fresh, train)
        ),
        "The test features are not standardised at all; a classifier would see another scale.": test,
        "These are the training features once more.": standardised(train, train),
    }
    message = "Test features: the same weights, and the training set's mean and std."
    trial.judge(got_test, standardised(test, train), mistakes, message, what="The test features")


@exercise(
    "features-needed",
    points=1,
    hints=(
        "The error of an average of C independent features falls as 1 / √C.",
        "Halving the error takes four times as many features.",
        "C · (error / target)², rounded up to a whole number.",
    ),
)
def features_needed(answer: object, trial: Trial) -> None:
    """How many features a target error needs."""
    C, error = 10 * trial.integer(3, 20), trial.uniform(0.1, 0.4)
    exact = math.floor(C * trial.uniform(3.2, 6.8) ** 2) + trial.uniform(0.1, 0.9)  # not whole, to rounding
    ratio = math.sqrt(exact / C)
    target, want = error / ratio, math.ceil(exact)
    got = trial.call(answer, C, error, target)
    mistakes = {
        "That holds for an error that falls as 1 / C; it falls as 1 / √C.": (math.ceil(C * ratio), C * ratio),
        "That is for an error that falls as 1 / C²: you took a root instead of a square.": (
            math.ceil(C * math.sqrt(ratio)),
            C * math.sqrt(ratio),
        ),
        "The ratio is upside down: a smaller error needs more features.": (
            math.ceil(C / ratio**2),
            C / ratio**2,
        ),
        "Rounded down the error is a little too large: round up.": want - 1,
        "Round up: there are only whole features.": exact,
        "That is how many more you need; the number of all of them is asked for.": want - C,
    }
    message = f"From {C} features with an error of {error:.3g} to {target:.3g}: the error is proportional to 1 / √C."
    trial.reject_mistakes(got, want, mistakes, rtol=1e-7)
    trial.expect_number(got, want, message, rtol=1e-7)
