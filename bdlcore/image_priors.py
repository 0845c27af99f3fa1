"""What does a prior over weights say about classes and images? Numbers from draws of functions, before any data.

All take values of functions f (S, N, C), from `Model.functions(model.sample_prior(S, seed), x)`: S draws, N inputs,
C outputs (logits).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _validate
from .likelihoods import log_softmax


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
    _functions("f", f)
    if f.shape[2] < 2:
        raise ValueError(f"Classes need at least two outputs, got f of shape {tuple(f.shape)}.")
    log_p = log_softmax(f)
    p = log_p.exp()
    labels = F.one_hot(f.argmax(2), f.shape[2]).to(p)
    return Collapse(
        class_shares=p.mean(1),
        argmax_share=labels.mean(1).amax(1),
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
    _functions("f", f)
    g = f if g is None else g
    _functions("g", g)
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


def _functions(name: str, f: Tensor) -> None:
    if not isinstance(f, Tensor) or f.ndim != 3 or math.prod(f.shape) == 0:
        shape = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(f"{name} must hold function values of shape (S, N, C), got {shape}.")
    _validate.finite(name, f)
