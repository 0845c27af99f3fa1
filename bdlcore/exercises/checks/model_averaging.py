"""Checks of lesson 01: the average as an integral, its parts, and the mistakes that are made with it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.distributions import Normal

from .._machine import exercise
from .._trial import Trial


@exercise(
    "average-densities",
    points=2,
    hints=(
        "Each of the S functions gives a Gaussian density of y. Are densities averaged, or their logarithms?",
        "log (1/S Σ exp(l_s)) = logsumexp(l) − log S, which does not underflow.",
        "Normal(f, noise_std).log_prob(y) has shape (S, N); take torch.logsumexp over axis 0.",
    ),
)
def average_densities(answer: object, trial: Trial) -> None:
    """log p(y|x,D) of a mixture of Gaussians."""
    f = trial.randn(trial.integer(5, 9), trial.integer(3, 6))
    y, noise_std = trial.randn(f.shape[1]), trial.uniform(0.2, 0.6)
    log_p = Normal(f, noise_std).log_prob(y)
    got = trial.call(answer, f, y, noise_std)
    mistakes = {
        "You averaged the log densities: that is the mean score of single functions, not the average's.": (
            log_p.mean(0)
        ),
        "You averaged the functions and plugged the mean in: its doubt is lost.": (
            Normal(f.mean(0), noise_std).log_prob(y)
        ),
        "You summed the densities; an average also divides by S (subtract log S).": log_p.logsumexp(0),
        "That is the density; its logarithm is asked for.": log_p.exp().mean(0),
        "The constant −½ log 2π of the Gaussian is missing.": _mixture(log_p) + math.log(2 * math.pi) / 2,
        "The factor 1 / noise_std of the Gaussian is missing.": _mixture(log_p) + math.log(noise_std),
        "The noise enters as a variance somewhere: `noise_std` is a standard deviation already.": (
            _mixture(Normal(f, noise_std**2).log_prob(y))
        ),
    }
    message = "log of the mean over functions of the Gaussian density of y."
    trial.judge(got, _mixture(log_p), mistakes, message)
    far = trial.call(answer, f, y + 50, noise_std)  # densities too small for exp()
    trial.expect(
        torch.isfinite(trial.tensor(far)).all(),
        "For a y far away the density underflows to 0 and its log is −inf. Stay in logarithms: use logsumexp.",
    )
    trial.expect_close(
        far, _mixture(Normal(f, noise_std).log_prob(y + 50)), "For a y far away the answer is off."
    )


def _mixture(log_p: torch.Tensor) -> torch.Tensor:
    return log_p.logsumexp(0) - math.log(len(log_p))


@exercise(
    "gaussian-posterior",
    points=3,
    hints=(
        "Precisions (inverse variances) add: what the data say plus what the prior says.",
        "precision = ΦᵀΦ / noise_std² + I / prior_std².",
        "mean = precision⁻¹ Φᵀy / noise_std².",
    ),
)
def gaussian_posterior(answer: object, trial: Trial) -> None:
    """Mean and covariance of Bayesian linear regression, against conditioning a joint Gaussian."""
    n, p = trial.integer(5, 8), trial.integer(2, 4)
    features, y = trial.randn(n, p), trial.randn(n)
    prior_std, noise_std = trial.uniform(0.5, 2.0), trial.uniform(0.2, 0.8)
    got_mean, got_cov = trial.parts(
        trial.call(answer, features, y, prior_std, noise_std), "mean", "covariance"
    )

    def solution(prior_variance: float, noise_variance: float) -> tuple[torch.Tensor, torch.Tensor]:
        # independent of the usual formula: condition the joint Gaussian of (w, y) on y
        gain = (
            prior_variance
            * features.T
            @ torch.linalg.inv(
                prior_variance * features @ features.T + noise_variance * torch.eye(n, dtype=torch.float64)
            )
        )
        return gain @ y, prior_variance * (torch.eye(p, dtype=torch.float64) - gain @ features)

    mean, covariance = solution(prior_std**2, noise_std**2)
    mistakes = {
        "That is least squares: the prior is missing.": (
            torch.linalg.lstsq(features, y[:, None]).solution[:, 0]
        ),
        "The noise enters as a standard deviation where its square belongs.": (
            solution(prior_std**2, noise_std)[0]
        ),
        "The prior enters as a standard deviation where its square belongs.": (
            solution(prior_std, noise_std**2)[0]
        ),
        "The mean lacks the factor 1 / noise_std²; the precision has it, and so must Φᵀy.": (
            mean * noise_std**2
        ),
    }
    trial.judge(
        got_mean, mean, mistakes, "Check mean = precision⁻¹ Φᵀy / noise_std².", what="The mean", part=True
    )
    mistakes = {"You returned the precision; the covariance is its inverse.": torch.linalg.inv(covariance)}
    trial.judge(
        got_cov, covariance, mistakes, "Check covariance = precision⁻¹.", what="The covariance", part=True
    )


@exercise(
    "split-variance",
    points=2,
    hints=(
        "Aleatoric: the average over networks of each network's noise *variance*.",
        "Epistemic: the variance over networks of their means.",
        "Return three standard deviations; only their squares add up.",
    ),
)
def split_variance(answer: object, trial: Trial) -> None:
    """Law of total variance when each network also predicts its own noise."""
    S, N = trial.integer(20, 40), trial.integer(3, 6)
    mean, noise_std = trial.randn(S, N), 0.2 + trial.rand(S, N)
    got = trial.parts(trial.call(answer, mean, noise_std), "aleatoric", "epistemic", "total")
    aleatoric, epistemic, total = (trial.tensor(part) for part in got)
    want_aleatoric = (noise_std**2).mean(0).sqrt()
    mistakes = {
        "You averaged standard deviations; average variances, then take the root.": noise_std.mean(0),
        "These are variances; standard deviations are asked for.": want_aleatoric**2,
        "Aleatoric and epistemic are swapped.": (mean.std(0), mean.std(0, correction=0)),
    }
    message = "Aleatoric: root of the average noise variance."
    trial.judge(aleatoric, want_aleatoric, mistakes, message, what="aleatoric", part=True)
    mistakes = {
        "Epistemic is the spread of the *means*, not of the noise levels.": noise_std.std(0),
        "That is the variance of the means; its root is asked for.": (mean.var(0), mean.var(0, correction=0)),
        "That is the error of the average, which falls with S; the spread itself is asked for.": (
            mean.std(0) / S**0.5
        ),
    }
    also = [mean.std(0, correction=0)]
    message = "Epistemic: the standard deviation over networks (axis 0) of their means."
    trial.judge(epistemic, mean.std(0), mistakes, message, also=also, what="epistemic", part=True)
    if trial.wrong:  # a total of wrong parts is no right one
        aleatoric, epistemic = want_aleatoric, mean.std(0)
    mistakes = {"Standard deviations do not add up; variances do.": aleatoric + epistemic}
    want = (aleatoric**2 + epistemic**2).sqrt()
    trial.judge(total, want, mistakes, "total² = aleatoric² + epistemic².", what="total", part=True)


@exercise(
    "mutual-information",
    points=2,
    hints=(
        "Total: entropy of the averaged probabilities. Aleatoric: average of the entropies. Epistemic: the difference.",
        "The entropy is −Σ p log p over the classes, the last axis.",
        "torch.special.entr(p) is −p log p, and gives 0 at p = 0.",
    ),
)
def mutual_information(answer: object, trial: Trial) -> None:
    """Epistemic entropy from probabilities (S, N, C)."""
    p = (2 * trial.randn(trial.integer(4, 8), trial.integer(3, 6), 3)).softmax(-1)

    def entropy(q: torch.Tensor) -> torch.Tensor:
        return torch.special.entr(q).sum(-1)

    total, aleatoric = entropy(p.mean(0)), entropy(p).mean(0)
    got = trial.call(answer, p)
    mistakes = {
        "That is the total entropy; take off what each network says about noise.": total,
        "That is the aleatoric part: the average entropy of single networks.": aleatoric,
        "The sign is wrong: it should never be negative. Total minus aleatoric.": aleatoric - total,
        "That is in bits; nats (natural logarithms) are asked for.": (total - aleatoric) / math.log(2),
        "You averaged logarithms (logits); probabilities are what is averaged.": (
            entropy(p.log().mean(0).softmax(-1)) - aleatoric
        ),
        "That is the mean over classes; an entropy is the sum over classes.": (total - aleatoric)
        / p.shape[-1],
        "You averaged over the inputs; return one number for each.": (total - aleatoric).mean(),
    }
    message = "H[mean over networks of p] − mean over networks of H[p]."
    trial.judge(got, total - aleatoric, mistakes, message, scale=1.0)
    sure = torch.zeros(2, 1, 3, dtype=torch.float64)
    sure[0, 0, 0] = sure[1, 0, 2] = 1.0
    trial.expect_close(
        trial.call(answer, sure),
        torch.full((1,), math.log(2), dtype=torch.float64),
        "Two networks that are each certain of another class: p log p at p = 0 counts as 0, not as NaN.",
    )


@exercise(
    "bug-coverage",
    points=2,
    trials=3,
    hints=(
        "Run it on a model that is right: no spread in f, only noise. What does it give, and what should it?",
        "What does the band have to hold: f, or y? And which numbers are standard deviations?",
        "There are two mistakes: one makes the band ignore something, the other is a unit.",
    ),
)
def bug_coverage(answer: object, trial: Trial) -> None:
    """Find the bugs: a 95 % band that forgets the noise, and uses a variance as a std."""
    # one share is a coarse number that two mistakes can have in common by chance; eight shares are not
    S, N, cases = 60, 150, []
    for _ in range(8):
        f = trial.uniform(0.5, 1.5) * trial.randn(S, 1) * (0.4 + trial.rand(1, N)) + trial.randn(1, N)
        noise_std = trial.uniform(0.3, 0.7)
        y, centre = f[0] + noise_std * trial.randn(N), f.mean(0)
        widths = [1.96 * (f.var(0, correction=c) + noise_std**2).sqrt() for c in (0, 1)]
        edge = torch.stack([((y - centre).abs() / width - 1).abs() < 1e-3 for width in widths]).any(0)
        cases.append(
            (f, torch.where(edge, centre, y), noise_std)
        )  # no point lies on an edge, within rounding

    def covered(
        half_width: Callable[[torch.Tensor, float], torch.Tensor], correction: int = 1
    ) -> torch.Tensor:
        inside = [
            (y - f.mean(0)).abs() < half_width(f.var(0, correction=correction), noise_std)
            for f, y, noise_std in cases
        ]
        return torch.stack(inside).double().mean(1)

    def total(spread: torch.Tensor, noise_std: float) -> torch.Tensor:
        return (spread + noise_std**2).sqrt()

    shares = [trial.tensor(trial.call(answer, *case)) for case in cases]
    trial.expect(all(s.numel() == 1 for s in shares), "One number is asked for: the share of points inside.")
    got = torch.stack([share.reshape(()) for share in shares])
    trial.unchanged_if_close(got, covered(lambda spread, noise_std: 1.96 * spread))
    mistakes = {
        "One bug is gone (a variance used as a std), but the band still forgets the noise in y.": (
            covered(lambda spread, noise_std: 1.96 * spread.sqrt())
        ),
        "The noise is in, but the half width is still a variance; take the root.": (
            covered(lambda spread, noise_std: 1.96 * (spread + noise_std**2))
        ),
        "The noise has to be squared before it is added to a variance.": (
            covered(lambda spread, noise_std: 1.96 * (spread + noise_std).sqrt())
        ),
        "Standard deviations do not add up; variances do.": (
            covered(lambda spread, noise_std: 1.96 * (spread.sqrt() + noise_std))
        ),
        "A band of one standard deviation holds 68 %; keep the factor 1.96.": covered(total),
    }
    right = [
        covered(lambda spread, noise_std, k=k: k * total(spread, noise_std), correction)
        for k in (1.96, 1.959964, 2.0)
        for correction in (0, 1)
    ]
    message = "That is not the share of y inside mean ± 1.96 total standard deviations."
    trial.judge(got, right[0], mistakes, message, also=right[1:], rtol=1e-5)


@exercise(
    "average-over-degrees",
    points=3,
    hints=(
        "Bayes' rule for models: p(degree | D) ∝ p(D | degree) p(degree), with equal prior for each degree.",
        "Log evidences are large negative numbers: subtract the largest before exp, or use softmax.",
        "The averaged density is Σ_k p(degree k | D) · p_k(y); the answer is its logarithm.",
    ),
)
def average_over_degrees(answer: object, trial: Trial) -> None:
    """Model average over K models by evidence."""
    K, N = trial.integer(3, 5), trial.integer(4, 7)
    evidence = -900 + 3 * trial.randn(K)
    log_p = trial.randn(K, N) - 2
    weights = evidence.softmax(0)
    want = (weights.log()[:, None] + log_p).logsumexp(0)
    got = trial.call(answer, evidence, log_p)
    numbers = trial.tensor(got)
    if not torch.isfinite(numbers).all():
        trial.fail(
            "exp(−900) underflows to 0: normalise in logarithms (softmax, or subtract the largest first)."
        )
    mistakes = {
        "You chose the degree of highest evidence; average over all of them.": log_p[evidence.argmax()],
        "All degrees count alike here; weight them by their evidence.": _mixture(log_p),
        "You averaged log densities; average densities, then take the log.": weights @ log_p,
        "The weights do not sum to 1: divide by the total evidence.": (
            (evidence[:, None] + log_p).logsumexp(0)
        ),
    }
    message = "log Σ_k p(k | D) p_k(y), with p(k | D) the softmax of the log evidences."
    trial.judge(got, want, mistakes, message)
    underflows = (
        "Right for ordinary densities. Far from the data all of them are too small for exp, and log 0 is −inf: stay in "
        "logarithms to the end (logsumexp of log weight + log density)."
    )
    far = trial.tensor(trial.call(answer, evidence, log_p - 800, stops=underflows))
    trial.expect(torch.isfinite(far).all(), underflows)
    trial.expect_close(far + 800, want, underflows)
