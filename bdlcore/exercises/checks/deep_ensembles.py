"""Checks of lesson 10: mixtures of members, their disagreement and correlation, calibration, Wasserstein distance."""

from __future__ import annotations

import math

import torch

from .._machine import exercise
from .._trial import Trial
from . import REDRAWS


def _one_hot(y: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.eye(classes, dtype=torch.float64)[y]


@exercise(
    "one-more-member",
    points=2,
    hints=(
        "Undo the average: k times the old average, plus the new member's probabilities, all over k + 1.",
        "In logarithms a product is a sum, and a sum is torch.logaddexp. First turn the logits into log p.",
        "torch.logaddexp(log_average + math.log(k), logits.log_softmax(-1)) - math.log(k + 1).",
    ),
)
def one_more_member(answer: object, trial: Trial) -> None:
    """The log of a running average of probabilities, against the average of all members, in ranges that underflow."""
    k, N, C = trial.integer(3, 6), trial.integer(4, 6), 3
    members = 3 * trial.randn(k + 1, N, C)
    members[:, 0, 0] -= 2000.0  # for all members this class has a probability below the smallest float
    log_p = members - members.logsumexp(-1, keepdim=True)
    old, new = log_p[:k].logsumexp(0) - math.log(k), log_p[k]
    want = log_p.logsumexp(0) - math.log(k + 1)
    got = trial.call(answer, old, k, members[k])
    numbers = trial.tensor(got)
    trial.expect_shape(numbers, want.shape)
    body, lost = slice(1, None), (~numbers[0].isfinite()).any()
    mistakes = {
        "You averaged log-probabilities: that is a geometric mean, as with averaged logits. Add probabilities.": (
            (k * old + new) / (k + 1)
        ),
        "The old average stands for k members and counts k times; here it counts as one.": (
            torch.logaddexp(old, new) - math.log(2)
        ),
        "There are k + 1 members now: the sum is divided by something else.": (
            torch.logaddexp(old + math.log(k), new) - math.log(k)
        ),
        "The k is missing in front of the old average, which was divided by k before.": (
            torch.logaddexp(old, new) - math.log(k + 1)
        ),
        "The sum is not divided by the number of members.": torch.logaddexp(old + math.log(k), new),
        "Logits are not log-probabilities yet: take log_softmax over the classes first.": (
            torch.logaddexp(old + math.log(k), members[k]) - math.log(k + 1)
        ),
        "You mixed probabilities with something that is none: logits need softmax.": (
            ((k * old.exp() + members[k]) / (k + 1)).log()
        ),
        "The softmax runs over the inputs; it belongs to the classes, the last axis.": (
            torch.logaddexp(old + math.log(k), members[k].log_softmax(0)) - math.log(k + 1)
        ),
        "These are probabilities; their logarithm is asked for.": want.exp(),
    }
    mistakes = {message: mistaken[body] for message, mistaken in mistakes.items()}
    trial.reject_mistakes(numbers[body], want[body], mistakes)
    if trial.is_close(numbers[body], want[body]) and (lost or not trial.is_close(numbers[0], want[0])):
        trial.fail(
            "Right for ordinary numbers, but where probabilities are tiny the result is −inf or rounded: exp gives 0 "
            "there. Stay in logarithms (torch.logaddexp)."
        )
    trial.expect_close(numbers, want, "log of (k · old average + new probabilities) / (k + 1).")


@exercise(
    "multiswag",
    points=3,
    hints=(
        "Member by member: draw weights, evaluate the logits, softmax, average over *its* draws. Then over members.",
        "A draw is mean + (variance.sqrt() * z1 + z2 @ deviations / sqrt(K − 1)) / sqrt(2), K = len(deviations).",
        "Collect logits(theta).softmax(-1).mean(0) in a list, one (N, C) per member; torch.stack(list).mean(0).",
    ),
)
def multiswag(answer: object, trial: Trial) -> None:
    """An equal mixture of SWAG Gaussians with unequal numbers of draws, against a written-out loop."""
    M, P, N, C = trial.integer(3, 4), 6, trial.integer(3, 5), 3
    K = [trial.integer(3, 6) for _ in range(M)]
    S = [3 + 4 * m for m in range(M)]
    members = [(2 * trial.randn(P), 0.3 + 2 * trial.rand(P), trial.randn(k, P)) for k in K]
    z1 = [trial.randn(s, P) for s in S]
    z2 = [trial.randn(s, k) for s, k in zip(S, K)]
    projection = trial.randn(P, N * C)

    def logits(theta: torch.Tensor) -> torch.Tensor:
        return torch.tanh(theta @ projection.to(theta.dtype)).mul(3).unflatten(1, (N, C))

    def draws(m: int, halves: float = 2.0, root: bool = True, degrees: int = 1) -> torch.Tensor:
        mean, variance, deviations = members[m]
        spread = variance.sqrt() if root else variance
        low_rank = z2[m] @ deviations / math.sqrt(K[m] - degrees)
        return mean + (spread * z1[m] + low_rank) / math.sqrt(halves)

    def mixture(thetas: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([logits(theta).softmax(-1).mean(0) for theta in thetas]).mean(0)

    thetas = [draws(m) for m in range(M)]
    want = mixture(thetas)
    got = trial.call(answer, members, z1, z2, logits)
    pooled = logits(torch.cat(thetas))
    means = [member[0][None] for member in members]
    centre = sum(member[0] for member in members) / M
    mistakes = {
        "Members with more draws count more: average over the draws of each member first.": (
            pooled.softmax(-1).mean(0)
        ),
        "You averaged logits, then took the softmax; average probabilities.": (
            torch.stack([logits(theta).mean(0) for theta in thetas]).mean(0).softmax(-1)
        ),
        "Within a member you averaged logits; average the probabilities of its draws.": (
            torch.stack([logits(theta).mean(0).softmax(-1) for theta in thetas]).mean(0)
        ),
        "That is SWAG around the first member only.": logits(thetas[0]).softmax(-1).mean(0),
        "That is an ensemble of the means (SWA): the draws around them are missing.": mixture(means),
        "You averaged the weights of different members. Between two basins lies no good network.": (
            logits(centre[None]).softmax(-1)[0]
        ),
        "You centred all members' draws on the average of the means: between two basins lies no good network.": (
            mixture([theta - member[0] + centre for theta, member in zip(thetas, members)])
        ),
        "z1 is multiplied by the variance; noise needs its root.": (
            mixture([draws(m, root=False) for m in range(M)])
        ),
        "Without the factor 1/√2 both parts count in full, and the covariance is twice as large.": (
            mixture([draws(m, halves=1.0) for m in range(M)])
        ),
        "K deviations from their own mean have K − 1 degrees of freedom: divide by √(K − 1).": (
            mixture([draws(m, degrees=0) for m in range(M)])
        ),
        "These are logits; return probabilities.": (
            torch.stack([logits(theta).mean(0) for theta in thetas]).mean(0)
        ),
    }
    message = "Probabilities of the draws, averaged within each member and then over members."
    trial.judge(got, want, mistakes, message)


@exercise(
    "disagreement",
    points=2,
    hints=(
        "There are M (M − 1) / 2 pairs. For each: at what share of the inputs do its two labels differ?",
        "labels[:, None] != labels[None] compares all pairs at once, (M, M, N); but a member paired with itself counts "
        "there, too.",
        "(labels[:, None] != labels[None]).double().mean(2) has zeros on its diagonal: sum it, divide by M (M − 1).",
    ),
)
def disagreement(answer: object, trial: Trial) -> None:
    """Mean pairwise disagreement, against a loop over pairs."""
    M, N, C = trial.integer(4, 6), trial.integer(40, 60), 3
    for _ in range(REDRAWS):  # shares are fractions of N: until no mistake gives the right number by chance
        truth, other = trial.randint(0, C, N), trial.randint(0, C, M, N)
        labels = torch.where(trial.rand(M, N) < 0.55, truth, other)
        want, mistakes = _disagreements(labels)
        if torch.stack([want, *mistakes.values()]).sort().values.diff().min() >= 1e-3:
            break
    got = trial.call(answer, labels)
    message = "The share of inputs with different labels, averaged over all pairs of members."
    trial.judge(got, want, mistakes, message)


def _disagreements(labels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The mean over pairs of members, and what mistakes give instead."""
    M, N = labels.shape
    pairs = [(i, j) for i in range(M) for j in range(i)]
    want = torch.stack([(labels[i] != labels[j]).double().mean() for i, j in pairs]).mean()
    vote = torch.nn.functional.one_hot(labels).sum(0).argmax(-1)
    far = torch.stack([(labels[i] - labels[j]).abs().double().mean() for i, j in pairs]).mean()
    unequal = labels != labels[0]
    return want, {
        "Pairs of a member with itself are in your average: they never disagree. Divide by M (M − 1).": (
            want * (M - 1) / M
        ),
        "That is how often two members agree.": 1 - want,
        "That is the share of inputs at which not all members agree; it can only grow with M.": (
            unequal.any(0).double().mean()
        ),
        "You compared each member with the majority vote; compare members with each other.": (
            (labels != vote).double().mean()
        ),
        "You compared all members with the first only.": unequal[1:].double().mean(),
        "You compared each member with the next only; there are more pairs.": (
            (labels[1:] != labels[:-1]).double().mean()
        ),
        "That is a number of inputs; a share is asked for: divide by N.": want * N,
        "You added up the pairs; their mean is asked for.": want * len(pairs),
        "Each pair is counted twice, or divided by half of the pairs: twice too large.": 2 * want,
        "Each pair is counted once, but divided by M (M − 1), which counts each twice.": want / 2,
        "Labels are names, not numbers: whether they differ counts, not by how much.": far,
    }


@exercise(
    "calibration-error",
    points=3,
    hints=(
        "The bin of a prediction follows from its confidence alone: (confidence * bins).long(), but 1.0 belongs to the "
        "last bin.",
        "For each bin that is not empty: its share of the data times |share that is right − mean confidence|.",
        "Loop over the bins: inside = index == b; if inside.any(): total += inside.double().mean() * (...).abs().",
    ),
)
def calibration_error(answer: object, trial: Trial) -> None:
    """Expected calibration error, against a loop with edges; some bins are empty, some predictions are certain."""
    N, C, bins = (
        trial.integer(60, 90),
        3,
        2 ** trial.integer(3, 4),
    )  # so that edges are exact in floating point
    for _ in range(REDRAWS):  # where all gaps have one sign, say, a mistake would give the right number
        p = (2.5 * trial.randn(N, C)).softmax(-1)
        p[:3] = torch.eye(C, dtype=torch.float64)  # confidence 1: the last bin
        for n in range(3, 13):  # confidence on an edge: the upper bin
            p[n] = (8 - trial.integer(1, 3)) / 8
            p[n, [0, 2]] = (1 - p[n, 1]) / 2
        y = torch.where(trial.rand(N) < 0.65, p.argmax(-1), trial.randint(0, C, N))
        y[0], y[1] = 0, 2  # one of the certain ones is right, one is wrong
        want, mistakes = _calibrations(p, y, bins)
        if min(abs(float(value - want)) for values in mistakes.values() for value in values) >= 1e-4:
            break
    got = trial.call(answer, p, y, bins)
    if torch.is_tensor(got) or isinstance(got, float):
        finite = trial.tensor(got).isfinite().all()
        trial.expect(finite, "An empty bin has no mean (0/0 is NaN): leave it out.")
    trial.judge(got, want, mistakes, "Σ over bins of (share of the data) · |accuracy − mean confidence|.")


def _calibrations(
    p: torch.Tensor, y: torch.Tensor, bins: int
) -> tuple[torch.Tensor, dict[str, tuple[torch.Tensor, ...]]]:
    """The expected calibration error, and what mistakes give instead."""

    def gaps(
        confidence: torch.Tensor, right: torch.Tensor, bins: int = bins, closed: str = "left"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Accuracy minus confidence, and the share of the data, of the bins that are not empty."""
        gap, share = [], []
        for b in range(bins):
            inside = (confidence >= b / bins) & ((confidence < (b + 1) / bins) | (b == bins - 1))
            if closed == "right":
                inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
            if inside.any():
                gap.append(right[inside].mean() - confidence[inside].mean())
                share.append(inside.double().mean())
        return torch.stack(gap), torch.stack(share)

    def error(confidence: torch.Tensor, right: torch.Tensor, **options: object) -> torch.Tensor:
        gap, share = gaps(confidence, right, **options)
        return (share * gap.abs()).sum()

    def from_centres(confidence: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        index = (confidence * bins).long().clamp(max=bins - 1)
        excess = right - (index + 0.5) / bins
        return torch.zeros(bins, dtype=right.dtype).index_add(0, index, excess).abs().sum() / len(right)

    top, label = p.max(-1)
    right = (label == y).double()
    true_class = p.gather(1, y[:, None])[:, 0]
    inner = top < 1
    gap, share = gaps(top, right)
    signed, squared = (share * gap).sum(), (share * gap**2).sum()
    want = error(top, right)
    return want, {
        "Each bin counts as much as any other there; weight it by its share of the data.": (
            gap.abs().mean(),
            gap.abs().sum() / bins,
        ),
        "Gaps of opposite sign cancel, as if there were no bins: take the absolute value in each bin.": (
            signed,
            -signed,
        ),
        "You squared the gaps; their absolute value is asked for.": (squared, squared.sqrt()),
        "That is the largest gap; the mean over the data is asked for.": (gap.abs().max(),),
        "Confidence is the probability of the *predicted* class, not of the true one.": (
            error(true_class, right),
            error(true_class, torch.ones_like(right)),
        ),
        "Predictions with confidence exactly 1 fall out of your last bin.": (
            error(top[inner], right[inner]),
            error(top[inner], right[inner]) * inner.double().mean(),
        ),
        "That is |right − confidence| of each datum by itself, averaged; average within a bin first.": (
            (right - top).abs().mean(),
        ),
        "That is a percentage; a share is asked for.": (100 * want,),
        "A confidence on an edge belongs to the bin above it: bin b holds b/bins, and not (b + 1)/bins.": (
            error(top, right, closed="right"),
        ),
        "You took the centre of each bin; the *mean confidence* of the predictions in it is asked for.": (
            from_centres(top, right),
        ),
        "There is one bin too few or too many: the edges are 0, 1/bins, …, 1.": (
            error(top, right, bins=bins - 1),
            error(top, right, bins=bins + 1),
        ),
    }


@exercise(
    "wasserstein-unequal",
    points=3,
    hints=(
        "For equal numbers: sort both, average |f_i − g_i|. For S and R draws, copy each f R times and each g S times.",
        "Copies do not change a distribution. f.repeat_interleave(R) has S·R values, g.repeat_interleave(S) too.",
        "(f.sort().values.repeat_interleave(R) - g.sort().values.repeat_interleave(S)).abs().mean().",
    ),
)
def wasserstein_unequal(answer: object, trial: Trial) -> None:
    """The 1-D Wasserstein distance, against the area between the two distribution functions."""
    S, R = trial.integer(4, 7), trial.integer(9, 13)
    f, g = trial.randn(S), trial.randn(R) + trial.uniform(0.1, 0.4)
    f = 1.5 * g.abs().max() * (f - f.mean()) / torch.minimum(f.max() - f.mean(), f.mean() - f.min())  # wider
    if trial.index % 2:
        f, g = g, f
    S, R = len(f), len(g)
    ends = torch.cat([f, g]).sort().values
    middles = (ends[1:] + ends[:-1]) / 2
    rise = (f[:, None] <= middles).double().mean(0) - (g[:, None] <= middles).double().mean(0)
    want = (ends.diff() * rise.abs()).sum()
    got = trial.call(answer, f, g)
    a, b = f.sort().values, g.sort().values
    n = min(S, R)
    levels = torch.linspace(0, 1, 101, dtype=torch.float64)
    mistakes = {
        "That is the distance of the means: two sets of one mean and another width would be equal.": (
            (f.mean() - g.mean()).abs()
        ),
        "You sorted and threw away what is left of the longer set: its largest draws.": (
            (a[:n] - b[:n]).abs().mean()
        ),
        "You cut the longer set before sorting: part of its draws is not used.": (
            (f[:n].sort().values - g[:n].sort().values).abs().mean()
        ),
        "Sort both sets first; the order of draws has no meaning.": (
            (f.repeat_interleave(R) - g.repeat_interleave(S)).abs().mean()
        ),
        "That pairs each draw with draws all over the other set. The cheapest way keeps the order: copy each sorted "
        "draw (`repeat_interleave`), not the whole set (`repeat`).": (
            (f[:, None] - g).abs().mean(),
            (a.repeat(R) - b.repeat(S)).abs().mean(),
        ),
        "You squared the distances (Wasserstein-2); the absolute value is asked for.": (
            ((a.repeat_interleave(R) - b.repeat_interleave(S)) ** 2).mean()
        ),
        "You took the root of mean squares (Wasserstein-2); the mean of absolute values is asked for.": (
            ((a.repeat_interleave(R) - b.repeat_interleave(S)) ** 2).mean().sqrt()
        ),
        "The sum over copies is not divided by their number, S · R.": (
            (a.repeat_interleave(R) - b.repeat_interleave(S)).abs().sum()
        ),
        "The height between the distribution functions counts by the width of each step.": (
            rise.abs().mean()
        ),
        "That is the largest height between the distribution functions; the area is asked for.": (
            rise.abs().max()
        ),
        "Interpolated quantiles are close, but not it: the quantile function of draws is a staircase.": (
            (torch.quantile(f, levels) - torch.quantile(g, levels)).abs().mean()
        ),
    }
    trial.judge(got, want, mistakes, "The mean of |F⁻¹(u) − G⁻¹(u)| over u, with all draws of both sets.")


@exercise(
    "gain-from-two",
    points=3,
    hints=(
        "The error of a member is p − one-hot(y), (N, C). Products: sum over classes, mean over inputs.",
        "B: the mean of the two Brier scores. ρ: the product of the two members' errors, over B.",
        "e = p − one_hot; B = (e1·e1 + e2·e2)/2; rho = (e1·e2)/B; predicted = B (rho + (1 − rho)/M).",
    ),
)
def gain_from_two(answer: object, trial: Trial) -> None:
    """ρ and the Brier score of M members, against the average of two for M = 2, and the formula beyond."""
    N, C, M = trial.integer(30, 50), 3, trial.integer(5, 12)
    missing = trial.index % 2  # in every other trial no datum is of the last class
    common, y = trial.randn(N, C), trial.randint(0, C - missing, N)
    common[torch.arange(N), y] += 1.0
    p1, p2 = (
        (common + 0.5 * trial.randn(N, C)).softmax(-1),
        (common + 2 * trial.randn(N, C)).mul(3).softmax(-1),
    )
    one_hot = _one_hot(y, C)
    e1, e2 = p1 - one_hot, p2 - one_hot
    b1, b2 = e1.square().sum(-1).mean(), e2.square().sum(-1).mean()
    both = ((p1 + p2) / 2 - one_hot).square().sum(-1).mean()  # = (b1 + b2)/4 + product/2
    B = (b1 + b2) / 2
    product = 2 * both - B
    rho = product / B
    stops = (
        "The labels may lack the last class, as here: `one_hot(y)` then makes a column too few. Tell it the number of "
        "classes, p1.shape[-1]."
    )
    got = trial.call(answer, p1, p2, y, M, stops=stops if missing else "")
    got_rho, got = trial.parts(got, "rho", "Brier score")
    wrong1, wrong2 = ((p.argmax(-1) != y).double() for p in (p1, p2))
    mistakes = {
        "You correlated right and wrong labels; errors of probabilities are asked for.": (
            torch.corrcoef(torch.stack([wrong1, wrong2]))[0, 1]
        ),
        "That correlates the probabilities; subtract the one-hot labels first.": (
            (p1 * p2).sum(-1).mean() / ((p1 * p1).sum(-1).mean() + (p2 * p2).sum(-1).mean()) * 2
        ),
        "That is the product of the errors; ρ is its ratio to B.": product,
        "You divided by the Brier score of one member; B is the mean of both.": (product / b1, product / b2),
        "You divided by the root of the product of the two Brier scores, as Pearson does; B is their mean.": (
            product / (b1 * b2).sqrt()
        ),
        "ρ is upside down.": 1 / rho,
        "That is the Brier score of the average over B; with it you can compute ρ, but it is not it.": (
            both / B
        ),
    }
    trial.judge(
        got_rho, rho, mistakes, "ρ = mean over inputs of δ₁·δ₂, over B.", scale=0.1, what="rho", part=True
    )
    mistakes = {
        "That holds for two members; M are asked for.": both,
        "Errors that are independent would fall as 1/M; these share ρ.": B / M,
        "ρB is the limit of very many members; M are asked for.": rho * B,
        "The factor B is missing.": rho + (1 - rho) / M,
        "ρ and 1 − ρ are swapped: what is shared stays, what differs is divided by M.": (
            B * (1 - rho + rho / M)
        ),
        "That sums over the classes and averages over them, too: the Brier score sums over classes.": (
            B * (rho + (1 - rho) / M) / C
        ),
    }
    trial.judge(
        got, B * (rho + (1 - rho) / M), mistakes, "B [ρ + (1 − ρ)/M].", what="The Brier score", part=True
    )


@exercise(
    "bug-ensemble-std",
    points=2,
    hints=(
        "Run the cell with 4 and with 64 members. What should happen to the std of y, and what does?",
        "The law of total variance: mean of the variances, plus variance of the means. Check each term for both words.",
        "stds.square().mean(0) + means.var(0, correction=0), and nothing divided by M.",
    ),
)
def bug_ensemble_std(answer: object, trial: Trial) -> None:
    """Find the bugs: the mean of stds is squared, and the spread of the members is divided by their number."""
    M, N = trial.integer(4, 7), trial.integer(3, 6)
    means, stds = 2 * trial.randn(M, N), 0.2 + 2 * trial.rand(M, N)
    mean = means.mean(0)
    spread = means.square().mean(0) - mean.square()
    noise = stds.square().mean(0)
    want = (noise + spread).sqrt()
    squared_mean = stds.mean(0).square()
    got_mean, got = trial.parts(trial.call(answer, means, stds), "mean", "std")
    trial.expect_close(
        got_mean, mean, "The mean was right as it stood: the average of the means.", what="The mean"
    )
    shipped = (squared_mean + spread / M).sqrt()
    trial.unchanged_if_close(got, shipped)
    unbiased = spread * M / (M - 1)
    mistakes = {
        "The spread is right now; the noise is not: the mean of variances is more than the squared mean of stds.": (
            (squared_mean + spread).sqrt()
        ),
        "The noise is right now; but the spread is still divided by M: that is the error of the mean, which is what "
        "you would know if members were measurements of one truth.": (noise + spread / M).sqrt(),
        "The members' disagreement is missing: that is the noise alone.": noise.sqrt(),
        "That is the disagreement alone; y has noise on top.": spread.sqrt(),
        "Stds do not add up; variances do.": (stds.mean(0) + spread.sqrt(), noise.sqrt() + spread.sqrt()),
        "That is the variance; the std is asked for.": noise + spread,
        "The spread enters as a std; it must be squared to be added to a variance.": (
            (noise + spread.sqrt()).sqrt()
        ),
        "A mixture of M members is this one, not a sample of another: divide by M, not M − 1 (correction=0).": (
            (noise + unbiased).sqrt()
        ),
    }
    message = "√(mean of the variances + variance of the means), at each input."
    trial.judge(got, want, mistakes, message, what="The std")
