"""Checks of lesson 12: counting determined directions, curvature without a matrix, complexity and its tests."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .._machine import exercise
from .._trial import Trial
from . import REDRAWS, swapped


@exercise(
    "count-directions",
    points=1,
    hints=(
        "Each direction contributes a share between 0 (flat) and 1 (determined).",
        "The share is λ / (λ + z). What should a negative λ contribute?",
        "positive = eigenvalues.clamp(min=0);  (positive / (positive + z)).sum()",
    ),
)
def count_directions(answer: object, trial: Trial) -> None:
    """Effective dimension from eigenvalues, some of them negative."""
    positive, z = 3 * trial.randn(6).exp(), trial.uniform(0.5, 3.0)
    negative = -z * torch.cat([0.1 + 0.8 * trial.rand(1), 1.2 + 2 * trial.rand(1)])  # above −z and below it
    eigenvalues = torch.cat([positive, negative, torch.zeros(1, dtype=torch.float64)])
    shares = positive / (positive + z)
    got = trial.call(answer, eigenvalues, z)
    mistakes = {
        "Negative eigenvalues took part; along them the point is no minimum, and they count 0.": (
            (eigenvalues / (eigenvalues + z)).sum(),
            (eigenvalues / (eigenvalues + z)).clamp(min=0).sum(),
            (eigenvalues / (eigenvalues + z))[eigenvalues > -z].sum(),
            (eigenvalues / (eigenvalues + z))[eigenvalues.abs() > z].sum(),
        ),
        "You counted the size of negative eigenvalues; they count 0.": (
            shares.sum() + (negative.abs() / (negative.abs() + z)).sum()
        ),
        "That is how many directions are *not* determined: z / (λ + z).": (
            (z / (eigenvalues.clamp(min=0) + z)).sum()
        ),
        "That is the mean share; the shares are summed.": shares.sum() / len(eigenvalues),
        "That is one ratio of two sums; sum the ratio of each direction.": (
            positive.sum() / (positive.sum() + z * len(eigenvalues))
        ),
        "You counted eigenvalues above z; every direction contributes a share, λ / (λ + z).": (
            (positive > z).sum()
        ),
        "z is a precision and not to be squared.": (positive / (positive + z**2)).sum(),
    }
    message = "The sum over directions of λ / (λ + z), negative λ counting 0."
    trial.judge(got, shares.sum(), mistakes, message)


@exercise(
    "determined-by-data",
    points=2,
    hints=(
        "N_eff with z = 1 needs the curvature in *whitened* weights θ = w / prior_std.",
        "The loss is ‖y − prior_std · Φθ‖² / (2 noise_std²). What is its Hessian in θ?",
        "H = (prior_std / noise_std)² ΦᵀΦ; then sum λ / (λ + 1) over its eigenvalues.",
    ),
)
def determined_by_data(answer: object, trial: Trial) -> None:
    """Effective dimension of a linear model, as the trace of the hat matrix."""
    N, D = trial.integer(5, 8), trial.integer(3, 4)
    features, prior_std, noise_std = trial.randn(N, D), trial.uniform(1.5, 2.5), trial.uniform(0.4, 0.7)

    def degrees_of_freedom(ridge: float) -> torch.Tensor:
        """tr Φ (ΦᵀΦ + ridge I)⁻¹ Φᵀ."""
        gram = features @ features.T
        return torch.linalg.solve(gram + ridge * torch.eye(N, dtype=torch.float64), gram).diagonal().sum()

    want = degrees_of_freedom((noise_std / prior_std) ** 2)
    got = trial.call(answer, features, prior_std, noise_std)
    mistakes = {
        "The prior's scale is missing: in whitened weights the features are multiplied by prior_std.": (
            degrees_of_freedom(noise_std**2)
        ),
        "The noise is missing: the loss is divided by 2 noise_std².": degrees_of_freedom(1 / prior_std**2),
        "Standard deviations where variances belong: square prior_std / noise_std.": (
            degrees_of_freedom(noise_std / prior_std)
        ),
        "prior_std is upside down: a wide prior leaves more for the data to determine.": (
            degrees_of_freedom((noise_std * prior_std) ** 2)
        ),
        "That is the mean loss over the data; the log likelihood is a sum.": (
            degrees_of_freedom(N * (noise_std / prior_std) ** 2)
        ),
        "That is the number of weights, or of data; not all of them are determined.": (D, N),
        "The features are not squared: their singular values are no eigenvalues of ΦᵀΦ.": _shares(
            torch.linalg.svdvals(features) * prior_std / noise_std
        ),
        "That is the mean over directions; sum them.": want / D,
        "That is what the posterior *keeps* of the prior's variance; the data took the rest of D.": D - want,
    }
    trial.judge(got, want, mistakes, "That is not the effective dimension with z = 1 in whitened weights.")


def _shares(eigenvalues: torch.Tensor) -> torch.Tensor:
    return (eigenvalues / (eigenvalues + 1)).sum()


@exercise(
    "hessian-times-vector",
    points=2,
    hints=(
        "H v is the derivative of a number: of gradient(theta) · v, with v fixed.",
        "So differentiate twice. The first gradient must keep its graph: create_graph=True.",
        "g, = torch.autograd.grad(loss(theta), theta, create_graph=True);  torch.autograd.grad(g @ v, theta)[0]",
    ),
)
def hessian_times_vector(answer: object, trial: Trial) -> None:
    """Hessian-vector product, against the Hessian written out."""
    D = trial.integer(30, 35)
    a, b, theta, v = 1 + trial.rand(D), trial.randn(D), 0.5 * trial.randn(D), trial.randn(D)
    neighbour = torch.arange(1, D + 1) % D

    passes, at_once = (
        [0],
        [False],
    )  # through the network, forwards or backwards; and whether vmap made many in one

    def count(x: torch.Tensor) -> None:
        passes[0] += 1
        at_once[0] |= _is_batch(x)

    def loss(theta: torch.Tensor) -> torch.Tensor:
        count(theta)
        theta = 1 * theta
        if theta.requires_grad:
            theta.register_hook(count)
        u = a.to(theta) * theta - theta.roll(-1)  # each weight meets the next one only
        return torch.logaddexp(u, -u).sum() + (theta**4).sum() / 4 + (b.to(theta) * theta).sum()

    J = torch.diag(a)
    J[torch.arange(D), neighbour] = -1.0
    slope = torch.tanh(J @ theta)
    gradient = J.T @ slope + theta**3 + b
    H = J.T @ ((1 - slope**2)[:, None] * J) + torch.diag(3 * theta**2)
    got = trial.call(answer, loss, theta, v)
    mistakes = {
        "That is the gradient of the loss; differentiate gradient · v once more.": gradient,
        "That is gradient · v, a number; its derivative with respect to theta is H v.": gradient @ v,
        "That is the outer product g gᵀ times v, which is not the Hessian.": gradient * (gradient @ v),
        "Only the diagonal of the Hessian took part.": H.diagonal() * v,
        "That is vᵀ H v, a number; H v has one entry per weight.": v @ H @ v,
        "That is H⁻¹ v.": torch.linalg.solve(H, v),
        "v did not take part: that is H times a vector of ones.": H.sum(1),
    }
    trial.judge(got, H @ v, mistakes, "H v is the derivative of gradient(theta) · v.", rtol=1e-3)
    trial.expect(
        passes[0] < D and not at_once[0],
        f"The numbers are right, but the whole matrix was computed, {D} rows for {D} weights. For millions of weights "
        "there is neither room nor time for it: two backward passes are enough for H v.",
    )


def _is_batch(x: torch.Tensor) -> bool:
    """Whether vmap hides an axis of x: then it has no single value."""
    try:
        float(x.detach().sum())
    except RuntimeError:
        return True
    return False


@exercise(
    "bug-noise-drawn-once",
    points=2,
    trials=3,
    hints=(
        "The mean over repetitions stands for an expectation over the noise. What differs between two of them?",
        "Nothing: one vector of noise is drawn, and `expand` shows it again and again.",
        "Draw (repeats, D) numbers: a row of noise for each repetition.",
    ),
)
def bug_noise_drawn_once(answer: object, trial: Trial) -> None:
    """Find the bug: the expectation over noise uses one draw of it."""
    D, sigma, repeats = trial.integer(4, 6), trial.uniform(0.3, 0.8), 250
    weights, seen = trial.randn(D), []

    def accuracy(w: torch.Tensor) -> float:
        seen.append(w.detach().clone().double())
        return 1 / (1 + float((w - weights).square().sum()))

    got = trial.call(answer, accuracy, weights, sigma, repeats)
    trial.expect(seen, "`accuracy` was never called; the measure is the mean accuracy of noisy weights.")
    shapes = {tuple(w.shape) for w in seen}
    trial.expect(
        shapes == {(D,)}, f"`accuracy` takes one setting of the weights, ({D},); it was given {shapes}."
    )
    noise = torch.stack(seen) - weights
    outputs = 1 / (1 + noise.square().sum(1))
    if len(noise) > 1 and (noise == noise[0]).all():
        trial.unchanged_if_close(got, outputs.mean())
        trial.fail("All repetitions see the same noise, so their mean is that of a single draw.")
    trial.expect(
        len(noise) == repeats,
        f"{repeats} repetitions should call `accuracy` {repeats} times; it was {len(noise)}.",
    )
    if noise.diff(dim=0).std() < noise.std() / 2:
        trial.fail(
            "The noise piles up: each repetition starts from the last one's weights, not the trained ones."
        )
    if torch.allclose(noise, noise[:, :1].expand_as(noise)):
        trial.fail("All weights get the same number in a repetition; each weight has noise of its own.")
    if (noise >= 0).all():
        trial.fail("The noise is never negative: Gaussian noise has mean 0, so use randn, without abs.")
    z, spread = noise / noise.std(), noise.std().item()
    tails = float(z.pow(4).mean())  # 3 for a Gaussian, 1.8 for uniform numbers, 1 for signs
    if 0.85 < spread / sigma < 1.15 or tails < 2.2:
        trial.expect(tails > 1.2, "The noise has one size, plus or minus sigma; a Gaussian has many sizes.")
        trial.expect(
            tails > 2.2, "The noise has no tails, as if it were uniform; a Gaussian is asked for: randn."
        )
        trial.expect(tails < 5.0, "The noise has much heavier tails than a Gaussian: use randn.")
    if not 0.85 < spread / sigma < 1.15:
        message = f"The noise has std {spread:.2g}, not sigma = {sigma:.2g}"
        squared = 0.85 < spread / sigma**2 < 1.15
        trial.fail(f"{message}: you multiplied by the variance." if squared else f"{message}.")
    trial.expect(
        noise.mean(0).abs().max() < 6 * sigma / math.sqrt(repeats),
        "The noise does not have mean 0; use randn.",
    )
    mistakes = {
        "That is the worst accuracy; the measure is the mean.": outputs.min(),
        "You summed the accuracies; the measure is their mean.": outputs.sum(),
        "That is the last accuracy; the measure is the mean over repetitions.": outputs[-1],
    }
    trial.judge(got, outputs.mean(), mistakes, "The mean of the accuracies over the repetitions.", rtol=1e-5)
    seen.clear()
    trial.call(answer, accuracy, weights, sigma, repeats)
    trial.expect(
        not torch.equal(torch.stack(seen) - weights, noise),
        "A second call draws the very same noise: the generator is seeded anew each time. Leave the seed alone, or a "
        "second estimate says nothing new.",
    )


@exercise(
    "path-norm",
    points=2,
    hints=(
        "Squares of products are products of squares, and the sum over paths is what matrix products do.",
        "Square every weight, put ones into the network and leave the ReLUs out: nothing is negative.",
        "h = ones; for W in layers: h = W**2 @ h; the answer is sqrt(h.sum()).",
    ),
)
def path_norm(answer: object, trial: Trial) -> None:
    """Path norm of a network without biases, against all paths one by one."""
    inputs, hidden, units, outputs = (trial.integer(2, 3) for _ in range(4))
    A, B, C = trial.randn(hidden, inputs), trial.randn(units, hidden), trial.randn(outputs, units)
    paths = torch.stack(
        [
            C[o, u] * B[u, h] * A[h, i]
            for o in range(outputs)
            for u in range(units)
            for h in range(hidden)
            for i in range(inputs)
        ]
    )
    want = paths.square().sum().sqrt()
    got = trial.call(answer, [A, B, C])
    norms = torch.stack([W.norm() for W in (A, B, C)])
    mistakes = {
        "The root is missing: that is the sum of squares over paths.": want**2,
        "That is the l1 path norm, with |w| in place of w²; square each weight and take the root at the end.": (
            paths.abs().sum()
        ),
        "You took the root of the sum of |w| over paths; square the weights.": paths.abs().sum().sqrt(),
        "That is the product of the layers' norms: it also multiplies weights that share no path.": (
            norms.prod()
        ),
        "That is the norm of all weights; a path *multiplies* the weights on it.": norms.norm(),
        "You added paths before squaring, so that they cancel: square each weight first.": (
            (C @ B @ A).sum().abs()
        ),
        "You squared the product of the matrices; square each weight before multiplying.": (
            (C @ B @ A).norm()
        ),
    }
    message = "The root of the sum, over all paths, of the product of squared weights."
    trial.judge(got, want, mistakes, message)


@exercise(
    "within-depth",
    points=2,
    hints=(
        "Spearman's correlation is Pearson's correlation of the ranks. Ranks among whom?",
        "For the second number rank the networks of one depth among themselves, once per depth, and average.",
        "scipy.stats.spearmanr(measure, error)[0] for all, then the mean of the same over `depth == d`.",
    ),
)
def within_depth(answer: object, trial: Trial) -> None:
    """Pooled and within-group rank correlation, from the sum of squared rank differences."""
    # groups of different size, a depth that does not occur, equal errors, and correlations of either sign
    depths, sizes = (1, 2, 4), torch.tensor([4, 6, 9])[torch.randperm(3, generator=trial.generator)]
    sign = 1.0 if (trial.index + trial.seed) % 2 else -1.0

    def both(
        correlate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], weights: object = (1, 1, 1)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        groups = [correlate(measure[depth == d], error[depth == d]) for d in depths]
        return correlate(measure, error), sum(w * g for w, g in zip(weights, groups)) / sum(weights)

    for _ in range(
        REDRAWS
    ):  # until all mistakes show: each group has ties and a spread, no correlation is near 0
        depth = torch.tensor(depths).repeat_interleave(sizes)[torch.randperm(19, generator=trial.generator)]
        exact = trial.randn(19)
        error = 0.01 * (8 * exact).round() + 0.5  # shares of a test set: some are equal
        measure = (sign * 1.5 * exact + trial.randn(19) + 2.0 * depth * (-1) ** trial.index).exp()
        (pooled, within), tied = both(_spearman), both(_without_ties)
        apart = min(abs(float(a - b)) for a, b in zip(tied, (pooled, within)))
        if apart > 1e-3 and abs(pooled) > 0.02 and abs(within) > 0.02 and within.isfinite():
            break
    stops = "A depth between the smallest and the largest may not occur; average over those that do."
    got = trial.call(answer, measure, error, depth, stops=stops)
    got_pooled, got_within = trial.parts(got, "pooled", "within")
    if swapped(trial, (got_pooled, got_within), (pooled, within)):
        trial.fail("Both are right, in the wrong order: pooled first.")
    if trial.is_close(got_pooled, pooled) and trial.tensor(got_within).isnan().any():
        trial.fail(stops)
    others = {
        "That correlation is Pearson's, of the values; take ranks first, so that only the order counts.": (
            both(_pearson)
        ),
        "That correlation is Kendall's; Spearman's is asked for.": both(_kendall),
        "Equal errors got different ranks; they share the mean of the places that they take.": tied,
        "That formula, 1 − 6 Σ d² / (n (n² − 1)), holds where no two values are equal.": both(
            _from_differences
        ),
        "The sign is lost: a measure can go *against* the error, and its correlation is negative then.": (
            pooled.abs(),
            sum(abs(_spearman(measure[depth == d], error[depth == d])) for d in depths) / 3,
        ),
    }
    mistakes = {message: other for message, (other, _) in others.items()}
    message = "Spearman's correlation over all networks."
    trial.judge(got_pooled, pooled, mistakes, message, scale=1.0, what="The pooled one", part=True)
    ranks = _ranks(measure), _ranks(error)
    mistakes = {message: other for message, (_, other) in others.items()} | {
        "You used ranks among all networks; rank those of one depth among themselves.": (
            sum(_pearson(*(r[depth == d] for r in ranks)) for d in depths) / 3
        ),
        "You summed over depths; average.": 3 * within,
        "You divided by the range of depths; average over those that occur.": 3 / 4 * within,
        "You weighted the depths by their numbers of networks; each depth counts the same.": (
            both(_spearman, sizes.tolist())[1]
        ),
    }
    mistakes = {f"Within depths: {message}": mistaken for message, mistaken in mistakes.items()}
    message = "The mean over depths of Spearman's correlation within each."
    trial.judge(got_within, within, mistakes, message, scale=1.0, what="The one within depths", part=True)


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """How many values are smaller, and half of those that are equal."""
    below, equal = values < values[:, None], values == values[:, None]
    return below.double().sum(1) + equal.double().sum(1) / 2


def _spearman(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _pearson(_ranks(a), _ranks(b))


def _without_ties(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _pearson(a.argsort().argsort().double(), b.argsort().argsort().double())


def _from_differences(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    n = len(a)
    return 1 - 6 * (_ranks(a) - _ranks(b)).square().sum() / (n * (n**2 - 1))


def _pearson(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.corrcoef(torch.stack([a, b]))[0, 1]


def _kendall(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    n = len(a)
    return ((a[:, None] - a).sign() * (b[:, None] - b).sign()).sum() / (n * (n - 1))


@exercise(
    "power-iteration",
    points=3,
    hints=(
        "Multiply again and again: the part along the largest eigenvector grows fastest. Normalise, or it overflows.",
        "The norm of A v tells the size of the eigenvalue but not its sign. What does vᵀ A v tell?",
        "for _ in range(steps): v = product(v); v = v / v.norm().  Then return v @ product(v).",
    ),
)
def power_iteration(answer: object, trial: Trial) -> None:
    """The eigenvalue of largest size from products alone, against eigvalsh."""
    D, steps, scale = (
        trial.integer(60, 70),
        25,
        1e15 * trial.uniform(1.0, 2.0),
    )  # overflows before 25 products
    Q = torch.linalg.qr(trial.randn(D, D))[0]
    sign = -1.0 if trial.index % 2 else 1.0
    values = (
        torch.cat([torch.tensor([sign, -0.4 * sign], dtype=torch.float64), 0.35 * trial.rand(D - 2)]) * scale
    )
    A = Q @ values.diag() @ Q.T
    start = Q[:, 0] + 0.2 * trial.randn(D)
    start, calls = trial.uniform(2.0, 3.0) * start, [0]

    def product(v: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        if tuple(v.shape) != (D,):
            raise ValueError(f"product(v) takes one vector, ({D},); it was given the shape {tuple(v.shape)}")
        return A.to(v) @ v

    got = trial.call(answer, product, start, steps)
    want = torch.linalg.eigvalsh(A)[torch.linalg.eigvalsh(A).abs().argmax()]
    trial.expect(calls[0] >= 5, "`product` was hardly used; the matrix is only known through it.")
    trial.expect(
        calls[0] <= 2 * steps + 2,
        f"`product` was called {calls[0]} times, where {steps} products are asked for, and one or two for the "
        "quotient. To build the whole matrix takes one for each weight: millions.",
    )
    numbers = trial.tensor(got)
    trial.expect(
        torch.isfinite(numbers).all(), "The vector over- or underflowed: divide it by its norm in every step."
    )
    trial.expect(
        numbers.numel() == 1,
        f"One eigenvalue is asked for; you returned a tensor of {numbers.numel()} numbers.",
    )
    mistakes = {
        "The size is right, the sign is lost: the norm of A v does not know it.": -want,
        "That belongs to the start vector; iterate first: v = product(v) / norm.": (
            start @ A @ start / (start @ start)
        ),
        "That is the eigenvalue's square: A was applied twice between the vectors.": want**2,
        "The vector does not have length 1 in vᵀ A v; divide by vᵀ v.": want * (start @ start),
    }
    trial.judge(got, want, mistakes, "vᵀ A v of the normalised vector after all steps.", rtol=1e-5)
