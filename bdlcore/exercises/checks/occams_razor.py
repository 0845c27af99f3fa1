"""Checks of lesson 05: the evidence by drawing, by Cholesky, by prediction; its bugs; what it chooses."""

from __future__ import annotations

import math

import torch

from .._machine import exercise
from .._trial import Trial

LOG_2PI = math.log(2 * math.pi)


def _log_normal(y: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """log N(y; 0, covariance), by torch's own distribution."""
    zero = torch.zeros_like(y)
    return torch.distributions.MultivariateNormal(
        zero, covariance_matrix=covariance, validate_args=False
    ).log_prob(y)


def _kernel_matrix(trial: Trial, n: int) -> torch.Tensor:
    """A positive definite matrix (n, n) of a smooth kernel and a little of its own."""
    x = 3 * trial.rand(n)
    return trial.uniform(0.8, 2.5) * torch.exp(-(x[:, None] - x).square()) + 0.01 * torch.eye(
        n, dtype=x.dtype
    )


@exercise(
    "evidence-by-drawing",
    points=1,
    hints=(
        "Each draw has one likelihood of all data: a product over the data, so a sum of logs over n.",
        "Then average over the draws: log (1/S) Σ exp(log likelihood). Only that average is over S.",
        "torch.logsumexp(each, 0) - math.log(S), with each = Normal(f, noise_std).log_prob(y).sum(1).",
    ),
)
def evidence_by_drawing(answer: object, trial: Trial) -> None:
    """Log of the average likelihood, against a sum in shifted logs; every other trial underflows in plain numbers."""
    S, small = trial.integer(5, 9), trial.index % 2 == 0
    N = trial.integer(3, 6) if small else trial.integer(80, 90)
    noise_std = trial.uniform(0.4, 0.7) if small else trial.uniform(0.05, 0.1)
    y = trial.randn(N)
    f = y + 0.7 * trial.randn(S, N)
    log_p = -0.5 * ((y - f) / noise_std) ** 2 - math.log(noise_std) - 0.5 * LOG_2PI
    each = log_p.sum(1)
    want = each.max() + (each - each.max()).exp().mean().log()
    got = trial.call(answer, f, y, noise_std)
    if not small:
        value = trial.tensor(got)
        trial.expect(
            bool(torch.isfinite(value).all()),
            "For many data the likelihoods are too small for a floating-point number, and the log of 0 is −inf. "
            "Stay with logs: torch.logsumexp.",
        )
    narrow = -0.5 * (y - f) ** 2 / noise_std - 0.5 * math.log(noise_std) - 0.5 * LOG_2PI
    mistakes = {
        "You averaged log likelihoods; the evidence is an average of likelihoods, and then the log.": (
            each.mean()
        ),
        "The sum over the draws is not divided by their number S.": each.logsumexp(0),
        "You averaged over draws for each datum first; a draw must explain all data together.": (
            (log_p.logsumexp(0) - math.log(S)).sum()
        ),
        "You averaged the functions first: that is the likelihood of one function, the prior mean.": (
            (-0.5 * ((y - f.mean(0)) / noise_std) ** 2 - math.log(noise_std) - 0.5 * LOG_2PI).sum()
        ),
        "That is per datum; the likelihood of a data set is a product over its data.": want / N,
        "You took the mean over the data inside; the log likelihood is their sum.": (
            log_p.mean(1).logsumexp(0) - math.log(S)
        ),
        "noise_std is a standard deviation; you used it as the variance.": (
            narrow.sum(1).logsumexp(0) - math.log(S)
        ),
        "That is the best draw's likelihood; the average over all is asked for.": each.max(),
        "The constant −½ log 2π of each datum is missing.": want + N * LOG_2PI / 2,
    }
    trial.judge(got, want, mistakes, "log of (1/S) Σ_s Π_n N(y_n; f_sn, noise_std²).")


@exercise(
    "gp-evidence",
    points=2,
    hints=(
        "y is Gaussian with mean 0 and covariance A = K + noise_std² I. Write down its log density: three terms.",
        "With A = L Lᵀ: yᵀA⁻¹y = zᵀz for L z = y, and log|A| = 2 Σ log L_nn.",
        "L = torch.linalg.cholesky(A); z = torch.linalg.solve_triangular(L, y[:, None], upper=False).",
    ),
)
def gp_evidence(answer: object, trial: Trial) -> None:
    """The closed form, against torch's multivariate normal."""
    N, noise_std = trial.integer(4, 8), trial.uniform(0.3, 0.7)
    K, y = _kernel_matrix(trial, N), trial.randn(N)
    eye = torch.eye(N, dtype=y.dtype)
    A = K + noise_std**2 * eye
    want, log_det, constant = _log_normal(y, A), torch.logdet(A), N * LOG_2PI / 2
    fit = -0.5 * y @ torch.linalg.solve(A, y)
    got = trial.call(answer, K, y, noise_std)
    mistakes = {
        "noise_std is a standard deviation: K + noise_std² I.": _log_normal(y, K + noise_std * eye),
        "The noise is missing: y has the covariance K + noise_std² I, f alone has K.": _log_normal(y, K),
        "The log determinant lacks its factor ½.": fit - log_det - constant,
        "The log determinant enters twice too little: ½ log|A| is Σ log L_nn, without another ½.": (
            fit - log_det / 4 - constant
        ),
        "The log determinant is missing: that is only the fit.": fit - constant,
        "The log determinant has the wrong sign: a larger volume costs evidence.": (
            fit + 0.5 * log_det - constant
        ),
        "The constant N/2 · log 2π is missing.": want + constant,
        "The constant is there once for each datum: N/2 · log 2π.": want + constant - LOG_2PI / 2,
        "The fit lacks its factor ½.": 2 * fit - 0.5 * log_det - constant,
        "That is the negative of it.": -want,
        "That is per datum; the log evidence of all data is asked for.": want / N,
        "y must be divided by L once, L z = y, and then squared: zᵀz is yᵀA⁻¹y.": (
            -0.5 * torch.linalg.solve(A, y).square().sum() - 0.5 * log_det - constant
        ),
    }
    trial.judge(got, want, mistakes, "−½ yᵀA⁻¹y − ½ log|A| − N/2 · log 2π, with A = K + noise_std² I.")


@exercise(
    "conditional-evidence",
    points=2,
    hints=(
        "log p(later | first) = log p(first and later) − log p(first): two evidences.",
        "The evidence of the first m data needs the first m rows and columns of K.",
        "Or from one factor of all data: sum −½ z_n² − log L_nn − ½ log 2π over n = m, …, N − 1 only.",
    ),
)
def conditional_evidence(answer: object, trial: Trial) -> None:
    """log p(y_m+1..N | y_1..m), against the conditional Gaussian itself."""
    N, noise_std = trial.integer(6, 9), trial.uniform(0.3, 0.7)
    m = trial.integer(2, N - 2)
    if 2 * m == N:
        m -= 1
    K, y = _kernel_matrix(trial, N), trial.randn(N)
    A = K + noise_std**2 * torch.eye(N, dtype=y.dtype)
    gain = torch.linalg.solve(A[:m, :m], A[:m, m:])
    mean, covariance = gain.T @ y[:m], A[m:, m:] - gain.T @ A[:m, m:]
    want = _log_normal(y[m:] - mean, covariance)
    variance = covariance.diagonal()
    one_by_one = torch.distributions.Normal(mean, variance.sqrt()).log_prob(y[m:]).sum()
    got = trial.call(answer, K, y, noise_std, m)
    whole, first = _log_normal(y, A), _log_normal(y[:m], A[:m, :m])
    mistakes = {
        "That is the evidence of all data; the first m are given.": whole,
        "That is the evidence of the first m data; of the others, given those, is asked for.": first,
        "That is the evidence of the later data alone: the model has not seen the first m.": (
            _log_normal(y[m:], A[m:, m:])
        ),
        "Each later datum is predicted from the first m only; it may learn from the later ones before it, too.": (
            one_by_one
        ),
        "The sign is turned around: all data minus the first m.": first - whole,
        "The roles are swapped: that is the first m given the others.": (
            whole - _log_normal(y[m:], A[m:, m:])
        ),
        "The noise is missing in the prediction of the later data.": (
            _log_normal(y[m:] - mean, covariance - noise_std**2 * torch.eye(N - m, dtype=y.dtype))
        ),
        "That is per datum; the sum is asked for.": want / (N - m),
        "noise_std is a standard deviation: K + noise_std² I.": (
            _log_normal(y, K + noise_std * torch.eye(N, dtype=y.dtype))
            - _log_normal(y[:m], (K + noise_std * torch.eye(N, dtype=y.dtype))[:m, :m])
        ),
        "Off by one: y[:m] are the first m data, and y[m] is the first later one.": (
            whole - _log_normal(y[: m + 1], A[: m + 1, : m + 1])
        ),
    }
    trial.judge(got, want, mistakes, "log p(all) − log p(first m).")


@exercise(
    "bug-laplace-evidence",
    points=2,
    hints=(
        "The cell below compares with the closed form. Which terms depend on prior_std, and how?",
        "Precision adds up: features give FᵀF / noise_std², and the prior? It is narrow when prior_std is small.",
        "The prior is a density over D weights: its constant log(prior_std √(2π)) is there D times.",
    ),
)
def bug_laplace_evidence(answer: object, trial: Trial) -> None:
    """Find the bugs: prior variance as if it were a precision, and the prior's constant for one dimension only."""
    N, D = trial.integer(6, 9), trial.integer(2, 4)
    noise_std, prior_std = trial.uniform(0.3, 0.7), trial.uniform(1.4, 2.5)
    F, y = trial.randn(N, D), trial.randn(N)
    eye = torch.eye(D, dtype=y.dtype)
    want = _log_normal(y, prior_std**2 * F @ F.T + noise_std**2 * torch.eye(N, dtype=y.dtype))

    def shipped(precision: float = prior_std**2, dims: int = 1, half: float = 0.5, twice: int = D) -> object:
        H = F.T @ F / noise_std**2 + precision * eye
        w = torch.linalg.solve(H, F.T @ y / noise_std**2)
        log_likelihood = -0.5 * ((y - F @ w) / noise_std).square().sum() - N * (
            math.log(noise_std) + LOG_2PI / 2
        )
        log_prior = -0.5 * (w / prior_std).square().sum() - dims * (math.log(prior_std) + LOG_2PI / 2)
        return log_likelihood + log_prior + twice / 2 * LOG_2PI - half * torch.logdet(H)

    got = trial.call(answer, F, y, prior_std, noise_std)
    trial.unchanged_if_close(got, shipped())
    right = prior_std**-2
    mistakes = {
        "The curvature is right now, but the prior's constant is still counted for one weight; there are D.": (
            shipped(right)
        ),
        "The prior's constant is right now, but the curvature still adds the prior *variance* to a precision.": (
            shipped(dims=D)
        ),
        "The prior adds 1 / prior_std² to the curvature; you added 1 / prior_std.": (
            shipped(1 / prior_std, D)
        ),
        "The prior's constant is gone altogether; it is there D times.": shipped(right, 0),
        "Both mistakes are repaired, but ½ log|H| has lost its ½.": shipped(right, D, 1.0),
        "Both mistakes are repaired, but the constant D/2 · log 2π of the Gaussian integral is gone.": (
            shipped(right, D, twice=0)
        ),
        "Both mistakes are repaired, but D/2 · log 2π counts one weight now.": shipped(right, D, twice=1),
        "Both mistakes are repaired, but the sign of ½ log|H| is turned: a wide posterior has a *small* H.": (
            shipped(right, D, -0.5)
        ),
        "That is per datum; the log evidence of all data is asked for.": want / N,
    }
    message = "log p(y|w*) + log p(w*) + D/2 · log 2π − ½ log|H|, H the precision of w."
    trial.judge(got, want, mistakes, message)


@exercise(
    "choose-prior-std",
    points=2,
    hints=(
        "For one prior_std, y is Gaussian with mean 0. What is its covariance, (N, N)?",
        "y = F w + noise: covariance prior_std² F Fᵀ + noise_std² I. Compute its log density for each prior_std.",
        "bdl.linear_regression(features, y, prior_std=..., noise_std=...).log_evidence gives it, too.",
    ),
)
def choose_prior_std(answer: object, trial: Trial) -> None:
    """The prior std with the largest evidence, against densities of y."""
    N, D, noise_std = trial.integer(12, 16), trial.integer(5, 7), trial.uniform(0.3, 0.5)
    F = trial.randn(N, D)
    true_std = trial.uniform(0.3, 1.5)
    y = F @ (true_std * trial.randn(D)) + noise_std * trial.randn(N)
    stds = 1.07 * torch.logspace(-1.5, 1.0, 13, dtype=y.dtype)
    stds = stds[torch.randperm(len(stds), generator=trial.generator)]  # in no order
    identity = noise_std**2 * torch.eye(N, dtype=y.dtype)
    want = torch.stack([_log_normal(y, s**2 * F @ F.T + identity) for s in stds])
    best, evidence = trial.parts(trial.call(answer, F, y, stds, noise_std), "best", "evidence")

    def at_mode(with_prior: bool) -> torch.Tensor:
        rows = []
        for s in stds:
            H = F.T @ F / noise_std**2 + torch.eye(D, dtype=y.dtype) / s**2
            w = torch.linalg.solve(H, F.T @ y / noise_std**2)
            log_p = torch.distributions.Normal(F @ w, noise_std).log_prob(y).sum()
            rows.append(log_p + with_prior * torch.distributions.Normal(torch.zeros(()), s).log_prob(w).sum())
        return torch.stack(rows)

    mistakes = {
        "That is the log likelihood at the best weights: it always prefers the widest prior. Integrate over w.": (
            at_mode(False)
        ),
        "That is the log joint density at the mode; its volume is missing (−½ log|H| + D/2 log 2π).": (
            at_mode(True)
        ),
        "prior_std is a standard deviation: prior_std² F Fᵀ.": (
            torch.stack([_log_normal(y, s * F @ F.T + identity) for s in stds])
        ),
        "noise_std is a standard deviation: noise_std² on the diagonal.": (
            torch.stack([_log_normal(y, s**2 * F @ F.T + identity / noise_std) for s in stds])
        ),
        "That is per datum; the log evidence of all data is asked for.": want / N,
        "That is the negative of the log evidence.": -want,
    }
    message = "log N(y; 0, prior_std² F Fᵀ + noise_std² I)."
    trial.judge(
        evidence, want, mistakes, message, rtol=1e-3, what="The evidence"
    )  # fine for single precision
    mistakes = {
        "Return the standard deviation itself, not its place in the list.": want.argmax(),
        "That is the prior with the *smallest* evidence.": stds[want.argmin()],
        "That is the largest evidence; return the prior std that has it.": want.max(),
    }
    message = "The prior std with the largest evidence."
    trial.judge(best, stds[want.argmax()], mistakes, message, what="The best")


def _label_shares(labels: torch.Tensor) -> torch.Tensor:
    """The share of the rows that are each of the 2ⁿ data sets."""
    shares = torch.zeros(2 ** labels.shape[1], dtype=torch.float64)
    for row in labels.tolist():
        shares[sum(2**i for i, label in enumerate(row) if label)] += 1 / len(labels)
    return shares


@exercise(
    "count-data-sets",
    points=2,
    hints=(
        "A draw (n,) becomes one data set of labels: (f > 0). Give each of the 2ⁿ data sets a number.",
        "Label i counts 2ⁱ: code = Σ_i 2ⁱ · label_i, with i from 0.",
        "torch.bincount(code, minlength=2**n) / S.",
    ),
)
def count_data_sets(answer: object, trial: Trial) -> None:
    """Probabilities of all labelings, against a loop over draws."""
    S, n = trial.integer(20, 30), trial.integer(5, 6)  # never all data sets
    f = trial.randn(S, n) + trial.randn(n) + 0.5
    f[: S // 4, trial.integer(0, n - 1)] = 0.0  # exactly on the border: label 0
    want, backwards = _label_shares(f > 0), _label_shares((f > 0).flip(1))
    got = trial.call(answer, f)
    share = (f > 0).to(f.dtype).mean(0)
    product = torch.stack(
        [
            torch.stack([share[i] if code >> i & 1 else 1 - share[i] for i in range(n)]).prod()
            for code in range(2**n)
        ]
    )
    shape = tuple(trial.tensor(got).shape)
    trial.expect(
        shape == (2**n,),
        f"There are 2^{n} = {2**n} data sets, seen or not; your result has the shape {shape}.",
    )
    mistakes = {
        "These are counts; divide by the number of draws.": want * S,
        "The labels count in the wrong order: the first one counts 1, the second 2, the third 4.": (
            backwards
        ),
        "The labels are turned around: f > 0 is label 1.": (want.flip(0), _label_shares(f < 0)),
        "At f = 0 the label is 0: it is 1 where f > 0 only.": _label_shares(f >= 0),
        "You multiplied the shares of each label: that forgets that labels of one draw belong together.": (
            product
        ),
        "These are logs of probabilities.": want.log(),
    }
    trial.judge(got, want, mistakes, "The share of draws whose labels are data set number Σ_i 2ⁱ label_i.")
