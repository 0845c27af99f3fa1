"""Checks of lesson 08: cold and tempered posteriors, telling them apart, few samples, and wrong noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ...exact.linear_regression import linear_regression
from .._machine import exercise
from .._trial import Trial
from . import REDRAWS, swapped


def _regression(trial: Trial, N: int, P: int) -> dict[str, object]:
    """Random data and scales for linear regression, as keyword arguments."""
    features = trial.randn(N, P)
    prior_std, noise_std = trial.uniform(0.5, 0.8), trial.uniform(1.1, 1.5)
    y = features @ (1.0 + 0.3 * trial.randn(P)) + 0.5 * trial.randn(N)
    return {"features": features, "y": y, "prior_std": prior_std, "noise_std": noise_std}


def _temperature(trial: Trial) -> float:
    """Below 1 and above 1 in turn."""
    return trial.uniform(0.2, 0.45) if trial.index % 2 == 0 else trial.uniform(2.0, 3.0)


@exercise(
    "tempered-posterior",
    points=3,
    hints=(
        "Divide the log likelihood by T, add the log prior, and collect what is quadratic and what is linear in w.",
        "Quadratic: precision = FᵀF / (T noise_std²) + I / prior_std², F the features. Linear: Fᵀy / (T noise_std²).",
        "covariance = inverse of A; mean = covariance @ features.T @ y / (T * noise_std**2).",
    ),
)
def tempered_posterior(answer: object, trial: Trial) -> None:
    """Mean and covariance, against `linear_regression`."""
    data = _regression(trial, trial.integer(5, 9), trial.integer(2, 4))
    features, y, prior_std, noise_std = data.values()
    T = _temperature(trial)

    def gaussian(weight: float, prior_precision: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The posterior with precision weight · FᵀF + prior_precision · I."""
        precision = weight * features.T @ features
        precision = precision + prior_precision * torch.eye(len(precision), dtype=precision.dtype)
        covariance = torch.linalg.inv(precision)
        return weight * covariance @ features.T @ y, covariance

    in_data, in_prior = 1 / noise_std**2, 1 / prior_std**2
    mean, covariance = trial.parts(
        trial.call(answer, features, y, prior_std, noise_std, T), "mean", "covariance"
    )
    want = linear_regression(**data, likelihood_temperature=T)
    mistakes = {
        "That is the cold posterior: its prior is divided by T, too. Here the prior counts in full.": (
            gaussian(in_data / T, in_prior / T)[1]
        ),
        "Temperature is upside down: at T = 1/2 every datum counts twice, not half.": (
            gaussian(in_data * T, in_prior)[1]
        ),
        "That tempers the prior and leaves the likelihood alone; it should be the other way round.": (
            gaussian(in_data, in_prior / T)[1]
        ),
        "T is squared: it multiplies the noise *variance*, not its standard deviation.": (
            gaussian(in_data / T**2, in_prior)[1]
        ),
        "T is missing: that is Bayes' posterior.": gaussian(in_data, in_prior)[1],
        "The noise enters by its variance, noise_std².": gaussian(1 / (noise_std * T), in_prior)[1],
        "The prior enters by its variance, prior_std².": gaussian(in_data / T, 1 / prior_std)[1],
        "That is the precision; its inverse is asked for.": torch.linalg.inv(want.covariance),
    }
    message = "The precision adds data / T and the prior."
    trial.judge(covariance, want.covariance, mistakes, message, what="The covariance")
    mistakes = {
        "The covariance is right; in the mean the data are not divided by T.": want.mean * T,
        "The covariance is right; in the mean the noise variance is missing.": want.mean * noise_std**2,
        "That is the mean of Bayes' posterior. It stays in the cold posterior, but not in the tempered one.": (
            gaussian(in_data, in_prior)[0]
        ),
    }
    message = "mean = covariance @ featuresᵀ y / (T noise_std²)."
    trial.judge(mean, want.mean, mistakes, message, what="The mean")


@exercise(
    "cold-from-tempered",
    points=1,
    hints=(
        "A Gaussian to the power 1/T is a Gaussian again. What is its standard deviation?",
        "N(0, a²)^(1/T) ∝ N(0, T a²).",
        "Call `tempered` with the same T and the prior std that you found.",
    ),
)
def cold_from_tempered(answer: object, trial: Trial) -> None:
    """The cold posterior through a function for the tempered one."""
    data = _regression(trial, trial.integer(5, 9), trial.integer(2, 4))
    features, y, prior_std, noise_std = data.values()
    T = _temperature(trial)

    def tempered(
        features: torch.Tensor, y: torch.Tensor, prior_std: float, noise_std: float, T: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        calls[0] += 1
        prior_std, noise_std, T = (float(value) for value in (prior_std, noise_std, T))
        found = linear_regression(
            features, y, prior_std=prior_std, noise_std=noise_std, likelihood_temperature=T
        )
        return found.mean, found.covariance

    calls = [0]
    got = trial.call(answer, tempered, features, y, prior_std, noise_std, T)
    mean, covariance = trial.parts(got, "mean", "covariance")
    called = calls[0]

    def covariance_of(prior_std: float, T: float) -> torch.Tensor:
        return tempered(features, y, prior_std, noise_std, T)[1]

    mistakes = {
        "The prior's *variance* is multiplied by T; its standard deviation gets the root.": (
            covariance_of(prior_std * T, T)
        ),
        "The prior gets narrower when it is cold: multiply, do not divide.": (
            covariance_of(prior_std / math.sqrt(T), T)
        ),
        "That is the tempered posterior with the old prior; the cold prior is another.": (
            covariance_of(prior_std, T)
        ),
        "The prior is right; the likelihood is tempered by T as well.": (
            covariance_of(prior_std * math.sqrt(T), 1.0)
        ),
        "T times the covariance of the *tempered* posterior: the data have been cooled twice, and the mean is off.": (
            T * covariance_of(prior_std, T)
        ),
    }
    cold = linear_regression(**data, temperature=T)
    message = "The cold covariance is T times Bayes'."
    trial.judge(covariance, cold.covariance, mistakes, message, what="The covariance")
    trial.expect_close(mean, cold.mean, "The cold mean is Bayes'.", what="The mean")
    trial.expect(called > 0, "Right, but by another way: use `tempered`, which was not called.")
    trial.expect(called == 1, f"Right, but `tempered` was called {called} times; once is enough.")


@exercise(
    "cold-or-tempered",
    points=4,
    trials=2,  # each has a cold and a tempered sampler; together T below and above 1
    hints=(
        "Narrow or wide says nothing: both are. Where would the mean of each be?",
        "Compute Bayes' posterior. Is the mean of the draws within a few standard errors of its mean? Then it is cold.",
        "Cold: the covariance is T times Bayes'. Tempered: try some 60 values of T on a logarithmic grid and take the "
        "one whose covariance, or mean, is nearest to that of the draws. (log_prob of all draws at once is as good.)",
    ),
)
def cold_or_tempered(answer: object, trial: Trial) -> None:
    """One cold and one tempered sampler, in random order, whose temperature is not told."""
    S = 4000
    for _ in range(REDRAWS):
        data = _regression(trial, 15, 3)
        T = trial.uniform(0.2, 0.45) if trial.index % 2 == 0 else trial.uniform(1.8, 2.6)
        bayes, tempered = linear_regression(**data), linear_regression(**data, likelihood_temperature=T)
        away = tempered.mean - bayes.mean
        if (away @ torch.linalg.solve(tempered.covariance, away)) ** 0.5 > 0.3:  # 19 standard errors
            break
    ratio = float(tempered.covariance.trace() / bayes.covariance.trace())
    kinds = ["cold", "tempered"]
    for kind in kinds if trial.integer(0, 1) else kinds[::-1]:
        posterior = linear_regression(
            **data, **{"temperature" if kind == "cold" else "likelihood_temperature": T}
        )
        draws = posterior.mean + trial.randn(S, 3) @ torch.linalg.cholesky(posterior.covariance).T
        got_kind, got_T = trial.parts(trial.call(answer, draws, *data.values()), "kind", "temperature")
        trial.expect(
            got_kind in kinds, f'The kind is "cold" or "tempered", and it comes first; yours is {got_kind!r}.'
        )
        if got_kind != kind:
            where = "is Bayes'" if kind == "cold" else "has left that of Bayes"
            trial.fail(
                f"A {kind} sampler was called {got_kind}. Do not go by the width: both are "
                f"{'narrow when T < 1' if T < 1 else 'wide when T > 1'}. Here the mean of the draws {where}."
            )
        number = float(trial.tensor(got_T, "The temperature").reshape(-1)[0])

        def near(other: float, number: float = number) -> bool:
            return abs(number / other - 1) < 0.1

        if near(1 / T):
            trial.fail("The kind is right; the temperature is upside down: T < 1 is narrower than Bayes.")
        if near(math.sqrt(T)):
            trial.fail("The kind is right; that is the root of T: variances are multiplied by T, not widths.")
        if near(T**2):
            trial.fail("The kind is right; that is T²: T multiplies the variance once.")
        if kind == "tempered" and near(ratio) and abs(ratio / T - 1) > 0.2:
            trial.fail(
                "The kind is right. But a *tempered* variance is not T times Bayes': its prior is not tempered."
            )
        if not abs(number / T - 1) < 0.15:
            trial.fail(
                f"The kind is right, but the temperature of the {kind} sampler is {T:.3f}; yours is {number:.3f} "
                "(15 % off is allowed)."
            )


@exercise(
    "upside-down",
    points=2,
    hints=(
        "Each sampler has its own posterior, narrow or wide. With what can you compare its width?",
        "Run each at two temperatures, for example 0.5 and 2. Whose draws get narrower when it gets hotter?",
        "ratio = sampler(2.0).std(0).mean() / sampler(0.5).std(0).mean(); the culprit's is below 1.",
    ),
    trials=8,  # one of three is right by chance
)
def upside_down(answer: object, trial: Trial) -> None:
    """Three samplers of different posteriors: one right, one that scales the std by T, one upside down."""
    D = trial.integer(3, 4)
    powers = {"right": 0.5, "squared": 1.0, "upside down": -0.5}
    names = [list(powers)[i] for i in torch.randperm(3, generator=trial.generator).tolist()]
    # the culprit's posterior is neither the narrowest nor the widest at any temperature from 1/4 to 4
    small, large = 0.02, 20.0
    scales = {"upside down": 1.0} | dict(
        zip(["right", "squared"], [small, large] if trial.index % 2 else [large, small], strict=True)
    )

    def sampler(name: str) -> Callable[[float], torch.Tensor]:
        centre, generator = (
            300 * trial.randn(D),
            trial.generator,
        )  # a std over all numbers would be that of these

        def draw(T: float, draws: int = 2000) -> torch.Tensor:
            if not T > 0:
                raise ValueError(f"A temperature is positive; this sampler was asked for {T}.")
            z = torch.randn(draws, D, generator=generator, dtype=torch.float64)
            return centre + scales[name] * float(T) ** powers[name] * z

        return draw

    got = trial.call(answer, [sampler(name) for name in names])
    index = trial.tensor(got)
    trial.expect(
        index.numel() == 1 and float(index) in (0.0, 1.0, 2.0),
        "Return the index of one sampler in the list: 0, 1 or 2.",
    )
    chosen = names[int(index)]
    if chosen == "upside down":
        return
    if chosen == "squared":
        trial.fail(
            "That one is too wide when hot and too narrow when cold (its std is multiplied by T instead of √T), "
            "but it does get wider with T. Look for the one that gets narrower. Compare each sampler with itself, "
            "dimension by dimension: their centres differ."
        )
    trial.fail(
        "That one has nothing wrong with it: its width grows as √T. Perhaps its posterior is just narrower or wider "
        "than the others'. Compare each sampler with itself at two temperatures, dimension by dimension: their centres "
        "differ."
    )


@exercise(
    "bug-two-temperatures",
    points=3,
    hints=(
        "Set T = 1, then T_lik = 1: then only one of the two mistakes is left at a time.",
        "The log posterior is log p(D|θ) / T_lik + log p(θ). Whose gradient is divided by what?",
        "Noise of variance eps · T has the standard deviation ... And at T_lik = 1/2 the data count twice.",
    ),
)
def bug_two_temperatures(answer: object, trial: Trial) -> None:
    """Find the bugs: the likelihood's temperature is upside down, and the noise has T where its root belongs."""
    D, eps = trial.integer(2, 4), trial.uniform(0.02, 0.3)
    T, T_lik = _temperature(trial), trial.uniform(0.5, 0.7) if trial.index % 3 else trial.uniform(1.4, 1.8)
    theta, prior, likelihood, noise = trial.randn(D), trial.randn(D), trial.randn(D), trial.randn(D)

    def step(gradient: torch.Tensor, scale: float, rate: float = 1.0) -> torch.Tensor:
        return theta + rate * eps / 2 * gradient + scale * noise

    right, root = likelihood / T_lik + prior, math.sqrt(eps * T)
    got = trial.call(answer, theta, prior, likelihood, eps, T, T_lik, noise)
    trial.unchanged_if_close(got, step(likelihood * T_lik + prior, T * math.sqrt(eps)))
    mistakes = {
        "The likelihood is right now, but the noise still has T where its root belongs.": (
            step(right, T * math.sqrt(eps))
        ),
        "The noise is right now, but the temperature of the likelihood is still upside down.": (
            step(likelihood * T_lik + prior, root)
        ),
        "The noise is upside down: a hotter sampler gets more noise.": step(right, math.sqrt(eps / T)),
        "T is missing from the noise.": step(right, math.sqrt(eps)),
        "T_lik divides the prior's gradient as well; tempering leaves the prior alone.": (
            step((likelihood + prior) / T_lik, root)
        ),
        "T_lik has moved to the prior.": step(likelihood + prior / T_lik, root),
        "T counts twice: it divides the gradient and multiplies the noise, and the sampler runs at T².": (
            step(right / T, root)
        ),
        "T_lik counts twice: in the gradient and in the noise.": step(right, math.sqrt(eps * T * T_lik)),
        "That is the variance of the noise; it needs the root as a factor.": step(right, eps * T),
        "A right sampler, but with the step size eps / T. Keep the drift, and give the noise the variance eps · T.": (
            step(right, math.sqrt(eps), 1 / T)
        ),
    }
    message = "theta + eps/2 · (likelihood / T_lik + prior) + noise of variance eps · T."
    trial.judge(got, step(right, root), mistakes, message)


@exercise(
    "score-of-few-samples",
    points=3,
    hints=(
        "Each of the J draws predicts N(y; f_j, noise_std²). What is averaged over j: densities, or their logs?",
        "f_j = mean + √T std z_j. First log densities (J, N), then the log of their mean over J, then the mean over N.",
        "torch.logsumexp(log_p, 0) - math.log(J), then .mean().",
    ),
)
def score_of_few_samples(answer: object, trial: Trial) -> None:
    """Log of the averaged density of J draws, against a loop over data."""
    J, N = trial.integer(3, 6), trial.integer(7, 10)
    mean, std, z = trial.randn(N), 0.4 + trial.rand(N), trial.randn(J, N)
    noise_std, T = trial.uniform(0.6, 1.2), _temperature(trial)
    y = mean + 1.5 * trial.randn(N)

    def log_p(f: torch.Tensor, noise_std: object = noise_std) -> torch.Tensor:
        return torch.distributions.Normal(f, noise_std).log_prob(y)

    def score(scale: object) -> torch.Tensor:
        return torch.stack([log_p(mean + scale * std * row).exp() for row in z]).mean(0).log().mean()

    f = mean + math.sqrt(T) * std * z
    got = trial.call(answer, mean, std, y, noise_std, T, z)
    mistakes = {
        "You averaged the logs. The prediction is the average of the densities; then comes the log.": (
            log_p(f).mean()
        ),
        "T multiplies the variance of f, so its std gets the root.": score(T),
        "T is missing: these are draws at T = 1.": score(1.0),
        "Temperature is upside down: cold draws (T < 1) lie closer to the mean.": score(1 / math.sqrt(T)),
        "That is the sum over the N data; the mean is asked for.": score(math.sqrt(T)) * N,
        "You averaged the functions and predicted with their mean: average the densities.": (
            log_p(f.mean(0)).mean()
        ),
        "The densities are summed over the draws, not averaged: − log J is missing.": (
            score(math.sqrt(T)) + math.log(J)
        ),
        "That is the log of a mean over draws *and* data: take the log for each datum first.": (
            log_p(f).exp().mean().log()
        ),
        "That is the score of the exact average; here there are J draws only.": (
            log_p(mean, (noise_std**2 + T * std**2).sqrt()).mean()
        ),
        "The sign is turned: that is a loss.": -score(math.sqrt(T)),
        "The spread of f counts twice: each draw predicts with the noise alone.": (
            torch.stack([log_p(row, (noise_std**2 + T * std**2).sqrt()).exp() for row in f])
            .mean(0)
            .log()
            .mean()
        ),
    }
    message = "Mean over data of the log of the mean over draws of N(y; mean + √T std z, noise_std²)."
    trial.judge(got, score(math.sqrt(T)), mistakes, message)
    underflows = (
        "Right for data near the draws. Where y lies far from all of them every density is too small for exp, and log "
        "0 is −inf: stay in logarithms (logsumexp over the draws, − log J)."
    )
    y = y + 60
    far = trial.tensor(trial.call(answer, mean, std, y, noise_std, T, z, stops=underflows))
    trial.expect(far.isfinite().all(), underflows)
    want = (torch.distributions.Normal(f, noise_std).log_prob(y).logsumexp(0) - math.log(J)).mean()
    trial.expect_close(far, want, underflows)


@exercise(
    "what-temperature-repairs",
    points=2,
    hints=(
        "Tempering by T turns noise_std into noise_std · √T, as far as the posterior is concerned. Solve for T.",
        "What does the prediction add to the spread of f? Still the noise that the model assumes.",
        "T = (true_std / assumed_std)²; tempered: √(f_std² + assumed_std²); repaired: √(f_std² + true_std²).",
    ),
)
def what_temperature_repairs(answer: object, trial: Trial) -> None:
    """The repairing temperature, and the predictive std with and without repaired noise."""
    assumed, true = trial.uniform(0.6, 0.9), trial.uniform(1.2, 2.0)
    if trial.index % 2:
        assumed, true = true, assumed
    f_std = 0.3 + trial.rand(trial.integer(3, 5))
    got = trial.parts(trial.call(answer, assumed, true, f_std), "temperature", "tempered std", "repaired std")
    T, ratio = (true / assumed) ** 2, true / assumed
    mistakes = {
        "The temperature is upside down: over-stated noise makes the data count too little, so T < 1.": (
            1 / T
        ),
        "T multiplies the noise *variance*: square the ratio.": ratio,
        "The ratio is upside down, and T needs its square.": 1 / ratio,
        "The root is taken where a square belongs.": math.sqrt(ratio),
        "T multiplies the noise variance: it is a ratio, not a difference, of variances.": true**2
        - assumed**2,
    }
    trial.judge(got[0], T, mistakes, "Solve assumed_std · √T = true_std.", what="The temperature")

    def total(noise: float) -> torch.Tensor:
        return (f_std**2 + noise**2).sqrt()

    if swapped(trial, got[1:], (total(assumed), total(true))):
        trial.fail("The two standard deviations are swapped: tempered first, then repaired.")

    def of_any_std(name: str, noise: float) -> dict[str, torch.Tensor]:
        return {
            f"{name}: Standard deviations do not add; their squares do.": f_std + noise,
            f"{name}: That is a variance; take its root.": total(noise) ** 2,
            f"{name}: The noise is missing: that is the spread of f, not of y.": f_std,
            f"{name}: That is the noise alone; f is uncertain as well.": torch.full_like(f_std, noise),
            f"{name}: You added a standard deviation to a variance: square the noise.": (
                f_std**2 + noise
            ).sqrt(),
            f"{name}: You added a standard deviation to a variance: square the spread of f.": (
                f_std + noise**2
            ).sqrt(),
            f"{name}: `f_std` is the spread in the tempered posterior already; T has no part in it here.": (
                (T * f_std**2 + noise**2).sqrt(),
                (f_std**2 / T + noise**2).sqrt(),
                (T * (f_std**2 + noise**2)).sqrt(),
                ((f_std**2 + noise**2) / T).sqrt(),
            ),
            f"{name}: The noise of y is multiplied or divided by T there; T acts on the posterior alone.": (
                (f_std**2 + noise**2 / T).sqrt(),
                (f_std**2 + (T * noise) ** 2).sqrt(),
                (f_std**2 + T * noise**2).sqrt(),
            ),
        }

    mistakes = {
        "The tempered std has the true noise in it, noise_std · √T. But T acts on the posterior; the prediction adds "
        "what is assumed.": total(true),
    } | of_any_std("The tempered std", assumed)
    message = "That is not what the tempered model predicts: the spread of f and the noise that it assumes."
    trial.judge(got[1], total(assumed), mistakes, message, what="The tempered std")
    mistakes = {
        "The repaired std still has the assumed noise; repaired means the true one.": total(assumed),
    } | of_any_std("The repaired std", true)
    message = "That is not what a model with the true noise predicts: the spread of f and the true noise."
    trial.judge(got[2], total(true), mistakes, message, what="The repaired std")


@exercise(
    "evidence-from-temperatures",
    points=3,
    hints=(
        "At each β, y − features w is Gaussian under the tempered posterior. What is the mean of its square?",
        "E|y − Fw|² = |y − F mean|² + trace(F covariance Fᵀ). The constant −N/2 log(2π noise_std²) belongs to it.",
        "Then torch.trapezoid(values, betas), with β = 0 standing for the prior.",
    ),
)
def evidence_from_temperatures(answer: object, trial: Trial) -> None:
    """Thermodynamic integration of exact expectations, against a loop, and so close to the closed form."""
    data = _regression(trial, trial.integer(4, 7), 2)
    features, y, prior_std, noise_std = data.values()
    betas = torch.cat(
        [torch.zeros(1).double(), 0.02 * trial.rand(2).sort().values, trial.rand(8).sort().values]
    )
    betas[3:] = 0.03 + 0.97 * betas[3:]
    betas[-1] = 1.0
    N, rows = len(y), []
    identity = torch.eye(2, dtype=torch.float64)
    for beta in betas.tolist():
        covariance = torch.linalg.inv(beta * features.T @ features / noise_std**2 + identity / prior_std**2)
        mean = beta * covariance @ features.T @ y / noise_std**2
        spread = ((features @ covariance) * features).sum()
        rows.append(torch.stack([(y - features @ mean).square().sum(), spread]))
    residual, spread = torch.stack(rows, 1)
    constant = -N / 2 * math.log(2 * math.pi * noise_std**2)
    expected = -(residual + spread) / (2 * noise_std**2)
    want = torch.trapezoid(expected, betas) + constant
    got = trial.call(answer, features, y, prior_std, noise_std, betas)
    mistakes = {
        "The spread of w is missing: that is the log likelihood of the mean, not the mean log likelihood.": (
            torch.trapezoid(-residual / (2 * noise_std**2), betas) + constant
        ),
        "The constant −N/2 log(2π noise_std²) is missing.": want - constant,
        "The inverse temperatures are not equally spaced: weigh each by its share (trapezoid).": (
            expected.mean() + constant
        ),
        "That is the mean log likelihood at β = 1, Bayes' posterior, alone; integrate over β.": (
            expected[-1] + constant
        ),
        "The spread enters with the wrong sign.": (
            torch.trapezoid(-(residual - spread) / (2 * noise_std**2), betas) + constant
        ),
        "That is the exact evidence, by its own formula. Here it is to come from the temperatures.": (
            linear_regression(**data).log_evidence
        ),
    }
    message = "The integral over β from 0 to 1 of the mean log likelihood at β, by the trapezoidal rule."
    trial.judge(got, want, mistakes, message)
