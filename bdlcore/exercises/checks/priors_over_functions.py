"""Checks of lesson 03: priors over functions, the process of a wide network, and networks that imitate an RBF."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ...exact.kernels import RBF, NetworkKernel
from .._machine import exercise
from .._trial import Trial


@exercise(
    "correlation-length",
    points=2,
    hints=(
        "Correlation is over draws, axis 0: for each input one number, how f there goes with f at the first input.",
        "Subtract the mean over draws, average the products over draws, divide by both standard deviations.",
        "The length is x[n] − x[0] for the first n whose correlation is below ½: `(c < 0.5).nonzero()[0]`.",
    ),
)
def correlation_length(answer: object, trial: Trial) -> None:
    """Correlation with the value at the first input, and where it falls below one half."""
    S, N = trial.integer(30, 50), 25
    x = trial.uniform(-4, -2) + trial.uniform(0.1, 0.2) * torch.arange(N)
    offset, scale = 2 + trial.rand(N).double(), torch.linspace(1, trial.uniform(3, 5), N).double()
    process = RBF(trial.uniform(0.5, 0.7))(x.double()[:, None]) + 1e-6 * torch.eye(N).double()
    draws = trial.randn(S, N) @ torch.linalg.cholesky(process).mT
    draws[:, -4] = draws[:, 0] + 0.3 * trial.randn(S)  # one far input goes with the first again
    f = offset + scale * draws
    x = x.double()
    want = torch.corrcoef(f.mT)[0]
    correlation, length = trial.parts(trial.call(answer, f, x), "correlations", "length")
    centred = f - f.mean(0)
    products = (centred * centred[:, :1]).mean(0)
    mistakes = {
        "That is the covariance: divide by the standard deviations of both values.": (
            products,
            products * S / (S - 1),
        ),
        "The variance of the other input is missing: divide by both standard deviations.": (
            products / products[0]
        ),
        "The mean over draws was not subtracted: the offset that all draws share counts as correlation.": (
            (f * f[:, :1]).mean(0) / (f.square().mean(0) * f[:, 0].square().mean()).sqrt()
        ),
        "That is the squared correlation.": want**2,
        "You divided by the variances; correlation divides by the standard deviations.": (
            products / (centred.var(0, correction=0) * centred[:, 0].var(correction=0)),
            products / (centred.var(0) * centred[:, 0].var()),
        ),
        "You correlated draws over inputs; the correlation of two inputs is over draws, axis 0.": (
            torch.corrcoef(f)[0]
        ),
    }
    also = [products / (centred.std(0) * centred[:, 0].std())]  # divisors mixed: close enough to be meant
    trial.reject_mistakes(correlation, want, mistakes, also=also, scale=1.0)
    trial.expect_shape(correlation, (N,), "One correlation for each input is asked for.")
    trial.expect_close(correlation, want, "These are not the correlations over draws.", also=also, scale=1.0)
    first, above = int((want < 0.5).nonzero()[0]), want >= 0.5
    last = int(above.nonzero()[-1])  # by chance that of the last input may be above, too
    mistakes = {
        "Take the *first* input whose correlation is below ½; further on it may rise again.": (
            x[min(last + 1, N - 1)] - x[0],
            x[last] - x[0],
            x[int(above.sum())] - x[0],
        ),
        "That is how often the correlation is above ½; the length is a distance.": float(above.sum()),
        "That is the number of the input; the length is a distance.": first,
        "That is the place; the length is its distance from x[0].": x[first],
        "One input too short: take the first input whose correlation is below ½.": x[first - 1] - x[0],
    }
    message = "The length is the distance of the first input whose correlation is below ½."
    trial.judge(length, x[first] - x[0], mistakes, message, what="The length")


@exercise(
    "bug-fan-in",
    points=2,
    hints=(
        "Print the standard deviation of the weights that come out. What does the text say that it should be?",
        "Two things: which of the two sizes is the fan-in, and what is a variance and what a standard deviation?",
        "Multiply standard normal numbers by a / sqrt(n_in).",
    ),
)
def bug_fan_in(answer: object, trial: Trial) -> None:
    """Find the bug: fan-out for fan-in, variance for standard deviation."""
    n_in, n_out = trial.integer(4, 5), trial.integer(6, 9)
    a, b = trial.uniform(1.5, 2.5), trial.uniform(0.3, 0.8)
    z_weight, z_bias = trial.randn(n_out, n_in), trial.randn(n_out)
    got, bias = trial.parts(trial.call(answer, a, b, z_weight, z_bias), "weights", "biases")
    if trial.is_close(bias, b * z_bias):
        trial.unchanged_if_close(got, a**2 / n_out * z_weight)
    mistakes = {
        "Now the fan-in is right, but normal numbers are still multiplied by a variance.": a**2 / n_in,
        "Now it is a standard deviation, but of the fan-out: fan-in is the number of inputs of a unit.": (
            a / n_out**0.5
        ),
        "a / fan-in is neither the variance, a² / fan-in, nor the standard deviation, a / √fan-in.": a / n_in,
        "That takes the root of the fan-in, but a² for a: the root is of the whole variance.": (
            a**2 / n_in**0.5
        ),
        "Nothing is divided by the fan-in: then functions grow with the width.": a,
        "That is the scale for the sum of fan-in and fan-out; here only the inputs count.": (
            a * (2 / (n_in + n_out)) ** 0.5
        ),
    }
    mistakes = {message: scale * z_weight for message, scale in mistakes.items()}
    message = "A weight should have the variance a² / fan-in."
    trial.judge(got, a / n_in**0.5 * z_weight, mistakes, message, what="The weights")
    mistakes = {
        "The biases were right: b is a standard deviation.": b**2 * z_bias,
        "Biases are not divided by the fan-in: there is one per unit.": b / n_in**0.5 * z_bias,
    }
    message = "A bias should have the standard deviation b."
    trial.judge(bias, b * z_bias, mistakes, message, what="The biases")


@exercise(
    "variance-through-depth",
    points=2,
    hints=(
        "A unit adds fan-in independent terms of variance (a² / fan-in) E[h²], and a bias of variance b².",
        "For a ReLU half of the second moment survives: E[relu(u)²] = v / 2 for u ~ N(0, v).",
        "v = b² + a² |x|² / D; then `hidden_layers` times v = b² + a² v / 2.",
    ),
)
def variance_through_depth(answer: object, trial: Trial) -> None:
    """Prior variance of f(x) for a deep ReLU network."""
    D, layers = trial.integer(2, 5), trial.integer(2, 5)
    x, a, b = trial.randn(trial.integer(3, 6), D), trial.uniform(0.8, 2.0), trial.uniform(0.3, 0.9)

    def propagate(
        layers: int, a2: float = a**2, b2: float = b**2, kept: float = 0.5, D: float = D, offset: float = 0.0
    ) -> torch.Tensor:
        v = b2 + a2 * x.square().sum(1) / D
        for _ in range(layers):
            v = b2 + a2 * kept * (v - offset * v / math.pi)
        return v

    want = NetworkKernel(layers, "relu", a, b)(x).diagonal()
    got = trial.call(answer, x, layers, a, b)
    mistakes = {
        "That is the standard deviation; the variance is asked for.": want.sqrt(),
        "The ReLU is missing: it keeps half of E[u²].": propagate(layers, kept=1.0),
        "E[relu(u)²] is asked for, v / 2; the variance of relu(u) leaves out its mean, which also adds up.": (
            propagate(layers, offset=1.0)
        ),
        "The variance of a weight is a² / fan-in: a has to be squared.": propagate(layers, a2=a),
        "The biases add b², their variance.": propagate(layers, b2=b),
        "The biases are missing.": propagate(layers, b2=0.0),
        "|x|² has to be divided by D, the fan-in of the first layer.": propagate(layers, D=1),
        "One layer too few: `hidden_layers` counts hidden layers, and the outputs come on top.": (
            propagate(layers - 1)
        ),
        "One layer too many: the first layer sees the inputs, without a ReLU before it.": (
            propagate(layers + 1)
        ),
    }
    trial.judge(got, want, mistakes, "That is not the variance of f(x) over the prior.")


@exercise(
    "arc-cosine-kernel",
    points=3,
    hints=(
        "The angle needs three numbers: the covariance of u and v, and the variance of each. x2 has its own variances.",
        "Keep three things through the layers: K (N, M), the variances v (N,) of x and v2 (M,) of x2.",
        "Per layer: θ = acos(K / √(v v2ᵀ)); K = b² + a² √(v v2ᵀ) (sin θ + (π − θ) cos θ) / 2π; v = b² + a² v / 2, too.",
    ),
)
def arc_cosine_kernel(answer: object, trial: Trial) -> None:
    """The kernel of a deep ReLU network between two different sets of inputs."""
    D, layers = trial.integer(2, 4), trial.integer(2, 4)
    x, x2 = trial.randn(trial.integer(3, 5), D), 1.5 * trial.randn(6, D)
    a, b = trial.uniform(1.0, 1.8), trial.uniform(0.2, 0.7)

    def kernel(
        layers: int = layers, a2: float = a**2, b2: float = b**2, step: Callable | None = None
    ) -> torch.Tensor:
        K = b2 + a2 * x @ x2.mT / D
        v, v2 = (b2 + a2 * part.square().sum(1) / D for part in (x, x2))
        for _ in range(layers):
            scale = (v[:, None] * v2).sqrt()
            theta = torch.acos((K / scale).clamp(-1, 1))
            shape = (step or _arc_cosine)(theta)
            K = b2 + a2 * scale * shape / (2 * math.pi)
            v, v2 = b2 + a2 * v / 2, b2 + a2 * v2 / 2
        return K

    def stale_variances() -> torch.Tensor:
        K = b**2 + a**2 * x @ x2.mT / D
        scale = torch.outer(*[(b**2 + a**2 * part.square().sum(1) / D).sqrt() for part in (x, x2)])
        for _ in range(layers):
            K = b**2 + a**2 * scale * _arc_cosine(torch.acos((K / scale).clamp(-1, 1))) / (2 * math.pi)
        return K

    want = NetworkKernel(layers, "relu", a, b)(x, x2)
    got = trial.call(answer, x, x2, layers, a, b)
    mistakes = {
        "The variances stay those of the first layer; they go through every layer as K does.": (
            stale_variances()
        ),
        "The recursion is applied once only; do it `hidden_layers` times.": kernel(1),
        "One layer too few: the covariance of the inputs comes first, then one step for each hidden layer.": (
            kernel(layers - 1)
        ),
        "One layer too many.": kernel(layers + 1),
        "a² multiplies each layer: a is a standard deviation.": kernel(a2=a),
        "b² is added in each layer: b is a standard deviation.": kernel(b2=b),
        "The biases are missing.": kernel(b2=0.0),
        "It should be (π − θ) cos θ: at θ = 0 the unit keeps half of the variance, not nothing.": (
            kernel(step=lambda t: torch.sin(t) + t * torch.cos(t))
        ),
        "The factor is 1 / (2π): the half is missing.": kernel(step=lambda t: 2 * _arc_cosine(t)),
        "That is the correlation; the kernel is the covariance.": (
            want / torch.outer(*[NetworkKernel(layers, "relu", a, b)(p).diagonal().sqrt() for p in (x, x2)])
        ),
    }
    trial.judge(got, want, mistakes, "That is not E[f(x) f(x')] of the wide network.")
    same = trial.call(answer, x, x, layers, a, b)
    broken = trial.tensor(same).isnan().any()
    trial.expect(
        not broken,
        "For x2 = x there is NaN: rounding makes a cosine a little larger than 1, and acos of that is NaN. Clamp it.",
    )
    trial.expect_close(
        same, NetworkKernel(layers, "relu", a, b)(x), "For x2 = x the answer is off.", rtol=1e-5
    )


def _arc_cosine(theta: torch.Tensor) -> torch.Tensor:
    return torch.sin(theta) + (math.pi - theta) * torch.cos(theta)


@exercise(
    "kurtosis-of-a-width",
    points=3,
    hints=(
        "Given the hidden layer, f is Gaussian with variance q = Σ h² / H. So E[f²] = E[q] and E[f⁴] = 3 E[q²].",
        "q is a mean of H independent numbers h²: E[q²] = E[q]² + Var(h²) / H.",
        "Kurtosis = 3 (1 + Var(h²) / (H E[h²]²)).",
    ),
)
def kurtosis_of_a_width(answer: object, trial: Trial) -> None:
    """Kurtosis of f for H units, from draws of one unit."""
    h, H = torch.relu(trial.randn(trial.integer(40, 80))), trial.integer(4, 12)
    m2, m4 = h.square().mean(), h.pow(4).mean()
    ratio = m4 / m2**2
    want = 3 * (1 + (ratio - 1) / H)
    got = trial.call(answer, h, H)
    mistakes = {
        "That is the kurtosis of one hidden unit; f is a weighted sum of H of them.": ratio,
        "That is E[q²] / E[q]²; given q, f is Gaussian, which has E[f⁴] = 3 q².": want / 3,
        "That is the excess over 3; the kurtosis itself is asked for.": want - 3,
        "The variance of a mean falls as 1/H, not as 1/H².": 3 * (1 + (ratio - 1) / H**2),
        "Var(h²) = E[h⁴] − E[h²]²: the last part is missing.": 3 * (1 + ratio / H),
        "The variance of a *mean* of H terms is that of one divided by H.": 3 * ratio,
        "That is the limit of infinite width; H does not appear in it.": torch.tensor(3.0),
        "The factor 3 is for both parts of E[q²] = E[q]² + Var(h²)/H.": 3 + (ratio - 1) / H,
        "Var(h) is not what is needed, but the variance of h².": (
            3 * (1 + h.var(correction=0) / (H * m2**2))
        ),
    }
    also = [3 * (1 + h.square().var() / (H * m2**2))]
    trial.judge(got, want, mistakes, "That is not E[f⁴] / E[f²]².", also=also, what="The kurtosis")


@exercise(
    "kernel-with-error-bar",
    points=2,
    hints=(
        "For each network and each output the product f(x) f(x') is one estimate of k(x, x').",
        "Outputs of one network share its hidden layer, so they are not independent. Networks are.",
        "First the mean over outputs, (S, N, N); then over networks the mean, and std / √S.",
    ),
)
def kernel_with_error_bar(answer: object, trial: Trial) -> None:
    """Monte Carlo kernel and its standard error, with dependent outputs."""
    S, N, C = trial.integer(12, 20), trial.integer(3, 4), trial.integer(5, 8)
    scale = 0.5 + 2 * trial.rand(S, 1, 1)  # what the outputs of a network share
    f = scale * (0.6 + trial.randn(S, N, C))
    products = torch.einsum("snc,smc->scnm", f, f)
    per_network, every = products.mean(1), products.flatten(0, 1)
    want = per_network.mean(0)
    K, got = trial.parts(trial.call(answer, f), "kernel", "standard error")
    centred = f - f.mean(0)
    mistakes = {
        "The prior mean is zero and known; do not subtract the mean of these draws.": (
            torch.einsum("snc,smc->nm", centred, centred) / (S * C)
        ),
        "You divided by the number of networks; every output is an estimate, too.": want * C,
        "That is the sum over networks; divide by S.": want * S,
        "You averaged the outputs before multiplying: that is the kernel of their mean.": (
            torch.einsum("sn,sm->nm", f.mean(2), f.mean(2)) / S
        ),
        "These are correlations; the kernel is E[f(x) f(x')], not divided by anything else.": (
            want / torch.outer(want.diagonal(), want.diagonal()).sqrt()
        ),
        "You used the first output only; all outputs share one prior.": products[:, 0].mean(0),
    }
    message = "The kernel is the mean of f(x) f(x') over networks and outputs."
    trial.judge(K, want, mistakes, message, what="The kernel", part=True)
    # with and without Bessel's correction
    spreads, singles = ([x.std(0, correction=c) for c in (1, 0)] for x in (per_network, every))
    mistakes = {
        "Outputs of one network are not independent draws: average over outputs first, then over networks.": tuple(
            s / (S * C) ** 0.5 for s in singles
        ),
        "That is the spread of one network; the error of the mean is 1/√S of it.": tuple(spreads),
        "That is a variance; the standard error is its root.": tuple(s**2 / S for s in spreads),
        "The error of a mean falls as 1/√S, not as 1/S.": tuple(s / S for s in spreads),
        "That is the spread of single outputs; average over the outputs of a network first.": tuple(
            s / S**0.5 for s in singles
        ),
    }
    right, other = (s / S**0.5 for s in spreads)
    message = "The standard error is the std over networks, divided by √S."
    trial.judge(got, right, mistakes, message, also=[other], what="The error", part=True)


@exercise(
    "imitate-an-rbf",
    points=2,
    hints=(
        "Frequencies with standard deviation 1/ℓ, phases uniform on [0, 2π]. What is the mean of cos²?",
        "Since E[cos²] = ½, the features need the factor √2 for a variance of 1; √(1/H) for the sum over H.",
        "std · √(2 / H) · cos(x @ z / length + 2π u).",
    ),
)
def imitate_an_rbf(answer: object, trial: Trial) -> None:
    """Random Fourier features of the RBF kernel."""
    N, D, H = trial.integer(3, 6), trial.integer(1, 3), trial.integer(5, 9)
    x, z, u = trial.randn(N, D), trial.randn(D, H), trial.rand(H)
    length, std = trial.uniform(0.3, 0.7), trial.uniform(1.3, 2.5)

    def features(
        z: torch.Tensor = z / length, u: torch.Tensor = 2 * math.pi * u, scale: float = std * (2 / H) ** 0.5
    ) -> torch.Tensor:
        return scale * torch.cos(x @ z + u)

    got = trial.call(answer, x, z, u, length, std)
    mistakes = {
        "A longer length scale means lower frequencies: divide by it.": features(z * length),
        "The frequencies are divided by the variance ℓ²; their standard deviation is 1/ℓ.": (
            features(z / length**2)
        ),
        "The length scale does not appear.": features(z),
        "The phases cover only [0, 1]; they should be uniform on [0, 2π].": features(u=u),
        "The phases cover only [0, π].": features(u=math.pi * u),
        "The phases are missing: then f has its top at x = 0 and is no stationary process.": (
            features(u=0 * u)
        ),
        "cos² is ½ on average: the amplitude is too small by √2.": features(scale=std / H**0.5),
        "The variance of f would grow with H: divide by √H.": features(scale=std * 2**0.5),
        "You divided by H; for the *variance* to stay it has to be √H.": features(scale=std * 2**0.5 / H),
        "2 / H is the factor of the kernel; the features need its root.": features(scale=std * 2 / H),
        "The amplitude `std` is missing.": features(scale=(2 / H) ** 0.5),
        "std² is the factor of the kernel; the features need std.": features(scale=std**2 * (2 / H) ** 0.5),
    }
    sines = std * (2 / H) ** 0.5 * torch.sin(x @ z / length + 2 * math.pi * u)
    also = [sines, -features(), -sines]
    trial.judge(got, features(), mistakes, "These features do not give the RBF kernel.", also=also)
