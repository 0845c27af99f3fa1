"""Checks of lesson 02: steps of samplers, the width of approximations, temperature, and whether chains have mixed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ...inference import convergence as diagnostics
from .._machine import exercise
from .._trial import Trial
from . import REDRAWS


@exercise(
    "leapfrog-step",
    points=2,
    hints=(
        "Three moves: half a kick to the momentum, a whole drift of theta, half a kick to the momentum.",
        "The drift uses the momentum after the first half kick; the second half kick the gradient at the new theta.",
        "p = p + eps/2 · gradient(theta);  theta = theta + eps · p;  p = p + eps/2 · gradient(theta).",
    ),
)
def leapfrog_step(answer: object, trial: Trial) -> None:
    """One leapfrog step, against the velocity Verlet form."""
    S, D, k = trial.integer(2, 5), trial.integer(2, 4), trial.uniform(0.5, 2.0)
    theta, momentum, eps = trial.randn(S, D), trial.randn(S, D), trial.uniform(0.2, 0.4)

    def gradient(theta: torch.Tensor) -> torch.Tensor:
        return -k * theta - theta**3

    start = gradient(theta)
    new = theta + eps * momentum + eps**2 / 2 * start
    end = momentum + eps / 2 * (start + gradient(new))
    downhill = theta + eps * momentum - eps**2 / 2 * start
    kicked, drifted = momentum + eps * start, theta + eps * momentum
    twice = theta + eps * kicked
    got_theta, got_momentum = trial.parts(
        trial.call(answer, gradient, theta, momentum, eps), "theta", "momentum"
    )

    mistakes = {  # theta, then the momentum
        "Both are right, in the wrong order: return theta first, then the momentum.": [end, new],
        "Both moves start from the old values (Euler's method): its energy only grows.": [drifted, kicked],
        "That is one whole kick, then the drift; split the kick in two halves around it.": [twice, kicked],
        "That is the drift, then one whole kick; split the kick in two halves around it.": [
            drifted,
            momentum + eps * gradient(drifted),
        ],
        "The second half kick uses the old gradient; compute it anew where theta has arrived.": [new, kicked],
        "The second half kick of the momentum is missing.": [new, momentum + eps / 2 * start],
        "The kicks are whole ones; each of the two counts half: eps / 2.": [
            twice,
            kicked + eps * gradient(twice),
        ],
        "The kicks have the wrong sign: `gradient` is that of the log density, which pulls towards high density.": [
            downhill,
            momentum - eps / 2 * (start + gradient(downhill)),
        ],
        "The momentum has its sign flipped; return it as it is at the end of the step.": [new, -end],
    }
    trial.reject_mistakes([got_theta, got_momentum], [new, end], mistakes)
    message = "theta moves by eps times the momentum after the first half kick."
    trial.expect_close(got_theta, new, message, what="theta")
    message = "The momentum gets half a kick before the drift and half a kick after it."
    trial.expect_close(got_momentum, end, message, what="The momentum")


@exercise(
    "bug-metropolis",
    points=2,
    hints=(
        "How many draws come back for T jumps, and how many should?",
        "A rejected proposal means: the chain stays where it is. That is one more draw of that place.",
        "In the branch of a rejection, make the current state the next state instead of skipping the draw.",
    ),
)
def bug_metropolis(answer: object, trial: Trial) -> None:
    """Find the bug: rejected proposals are not recorded."""
    T, width = trial.integer(30, 40), trial.uniform(0.7, 1.3)
    first = trial.index % 2  # in every other trial the very first proposal is rejected, too

    def log_p(theta: torch.Tensor) -> torch.Tensor:
        return -0.5 * (theta / width).square().sum()

    def metropolis_rule(new: torch.Tensor, old: torch.Tensor, u: float) -> bool:
        return math.log(u) < float(log_p(new) - log_p(old))

    def chain(accept: Callable = metropolis_rule, kept: str = "state", home: bool = False) -> torch.Tensor:
        theta, draws = start, []
        for jump, u in zip(jumps, uniforms.tolist()):
            before, proposal = theta, theta + jump
            accepted = accept(proposal, theta, u)
            theta = proposal if accepted else start if home else theta
            if accepted or kept != "accepted":
                draws.append({"proposal": proposal, "before": before}.get(kept, theta))
        return torch.stack(draws) if draws else torch.empty(0, 2)

    for _ in range(REDRAWS):  # until no two rules of acceptance make the same chain
        start, jumps, uniforms = (
            0.3 * trial.randn(2),
            1.5 * trial.randn(T, 2),
            0.01 + 0.98 * trial.rand(T),
        )
        jumps[0] += 20 * first
        jumps[first], uniforms[first] = 0.1 * trial.randn(2), 0.01
        jumps[first + 1] += 20
        want = chain()
        upside_down = chain(lambda new, old, u: not metropolis_rule(new, old, u))
        uphill = chain(lambda new, old, u: bool(log_p(new) > log_p(old)))
        no_logarithm = chain(lambda new, old, u: u < float(log_p(new) - log_p(old)))
        if len({tuple(c.flatten().tolist()) for c in (want, upside_down, uphill, no_logarithm)}) == 4:
            break
    got = trial.call(answer, log_p, start, jumps, uniforms)
    trial.unchanged_if_close(got, chain(kept="accepted"))
    mistakes = {
        "You recorded the proposals, rejected ones as well; record where the chain is.": (
            chain(kept="proposal")
        ),
        "After a rejection the chain goes back to its start; it should stay where it was.": (
            chain(home=True)
        ),
        "The draws lag by one: record the state after the decision, not before it.": chain(kept="before"),
        "The start is not a draw: T jumps make T draws.": torch.cat([start[None], want]),
        "The decision is upside down now: log u must lie *below* the gain in log density.": upside_down,
        "Only steps uphill are accepted now: that is an optimiser, not a sampler.": uphill,
        "Everything is accepted now: that is a random walk, which knows nothing of the density.": (
            start + jumps.cumsum(0)
        ),
        "u is compared with the gain in *log* density: take its logarithm, or exp of the gain.": no_logarithm,
        "Every row is the last state: one tensor, changed in place, is in the list T times. Append a copy.": (
            want[-1:].expand_as(want)
        ),
    }
    trial.reject_mistakes(got, want, mistakes)
    shape = tuple(trial.tensor(got).shape)
    trial.expect(
        shape[:1] == (T,), f"{T} jumps should make {T} draws, one each; yours has the shape {shape}."
    )
    message = "An accepted proposal is the next state; after a rejection the same state again."
    trial.expect_close(got, want, message)


@exercise(
    "bug-sgld",
    points=2,
    hints=(
        "Try a minibatch that is all the data (n = N): then only one of the two mistakes is left.",
        "The log likelihood is a sum over N data. What does a sum over n of them have to be multiplied by?",
        "After many steps, variances add up: noise of variance eps needs a factor of ... in front of N(0, 1) numbers.",
    ),
)
def bug_sgld(answer: object, trial: Trial) -> None:
    """Find the bugs: the minibatch counts as all the data, and the noise is scaled by its variance."""
    D, n = trial.integer(2, 4), trial.integer(3, 6)
    N, eps = trial.integer(40, 90), trial.uniform(0.02, 0.3)  # N > n²: no two mistakes coincide
    theta, prior, data, noise = trial.randn(D), trial.randn(D), trial.randn(n, D), trial.randn(D)

    def step(gradient: torch.Tensor, scale: float = math.sqrt(eps), rate: float = eps / 2) -> torch.Tensor:
        return theta + rate * gradient + scale * noise

    right = prior + data.sum(0) * N / n
    got = trial.call(answer, theta, prior, data, N, eps, noise)
    trial.unchanged_if_close(got, step(prior + data.sum(0), eps))

    def either(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """With the right noise and with that of the code as handed out."""
        return step(gradient), step(gradient, eps)

    mistakes = {
        "The data count rightly now, but the noise is still too small: eps is its variance.": step(
            right, eps
        ),
        "Noise sqrt(2 eps) goes with a drift of eps · gradient; here the drift is eps / 2.": (
            step(right, math.sqrt(2 * eps))
        ),
        "The noise is half as wide as it should be: the 1/2 of the drift does not apply to it.": (
            step(right, math.sqrt(eps) / 2)
        ),
        "The noise has variance eps / 2; it should be eps, twice the factor of the drift.": (
            step(right, math.sqrt(eps / 2))
        ),
        "A right step, but with twice the step size: the drift asked for is eps / 2.": (
            step(right, math.sqrt(2 * eps), eps)
        ),
        "The noise is right now, but n data still count as if they were all N.": either(prior + data.sum(0)),
        "The prior is scaled as well; it is there once, however large the minibatch.": (
            either((prior + data.sum(0)) * N / n)
        ),
        "The mean over a minibatch counts as one datum; there are N of them.": either(prior + data.mean(0)),
        "The ratio is upside down: a minibatch has to stand for more data than it holds.": (
            either(prior + data.sum(0) * n / N)
        ),
        "The *sum* over the minibatch times N counts the data n times too often.": (
            either(prior + data.sum(0) * N)
        ),
        "The drift goes downhill: the gradients are those of log densities.": either(-right),
    }
    message = "theta + eps/2 · (estimate of the whole gradient) + noise of variance eps."
    trial.judge(got, step(right), mistakes, message)


@exercise(
    "mean-field-width",
    points=2,
    hints=(
        "Write down KL(q ‖ p), or −ELBO, for a diagonal Gaussian q as a function of its variances v: two terms have v.",
        "It is ½ Σ_i (A_ii v_i − log v_i) + constant, where A is the inverse of the covariance. Where is its minimum?",
        "v_i = 1 / A_ii. In two dimensions with correlation ρ the ratio is 1 − ρ².",
    ),
)
def mean_field_width(answer: object, trial: Trial) -> None:
    """Variances of the best independent Gaussian, against conditional variances."""
    D = trial.integer(2, 4)
    root = trial.randn(D, D) + 0.7 * torch.eye(D, dtype=torch.float64)
    covariance = root @ root.T + 0.2 * torch.eye(D, dtype=torch.float64)
    true, rest = covariance.diagonal(), ~torch.eye(D, dtype=torch.bool)
    # the variance of one weight when all others are known
    want = torch.stack(
        [
            true[i]
            - covariance[i, rest[i]]
            @ torch.linalg.solve(covariance[rest[i]][:, rest[i]], covariance[rest[i], i])
            for i in range(D)
        ]
    )
    variance, ratio = trial.parts(trial.call(answer, covariance), "variance", "ratio")
    mistakes = {
        "These are the true marginal variances. KL(q ‖ p) punishes q for leaving p, so q is narrower.": (
            true
        ),
        "These are precisions; a variance is one over them.": 1 / want,
        "These are standard deviations; variances are asked for.": want.sqrt(),
        "You inverted each variance by itself; the precision is the inverse of the whole matrix.": 1 / true,
    }
    trial.judge(
        variance,
        want,
        mistakes,
        "Minimise KL(q ‖ p) over the variances of q.",
        what="The variance",
        part=True,
    )
    mistakes = {
        "The ratio is upside down: mean field's variance over the true one.": true / want,
        "That is the ratio of standard deviations; of variances is asked for.": (want / true).sqrt(),
    }
    message = "Mean field's variance over the true variance of each weight."
    trial.judge(ratio, want / true, mistakes, message, what="The ratio", part=True)


@exercise(
    "elbo",
    points=3,
    hints=(
        "First make the S settings: theta = mean + std · z, one row per row of z, with std = exp(log_std).",
        "Then two terms: the average of log_joint(theta) over the rows, plus the entropy of q.",
        "log_joint(mean + log_std.exp() * z).mean() + (log_std + math.log(2 * math.pi * math.e) / 2).sum()",
    ),
)
def elbo(answer: object, trial: Trial) -> None:
    """The evidence lower bound, its value and its gradient, against torch's Normal and a written-out gradient."""
    S, D = trial.integer(4, 8), trial.integer(2, 4)
    curvature, mean, log_std, z = (
        trial.rand(D) + 0.5,
        trial.randn(D),
        0.3 * trial.randn(D) - 0.7,
        trial.randn(S, D),
    )
    offset = trial.uniform(2.0, 4.0)

    def log_joint(theta: torch.Tensor) -> torch.Tensor:
        return offset - (curvature * theta**2).sum(-1) / 2 - (theta**4).sum(-1) / 4

    std = log_std.exp()
    theta = mean + std * z
    entropy, energy = torch.distributions.Normal(mean, std).entropy().sum(), log_joint(theta)
    constant = D / 2 * math.log(2 * math.pi * math.e)
    want = energy.mean() + entropy
    slope = -curvature * theta - theta**3
    want_gradient = [slope.mean(0), (slope * z).mean(0) * std + 1]

    mean.requires_grad_(), log_std.requires_grad_()
    got = trial.call(answer, log_joint, mean, log_std, z)
    halved = log_joint(mean.detach() + (log_std.detach() / 2).exp() * z).mean()
    mistakes = {
        "The entropy of q is missing: without it q shrinks to a point, the MAP.": energy.mean(),
        "The entropy is subtracted; the bound is higher for a wide q.": energy.mean() - entropy,
        "You summed over the S rows; an expectation is their mean.": energy.sum() + entropy,
        "The entropy is counted once per row; it belongs to q and counts once.": energy.mean() + S * entropy,
        "The entropy lacks its constants, D/2 · log(2πe): the gradient is right, the bound is not.": (
            want - constant
        ),
        "log_std holds log standard deviations; you read them as log variances.": (
            halved + entropy - log_std.sum() / 2
        ),
        "log_std is the logarithm of the standard deviations: exp is missing in front of z.": (
            log_joint(mean.detach() + log_std.detach() * z).mean() + entropy
        ),
        "theta = mean + std · z: your rows do not use z.": log_joint(mean[None]).mean() + entropy,
        "You averaged probabilities; the bound averages the *log* joint density.": (
            energy.exp().mean().log() + entropy
        ),
        "log_std holds log standard deviations; your rows read them as log variances.": halved + entropy,
    }
    message = "The mean of the log joint over the rows, plus the entropy of q."
    trial.judge(got, want, mistakes, message, what="The ELBO")
    message = (
        "The value is right, but its gradient with respect to mean and log_std is not: stay with torch from start to "
        "end, without .item(), .detach() or no_grad. That is what reparameterising is for."
    )
    trial.expect_gradient(got, [mean, log_std], want_gradient, message)


@exercise(
    "bug-swag-sample",
    points=3,
    hints=(
        "A standard normal number is multiplied by something with the unit of a weight. Check each factor's unit.",
        "`rank` is how many deviations *may* be kept. Early in a run there are fewer. Which number do you divide by?",
        "The first factor needs a square root; the second counts the rows of `deviations`, not `rank`.",
    ),
)
def bug_swag_sample(answer: object, trial: Trial) -> None:
    """Find the bugs: variance for std, and the largest possible rank for the number collected."""
    S, P, K = trial.integer(3, 6), trial.integer(3, 5), trial.integer(4, 6)
    rank = K + trial.integer(3, 5)  # never 1 + (K − 1)²: no two mistakes coincide
    mean, variance, deviations = trial.randn(P), 0.1 + 2 * trial.rand(P), trial.randn(K, P)
    z1, z2 = trial.randn(S, P), trial.randn(S, K)

    def sample(scale: torch.Tensor, count: float, halves: float = 2.0) -> torch.Tensor:
        return mean + scale * z1 / math.sqrt(halves) + z2 @ deviations / math.sqrt(halves * count)

    std = variance.sqrt()
    got = trial.call(answer, mean, variance, deviations, rank, z1, z2)
    trial.unchanged_if_close(got, sample(variance, rank - 1))
    mistakes = {
        "The std is right now, but the low-rank part is divided by what *could* have been collected.": (
            sample(std, rank - 1)
        ),
        "The count is right now, but the diagonal part is still scaled by a variance.": (
            sample(variance, K - 1)
        ),
        "K deviations from their own mean have K − 1 degrees of freedom: divide by K − 1.": sample(std, K),
        "Without the factors 1/√2 the two parts have twice the variance together: each counts half.": (
            sample(std, K - 1, halves=1.0)
        ),
        "Each part has half the *variance*: its factor is 1/√2, not 1/2.": (
            mean + std * z1 / 2 + z2 @ deviations / (2 * math.sqrt(K - 1))
        ),
        "The low-rank part is divided by K − 1 itself: it needs the root, like every scale.": (
            mean + std * z1 / math.sqrt(2) + z2 @ deviations / (math.sqrt(2) * (K - 1))
        ),
    }
    trial.judge(got, sample(std, K - 1), mistakes, "mean + √variance z1/√2 + (z2 · deviations)/√(2 (K − 1)).")


@exercise(
    "two-temperatures",
    points=3,
    hints=(
        "Divide the exponents of Gaussians by T: what happens to 1 / (2 noise_std²), and what to 1 / (2 prior_std²)?",
        "Precision of the data: N / noise_std², of the prior: 1 / prior_std². Cold: both over T. Tempered: the first.",
        "Mean = (precision of the data · average of y) / (sum of the two precisions); std = 1 / root of that sum.",
    ),
)
def two_temperatures(answer: object, trial: Trial) -> None:
    """Cold and tempered posterior of a mean, against brute force on a grid."""
    y = trial.uniform(0.5, 1.5) + trial.randn(trial.integer(3, 6))
    prior_std, noise_std = trial.uniform(0.5, 1.5), trial.uniform(0.8, 1.5)
    T = trial.uniform(0.25, 0.6) if trial.index % 2 == 0 else trial.uniform(1.8, 3.0)
    grid = torch.linspace(-20, 20, 20001, dtype=torch.float64)
    log_prior = -0.5 * (grid / prior_std) ** 2
    log_likelihood = -0.5 * ((y[:, None] - grid) / noise_std).square().sum(0)

    def moments(of_likelihood: float, of_prior: float) -> tuple[torch.Tensor, torch.Tensor]:
        p = (of_likelihood * log_likelihood + of_prior * log_prior).softmax(0)
        mean = p @ grid
        return mean, (p @ (grid - mean) ** 2).sqrt()

    names = "cold mean", "cold std", "tempered mean", "tempered std"
    got = trial.parts(trial.call(answer, y, prior_std, noise_std, T), *names)
    bayes, cold, tempered = moments(1, 1), moments(1 / T, 1 / T), moments(1 / T, 1)
    only_likelihood = (
        "Only the likelihood is divided by T there; the cold posterior divides the prior's log as well."
    )
    numbers = torch.stack([trial.tensor(part).reshape(-1)[:1] for part in got])[:, 0]
    if trial.is_close(numbers, torch.stack([*tempered, *cold])):
        trial.fail("The two are swapped: cold first, then tempered.")
    data, prior = len(y) / noise_std**2, 1 / prior_std**2
    linear = len(y) / noise_std
    mistakes = {
        "That is the average of y; the prior pulls the mean towards 0.": y.mean(),
        only_likelihood: tempered[0],
        "The data come in as N times their sum: take Σ y / noise_std², or N / noise_std² times the average.": (
            data * y.sum() / (data + prior)
        ),
        "The data come in as their average alone, as if there were one: their sum counts, N times that.": (
            y.mean() / noise_std**2 / (data + prior)
        ),
        "The noise enters by its *variance*, noise_std².": (
            linear * y.mean() / (linear + prior),
            linear * y.mean() / (data + prior),
            data * y.mean() / (linear + prior),
        ),
        "The prior enters by its *variance*, prior_std².": data * y.mean() / (data + 1 / prior_std),
        "The prior pulls the mean towards 0 with precision 1 / prior_std², not prior_std².": (
            data * y.mean() / (data + prior_std**2)
        ),
        "The N data count as one: their precisions add up to N / noise_std².": (
            y.mean() / noise_std**2 / (1 / noise_std**2 + prior),
            y.sum() / noise_std**2 / (1 / noise_std**2 + prior),
        ),
        "That is not divided by the sum of the two precisions.": data * y.mean(),
    }
    message = "That is not the mean of Bayes' posterior, from which the cold one does not move."
    trial.judge(got[0], cold[0], mistakes, message, what="The cold mean")
    mistakes = {
        "Temperature is upside down: T < 1 is colder, so it makes the posterior narrower.": (
            moments(T, T)[1]
        ),
        "T multiplies the variance; the standard deviation gets its root.": bayes[1] * T,
        "That is the variance; a standard deviation is asked for.": cold[1] ** 2,
        "T is missing from the cold std: that is Bayes' own.": bayes[1],
        only_likelihood: tempered[1],
        "That is a precision; a standard deviation is asked for.": cold[1] ** -2,
        "The noise enters by its *variance*, noise_std².": (T / (linear + prior)) ** 0.5,
    }
    trial.judge(got[1], cold[1], mistakes, "The cold precision is Bayes' divided by T.", what="The cold std")
    only_prior = moments(1, 1 / T)
    for message, (mean, std) in {
        "Temperature is upside down in the tempered posterior: 1/T copies of the data, not T.": moments(T, 1),
        "The tempered posterior tempers the likelihood only; there the prior counts in full.": cold,
        "There the prior is tempered, and the likelihood is not; it should be the other way round.": (
            only_prior
        ),
    }.items():
        if trial.is_close(got[2], mean) and trial.is_close(got[3], std):
            trial.fail(message)
    trial.expect_close(
        got[2], tempered[0], "The data's precision over T, the prior's in full.", what="The tempered mean"
    )
    mistakes = {
        "That is the tempered variance; a standard deviation is asked for.": tempered[1] ** 2,
        "T multiplies the whole tempered variance there; the prior's part of it is not tempered.": cold[1],
    }
    message = "The data's precision over T, the prior's in full."
    trial.judge(got[3], tempered[1], mistakes, message, what="The tempered std")


@exercise(
    "split-rhat",
    points=3,
    hints=(
        "Cut first: from (chains, draws) make (2 · chains, draws / 2), the first and the second half of every chain.",
        "W: the variance of each half (divisor n − 1), averaged. B: the variance of the halves' means.",
        "torch.cat([values[:, :n], values[:, n:]]) cuts; .var(1).mean() is W and .mean(1).var() is B.",
    ),
)
def split_rhat(answer: object, trial: Trial) -> None:
    """Plain split R-hat, against a loop."""
    chains, n = 2 * trial.integer(2, 3), trial.integer(13, 18)  # n > 2 chains: no two mistakes coincide
    drift = torch.linspace(-1, 1, 2 * n, dtype=torch.float64) * trial.uniform(0.5, 2.0)
    values = trial.randn(chains, 2 * n) + trial.randn(chains, 1) + drift

    def parts(rows: torch.Tensor, correction: int = 1) -> tuple[torch.Tensor, torch.Tensor, int]:
        return (
            rows.var(1, correction=correction).mean(),
            rows.mean(1).var(correction=correction),
            rows.shape[1],
        )

    def combine(W: torch.Tensor, B: torch.Tensor, n: int) -> torch.Tensor:
        return (((n - 1) / n * W + B) / W).sqrt()

    halves = torch.stack([half for chain in values for half in chain.split(n)])
    W, B, _ = parts(halves)
    want = combine(W, B, n)
    got = trial.call(answer, values)
    alternate = torch.cat([values[:, ::2], values[:, 1::2]])
    transposed = torch.cat([values.T[:, : chains // 2], values.T[:, chains // 2 :]])
    ranked, mean_std = diagnostics.rhat(values), halves.std(1).mean()
    mistakes = {
        "The chains are not cut in halves: chains that all drift together would look mixed.": (
            combine(*parts(values))
        ),
        "You took every other draw; halves are the first and the second in time.": combine(*parts(alternate)),
        "The axes are swapped: rows are chains, columns are draws.": combine(*parts(transposed)),
        "The variances have divisor n here; the formula has n − 1.": combine(*parts(halves, 0)),
        "B is the variance of the means already; do not divide it by n.": combine(W, B / n, n),
        "B is n times too large: it is the variance of the means itself.": combine(W, B * n, n),
        "W is the average of variances, not of standard deviations.": combine(mean_std, B, n),
        "W is the average of variances; you squared the average of standard deviations.": (
            combine(mean_std**2, B, n)
        ),
        "The factor (n − 1)/n counts draws of a half, n, not those of a whole chain.": combine(W, B, 2 * n),
        "The square root is missing.": want**2,
        "The factor (n − 1)/n of W is missing.": (1 + B / W).sqrt(),
        "That is the variance of all draws pooled, over W; W and B enter apart.": (halves.var() / W).sqrt(),
        "That is upside down: R-hat is large where chains disagree.": 1 / want,
        "That is the rank-normalised version of the package; the plain one is asked for.": ranked,
    }
    trial.judge(got, want, mistakes, "√(((n − 1)/n · W + B) / W), with W and B of the halves.")
