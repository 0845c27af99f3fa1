"""Checks of lesson 09: curves over temperature, agreed labels, counting augmented data, and which draws to trust."""

from __future__ import annotations

import math

import torch

from ...inference import convergence as diagnostics
from .._machine import exercise
from .._trial import Trial
from . import REDRAWS


@exercise(
    "score-of-j-draws",
    points=1,
    hints=(
        "Each group of J draws makes one prediction: the average of its J probabilities.",
        "So within a group: exp, mean, log. Then the mean over groups and over data.",
        "log_p[: S // J * J].unflatten(0, (-1, J)).logsumexp(1) - log(J), then its mean.",
    ),
)
def score_of_j_draws(answer: object, trial: Trial) -> None:
    """Expected test log likelihood of averages of J draws, by a loop over groups."""
    J, groups, N = trial.integer(2, 5), trial.integer(2, 4), trial.integer(3, 6)
    log_p = (
        -trial.randn(J * groups, N).abs() - 4 * torch.linspace(0, 1, J * groups)[:, None]
    )  # later draws are worse
    got = trial.call(answer, log_p, J)
    p = log_p.exp().view(groups, J, N)
    want = p.mean(1).log().mean()
    mistakes = {
        "You averaged log probabilities: then J does not matter. Average probabilities, then take the log.": (
            log_p.mean()
        ),
        "You averaged all draws at once. Only J draws make a prediction; score each group by itself.": (
            p.mean((0, 1)).log().mean()
        ),
        "You summed the J probabilities of a group; their average is less by the factor J.": (
            p.sum(1).log().mean()
        ),
        "The groups hold every so many-th draw; a group is J draws that stand together: 0 … J - 1, and so on.": (
            log_p.view(J, groups, N).exp().mean(0).log().mean()
        ),
        "The log comes before the mean over data, not after it.": p.mean(1).mean().log(),
        "That is the score of the first group alone; average over all groups.": p[0].mean(0).log().mean(),
    }
    message = "That is not the mean over groups and data of the log of the average probability."
    trial.judge(got, want, mistakes, message)
    underflows = (
        "Right for ordinary probabilities. Below about −745 exp gives 0, and log 0 is −inf: stay in logarithms "
        "(logsumexp over the draws of a group, − log J)."
    )
    far = trial.tensor(trial.call(answer, log_p - 1000, J, stops=underflows))
    trial.expect(far.isfinite().all(), underflows)
    trial.expect_close(far + 1000, want, underflows, rtol=1e-3, scale=1.0)  # 1000 and single precision


@exercise(
    "best-temperature",
    points=2,
    hints=(
        "Do it for one seed first: find the best temperature, take it and its two neighbours.",
        "Fit s = c0 + c1 t + c2 t² with t = log10 T to three points; its top is at t = -c1 / (2 c2).",
        "numpy.polyfit(t, s, 2) returns c2, c1, c0. Then the mean of the tops, and their std(n - 1) / √n.",
    ),
)
def best_temperature(answer: object, trial: Trial) -> None:
    """Mean and standard error over seeds of the log10 of the best temperature."""
    for _ in range(REDRAWS):  # until enough seeds have their top inside
        n, K = trial.integer(4, 7), trial.integer(6, 9)
        t = (0.25 + 0.35 * trial.rand(K)).cumsum(0) - 2.2
        where = trial.randint(1, K - 1, n)
        tops = t[where] + 0.1 * (trial.rand(n) - 0.5)
        width, away = 0.5 + trial.rand(n, 1), t - tops[:, None]
        scores = trial.randn(n, 1) - width * away.square() - 0.05 * width * away.abs().pow(3)
        top = scores.argmax(1)
        scores = scores[(top > 0) & (top < K - 1)]
        n = len(scores)
        if n >= 3:
            break
    got_mean, got_error = trial.parts(trial.call(answer, 10**t, scores), "the mean", "the standard error")

    def parabola(T: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        i = int(s.argmax())
        rows = torch.stack([T[i - 1 : i + 2] ** 2, T[i - 1 : i + 2], torch.ones(3, dtype=T.dtype)], 1)
        c2, c1, _ = torch.linalg.solve(rows, s[i - 1 : i + 2])
        return -c1 / (2 * c2)

    best = torch.stack([parabola(t, s) for s in scores])
    linear = torch.stack([parabola(10**t, s) for s in scores]).clamp_min(1e-9).log10()
    mistakes = {
        "You took the best of the given temperatures; the top of the parabola lies between them.": (
            t[scores.argmax(1)].mean()
        ),
        "Your parabola is one in T; make it one in log10 T.": linear.mean(),
        "That is the natural logarithm; log10 is asked for.": best.mean() * math.log(10),
        "Those are temperatures; average their log10.": (10**best).mean(),
        "The top is at -c1 / (2 c2); the sign is lost.": -best.mean(),
    }
    mean_curve = scores.mean(0)
    if 0 < int(mean_curve.argmax()) < K - 1:
        mistakes |= {
            "That is the top of the mean curve. Find the top seed by seed: only then can you tell its uncertainty.": (
                parabola(t, mean_curve)
            ),
        }
    message = "That is not the mean of the tops."
    trial.judge(got_mean, best.mean(), mistakes, message, scale=1.0, what="The mean", part=True)
    error = best.std() / n**0.5
    mistakes = {
        "That is the spread over seeds; the mean's standard error is less by √n.": best.std(),
        "Divide by n - 1 in the standard deviation: the mean was estimated from the same seeds.": (
            best.std(correction=0) / n**0.5
        ),
        "You divided by n; the standard error divides the standard deviation by √n.": best.std() / n,
    }
    trial.judge(
        got_error, error, mistakes, "That is not std / √n of the tops.", what="The standard error", part=True
    )


@exercise(
    "paired-gain",
    points=1,
    hints=(
        "Some data sets are hard at every temperature. Compare temperatures on the same seed.",
        "First subtract, seed by seed, the score at T = 1. Then mean and std / √n over seeds.",
        "gain = scores - scores[:, one:one + 1]",
    ),
)
def paired_gain(answer: object, trial: Trial) -> None:
    """Paired differences to T = 1 with their standard errors."""
    n, K = trial.integer(4, 8), trial.integer(4, 7)
    one = trial.integer(0, K - 1)
    scores = 2 * trial.randn(n, 1) + 0.2 * trial.randn(n, K)
    got_mean, got_error = trial.parts(trial.call(answer, scores, one), "the mean gain", "its standard error")
    gain = scores - scores[:, one : one + 1]
    mistakes = {
        "The sign is turned round: a gain is the score less that at T = 1.": -gain.mean(0),
        "Those are the scores; subtract the score at T = 1.": scores.mean(0),
    }
    message = "The mean gain is the mean over seeds."
    trial.judge(got_mean, gain.mean(0), mistakes, message, what="The mean gain", part=True)
    unpaired = ((scores.var(0) + scores[:, one : one + 1].var(0)) / n).sqrt()
    mistakes = {
        "You added the variances of two columns, as if the seeds of one had nothing to do with the other's. Take the "
        "differences first: what makes a seed hard cancels.": unpaired,
        "That is the error of the scores themselves; what a hard seed adds to all of them cancels in differences.": (
            scores.std(0) / n**0.5
        ),
        "That is the spread over seeds; the standard error is less by √n.": gain.std(0),
        "Divide by n - 1 in the standard deviation, not by n.": gain.std(0, correction=0) / n**0.5,
    }
    message = "It is std / √n of the gains."
    trial.judge(got_error, gain.std(0) / n**0.5, mistakes, message, what="The standard error", part=True)


@exercise(
    "agreed-labels",
    points=2,
    hints=(
        "All S annotators say c with probability p_c to the power S.",
        "They agree on something: the sum of that over c. Given that they agree, divide by it.",
        "power = p ** S; return power.sum(-1), power / power.sum(-1, keepdim=True)",
    ),
)
def agreed_labels(answer: object, trial: Trial) -> None:
    """How probable is agreement of S annotators, and each label given agreement."""
    N, C, S = trial.integer(2, 5), trial.integer(3, 5), trial.integer(2, 5)
    p = (1.5 * trial.randn(N, C)).softmax(-1)
    got_kept, got_label = trial.parts(
        trial.call(answer, p, S), "the probability of agreement", "those of the labels"
    )
    # brute force over what all annotators say
    joint = p.unsqueeze(-1)
    for _ in range(S - 1):
        joint = joint * p.unsqueeze(-1)
    power = joint.squeeze(-1)
    kept = power.sum(-1)
    label = power / kept[:, None]
    got_shape = tuple(trial.tensor(got_kept).shape)
    if got_shape == (N, C) and trial.is_close(got_kept, label):
        trial.fail("Both are there, in the wrong order: return the probability of agreement first.")
    mistakes = {
        "That is agreement on the most probable label; they may agree on any of them.": power.amax(-1),
        "That is for two annotators; there are S.": p.pow(2).sum(-1),
        "It is 1 only if you normalise first; sum before you divide.": torch.ones(N),
    }
    message = "They agree if all say label 0, or all say label 1, …: add these up."
    trial.judge(got_kept, kept, mistakes, message, what="Agreement", part=True)
    mistakes = {
        "Those are the probabilities to agree on c. *Given* agreement, divide by their sum.": power,
        "That is what a single annotator says: multiplying by S and normalising changes nothing.": p,
        "The power is S, not 1/S: agreement makes probabilities sharper. (1/S is the temperature.)": (
            p.pow(1 / S) / p.pow(1 / S).sum(-1, keepdim=True)
        ),
        "softmax takes logits: it is softmax(S log p), not softmax(S p).": (S * p).softmax(-1),
    }
    message = "That is not p^S over its sum."
    trial.judge(got_label, label, mistakes, message, what="The probabilities of labels", part=True)


@exercise(
    "data-per-image",
    points=1,
    hints=(
        "Write down what stands before the log likelihood of a single view: 1/T if views are summed.",
        "An image has K views. Summed at temperature T they weigh K/T in all.",
        "Averaged: K views of weight 1/(K T) each, in all 1/T.",
    ),
)
def data_per_image(answer: object, trial: Trial) -> None:
    """The total weight of an image's likelihood terms."""
    K, T = trial.integer(2, 9), trial.uniform(0.05, 0.8)
    for how, want, other in [("sum", K / T, 1 / T), ("mean", 1 / T, K / T)]:
        got = trial.call(answer, K, T, how)
        mistakes = {
            f'For how = "{how}" that is the other one: summing counts each of the K views.': other,
            "Dividing by a low temperature makes data count *more*: divide by T.": K * T,
            "A low temperature makes data count more: divide by T.": T,
            "That is upside down: a summed image counts more with more views.": T / K,
            "That is the weight of one view; an image has K of them.": 1 / (K * T),
            "Where is T? The likelihood is raised to the power 1/T.": K if how == "sum" else 1,
        }
        message = f'For how = "{how}" the weights of the K views do not add up to that.'
        trial.judge(got, want, mistakes, message)


@exercise(
    "bug-augmented-count",
    points=2,
    hints=(
        "Give it all images at once, and views that are all the same. What should come out? What does?",
        "With B = N the estimate must be the sum over images, plus log prior, over T. Which factor is too many?",
        "The sum has B times K terms; together they must weigh as much as all images, so each weighs images / (B K).",
    ),
)
def bug_augmented_count(answer: object, trial: Trial) -> None:
    """Find the bug: every view of an image counts as an image."""
    B, K, T = trial.integer(3, 6), trial.integer(2, 5), trial.uniform(0.1, 0.7)
    more = trial.integer(2, 5)
    images = B * (more if more != K else K + 1)  # so that no two mistakes give the same number
    log_p, log_prior = -trial.randn(B, K).abs(), -trial.uniform(5, 20)
    got = trial.call(answer, log_p, log_prior, images, T)
    mean = log_p.mean()
    trial.unchanged_if_close(got, (images * K * mean + log_prior) / T)
    mistakes = {
        "Now the minibatch stands for itself alone; it must stand for all images.": (
            (B * mean + log_prior) / T
        ),
        "The count is right, but now the prior is not divided by T: that is a tempered posterior; a cold one is "
        "asked for.": images * mean / T + log_prior,
        "The count is right, but the temperature is gone.": images * mean + log_prior,
        "Now all images count as one. The mean must be multiplied by their number.": (mean + log_prior) / T,
        "Now every image counts as a K-th of one: the mean over views has divided by K already.": (
            (images / K * mean + log_prior) / T
        ),
    }
    message = "With averaged views each image counts once: images times the mean, plus log prior, all over T."
    trial.judge(got, (images * mean + log_prior) / T, mistakes, message)


@exercise(
    "bug-langevin-temperature",
    points=2,
    hints=(
        "On a standard normal the draws' variance should be T. Which power of T is it?",
        "A drift of ∇ log p / T with noise √ε has temperature T. So has ∇ log p with √(ε T). And both?",
        "The text divides nothing by T: drift eps / 2 · gradient, noise √(eps T).",
    ),
)
def bug_langevin_temperature(answer: object, trial: Trial) -> None:
    """Find the bug: the temperature enters the drift and the noise."""
    S, D = trial.integer(2, 4), trial.integer(2, 4)
    eps, T, k = trial.uniform(0.05, 0.3), trial.uniform(0.05, 0.5), trial.uniform(0.5, 2.0)
    theta, noise = trial.randn(S, D), trial.randn(S, D)

    def gradient(theta: torch.Tensor) -> torch.Tensor:
        return -k * theta

    drift = eps / 2 * gradient(theta)
    got = trial.call(answer, gradient, theta, noise, eps, T)
    trial.unchanged_if_close(got, theta + drift / T + math.sqrt(eps * T) * noise)
    mistakes = {
        "That has the right temperature, at a step 1/T times as long: too long for a cold posterior. Leave the "
        "gradient as it is, as in the formula.": drift / T + math.sqrt(eps) * noise,
        "Now T is nowhere: that is the posterior itself.": drift + math.sqrt(eps) * noise,
        "The noise's *variance* is eps times T, so T stands under the root.": (
            drift + T * math.sqrt(eps) * noise
        ),
        "That is the variance of the noise; multiply by its root.": drift + eps * T * noise,
        "Upside down: a cold posterior is narrower, so its walk needs less noise.": (
            drift + math.sqrt(eps / T) * noise
        ),
        "Multiplying the drift by T undoes what the noise does.": drift * T + math.sqrt(eps * T) * noise,
    }
    mistakes = {message: theta + step for message, step in mistakes.items()}
    want = theta + drift + math.sqrt(eps * T) * noise
    trial.judge(got, want, mistakes, "The step is not that of the formula in the text.")


@exercise(
    "temperatures-to-trust",
    points=2,
    hints=(
        "R-hat compares the chains of one temperature with one another: a loop over temperatures.",
        "bdl.rhat(f[i]) has a value per input. All must be small: the largest decides.",
        "torch.stack([bdl.rhat(values).max() for values in f]) < limit",
    ),
)
def temperatures_to_trust(answer: object, trial: Trial) -> None:
    """Whether chains of each temperature agree at all inputs."""
    chains, draws, N, limit = 4, 60, 3, 1.2
    f = trial.randn(7, chains, draws, N)  # temperatures 0 and 1 have mixed; each other has a fault of its own
    f[2, [1, 3], :, trial.integer(0, N - 1)] += 6  # at one input
    f[3, [1, 3]] += 6  # at all inputs, one chain in either half
    f[4, [1, 3], :, trial.integer(0, N - 1)] += 2  # a little, at one input
    f[5, 2:] += 6  # the second half of the chains
    f[6, :, draws // 2 :] += 6  # all chains drift
    f = f + 20 * torch.arange(7)[:, None, None, None]
    f = f[torch.randperm(7, generator=trial.generator)]
    got = trial.call(answer, f, limit)

    def trusted(values: torch.Tensor) -> torch.Tensor:
        return (values < limit).double()

    each = torch.stack([diagnostics.rhat(values) for values in f])  # (T, N)
    want = trusted(each.amax(1))
    joined = torch.stack([diagnostics.rhat(values.flatten(0, 1)[None]) for values in f]).amax(1)
    first = torch.stack([diagnostics.rhat(values[:1]) for values in f]).amax(1)
    numbers = trial.tensor(got)
    trial.expect_shape(numbers, (7,), "One answer per temperature is asked for.")
    trial.expect(
        bool(((numbers == 0) | (numbers == 1)).all()),
        "Answer True or False for each temperature, not R-hat itself.",
    )
    mistakes = {
        "That is the other way round: True says that chains agree, R-hat below the limit.": 1 - want,
        "The mean over inputs hides one bad input; the largest R-hat decides.": trusted(each.mean(1)),
        "One good input does not help; the worst one decides.": trusted(each.amin(1)),
        "You trust none. Did you pool the temperatures? They *should* differ: compare chains of the same one.": (
            torch.zeros(7)
        ),
        "That looks at one chain only; a chain that sits elsewhere cannot be seen so.": trusted(first),
        "You joined the chains to one; R-hat has to know which draws belong to which chain.": trusted(joined),
    }
    message = "A temperature can be trusted where its largest R-hat is below the limit."
    trial.judge(numbers, want, mistakes, message)
