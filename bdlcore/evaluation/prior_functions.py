"""What does a prior over functions say before any data? Numbers from draws: size, wiggles, classes, likeness of images.

`amplitude`, `correlation`, `length_scale` and `kurtosis` take values f (S, N) or (S, N, C) on a line, S draws at N
inputs, whose C outputs share one prior. `collapse` and `prior_correlation` take f (S, N, C) for images, C outputs
(logits). Both come from `Model.functions(model.sample_prior(S, seed), x)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .._support import validate
from ..predictions.categorical import at_least_single, log_softmax


def amplitude(f: Tensor) -> Tensor:
    """Standard deviation of f(x_n) over draws, (N,): the root of the mean square, for priors of mean zero."""
    return _draws(f).square().mean(0).sqrt()


def correlation(f: Tensor, reference: int = 0) -> Tensor:
    """Correlation over draws of f at every input with f at input `reference`, (N,), means removed.

    corr_n = cov[f(x_n), f(x_reference)] / (std[f(x_n)] std[f(x_reference)])

    Raises ValueError where the draws do not vary.
    """
    f = _draws(f)
    if not -f.shape[1] <= reference < f.shape[1]:
        raise ValueError(f"reference must be one of the {f.shape[1]} inputs, got {reference}.")
    if bool((f == f[0]).all(0).any()):  # not by a scale of 0, which rounding would hide
        raise ValueError("Some inputs have the same value in every draw, so that no correlation is defined.")
    f = f - f.mean(0)
    scale = f.square().mean(0).sqrt()
    return (f * f[:, [reference]]).mean(0) / (scale * scale[reference])


def length_scale(f: Tensor, x: Tensor) -> Tensor:
    """How far apart inputs on a line must be for functions to change much: the std of f over that of its slope.

        length = sqrt(E[(f - f_mean)^2] / E[f'^2]),   f' by differences between neighbouring inputs,

    averaged over draws and over the line; `f_mean` is the mean of *one* draw over the line, so that a common offset
    does not count. For draws of an RBF process on a long, fine line it is its length_scale; for f = sin(x / l) it is l.
    Functions with kinks or noise have a slope, and so a length, that depends on the spacing.

    Args:
        f: (S, N) or (S, N, C) draws on the line.
        x: (N,) or (N, 1), increasing.
    """
    f, x = _draws(f), validate.tensor("x", x).flatten()
    if len(x) != f.shape[1] or len(x) < 3:
        raise ValueError(
            f"x must hold the {f.shape[1]} inputs of f, at least three, on a line, got {tuple(x.shape)}."
        )
    gaps = x.diff()
    if not bool((gaps > 0).all()):  # NaN too
        raise ValueError("x must be increasing, without NaN; sort x, and f with it, first.")
    middles = (f[:, 1:] + f[:, :-1]) / 2
    share = gaps / gaps.sum()
    spread = ((middles - (middles * share).sum(1, keepdim=True)).square() * share).sum(1).mean()
    slope = ((f.diff(dim=1) / gaps).square() * share).sum(1).mean()
    return (spread / slope).sqrt()


def kurtosis(f: Tensor) -> Tensor:
    """E[f^4] / E[f^2]^2 at each input over draws, (N,), for priors of mean zero: 3 for a Gaussian."""
    f = _draws(f)
    return f.pow(4).mean(0) / f.square().mean(0).square()


def _draws(f: Tensor) -> Tensor:
    """f as (draws, N), with the outputs of a draw as further draws."""
    if not isinstance(f, Tensor) or f.ndim not in (2, 3) or len(f) < 2 or f.numel() == 0:
        found = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(f"f must hold two or more draws, a torch.Tensor (S, N) or (S, N, C), got {found}.")
    validate.finite("f", f)
    f = at_least_single(f)
    return f if f.ndim == 2 else f.transpose(1, 2).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Collapse:
    """How one-sided, and how sure, single draws and their average are; entropies in nats, log C when uniform.

    Attributes:
        class_shares: (S, C) probability of each class in each draw, averaged over the inputs.
        argmax_share: (S,) largest share of the inputs to which a draw gives the same label, whatever its probability.
        confidence: (S,) probability of the most probable class, averaged over the inputs.
        entropy: (S,) entropy of a draw's class probabilities, averaged over the inputs.
        pooled: (N, C) the prior predictive: class probabilities averaged over the draws.
        logit_std: (N,) standard deviation of the logits over the classes, root mean square over the draws.
    """

    class_shares: Tensor
    argmax_share: Tensor
    confidence: Tensor
    entropy: Tensor
    pooled: Tensor
    logit_std: Tensor

    @property
    def top_share(self) -> Tensor:
        """(S,) probability share of a draw's most favoured class, max_c mean_n p_s(c | x_n): 1/C to 1."""
        return self.class_shares.amax(1)

    @property
    def pooled_entropy(self) -> Tensor:
        """(N,) entropy of the prior predictive. With few draws it falls short of its limit."""
        return torch.special.entr(self.pooled).sum(1)


def collapse(f: Tensor) -> Collapse:
    """Class collapse of a stack of functions; see `Collapse`.

    Args:
        f: (S, N, C) logits, C > 1.
    """
    f = _functions("f", f)
    if f.shape[2] < 2:
        raise ValueError(f"Classes need at least two outputs, got f of shape {tuple(f.shape)}.")
    log_p = log_softmax(f)
    p = log_p.exp()
    labels = F.one_hot(f.argmax(2), f.shape[2])
    return Collapse(
        class_shares=p.mean(1),
        argmax_share=labels.sum(1).amax(1).to(p) / f.shape[1],
        confidence=p.amax(2).mean(1),
        entropy=-(p * log_p).sum(2).mean(1),
        pooled=p.mean(0),
        logit_std=f.var(2).mean(0).sqrt(),
    )


def prior_correlation(
    f: Tensor, g: Tensor | None = None, *, remove_offset: bool = False, paired: bool = False
) -> Tensor:
    """Correlation over draws between the function at inputs x and at inputs x'.

        rho(x, x') = Cov(f(x), f(x')) / (Std f(x) Std f(x')),

    covariances over the S draws, averaged over the C outputs. By symmetry of the prior over outputs they are C
    more samples of the same covariance.

    Args:
        f: (S, N, C) functions at N inputs.
        g: (S, M, C) the same functions at other inputs; f when None.
        remove_offset: subtract from every draw its mean over the N inputs of f first. What all inputs have in
            common, such as the output bias, correlates them all and tells none from another; what is left says
            which inputs are alike beyond it. Depends on the set of inputs, and averages to about -1/(N-1).
        paired: correlate only input n of f with input n of g, and return (N,).

    Returns:
        (N, M) correlations, or (N,).
    """
    f = _functions("f", f)
    g = f if g is None else _functions("g", g)
    if len(f) < 2:
        raise ValueError("A correlation over draws needs at least two draws.")
    if f.shape[0] != g.shape[0] or f.shape[2] != g.shape[2]:
        raise ValueError(
            f"f and g must be the same draws with the same outputs, got {tuple(f.shape)} and {tuple(g.shape)}."
        )
    if paired and f.shape != g.shape:
        raise ValueError(f"paired needs as many inputs in g as in f, got {g.shape[1]} and {f.shape[1]}.")
    if remove_offset:
        if f.shape[1] < 2:
            raise ValueError(
                "Removing the offset of a single input leaves nothing; give at least two inputs."
            )
        offset = f.mean(1, keepdim=True)
        f, g = f - offset, g - offset
    f, g = f - f.mean(0), g - g.mean(0)
    if paired:
        covariance = (f * g).sum((0, 2))
        return covariance / (f.square().sum((0, 2)) * g.square().sum((0, 2))).sqrt()
    covariance = torch.einsum("snc,smc->nm", f, g)
    return covariance / (f.square().sum((0, 2)).sqrt()[:, None] * g.square().sum((0, 2)).sqrt())


def _functions(name: str, f: Tensor) -> Tensor:
    """Require finite values (S, N, C); returns them in at least float32."""
    if not isinstance(f, Tensor) or f.ndim != 3 or math.prod(f.shape) == 0:
        shape = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(f"{name} must hold function values of shape (S, N, C), got {shape}.")
    validate.finite(name, f)
    return at_least_single(f)
