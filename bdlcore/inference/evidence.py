"""The marginal likelihood that Laplace's approximation gives, as a function of prior and noise.

    log p(D) ~= log p(D | w*) + log p(w*) + D/2 log 2 pi - 1/2 log |H|
              = log p(D | w*) - 1/2 |theta*|^2 - 1/2 log |I + G|

with H the precision in the network's own weights w = s theta. The second line holds in whitened weights, where the
prior's constants cancel: it is what Bayesian model comparison calls fit plus Occam factor (MacKay 1992).

With another prior std s' and noise_std' the weights w* and their Jacobian stay the same, so with r = s' / s and
b = noise_std' / noise_std: theta* becomes theta* / r, and G becomes R G R with R = diag(r / b).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate
from .._support.devices import double
from ..models.stack import LIKELIHOODS


def log_evidence(posterior, prior_std: float | Tensor | None, noise_std: float | Tensor | None) -> Tensor:
    """See `LaplacePosterior.log_marginal_likelihood`; `posterior` is one."""
    if posterior.tempered:
        raise ValueError("A tempered posterior has no marginal likelihood; fit at temperature 1.")
    ratio = None if prior_std is None else _prior_ratio(posterior, prior_std)
    scale, likelihood, f, y = ratio, posterior.model.likelihood, double(posterior.f), posterior.y
    y = y.to(f.device)
    if noise_std is None:
        fit = likelihood.log_prob(f, y).sum(1)
    else:
        fit, noise_ratio = likelihood.at_noise(f, y, noise_std)
        scale = noise_ratio * (1 if ratio is None else ratio)
    theta = double(posterior.modes.theta[:, posterior.jacobian.columns])
    squares = torch.stack([part.square().sum(1) for part in theta.split(posterior.jacobian.sizes, 1)], 1)
    squares = squares if ratio is None else squares / ratio.square()
    log_det = torch.stack([curvature.log_det(scale) for curvature in posterior.curvatures])
    return fit - 0.5 * squares.sum(1) - 0.5 * log_det


def _prior_ratio(posterior, prior_std: float | Tensor) -> Tensor:
    """prior_std over the prior's own: one value, or one per parameter tensor that the Gaussian covers."""
    validate.positive("prior_std", prior_std)
    prior, layout = posterior.model.prior, posterior.modes.layout
    prior_std = torch.as_tensor(prior_std, dtype=torch.float64).to(posterior.temperature.device)
    if prior_std.shape not in ((), (len(layout.names),)):
        raise ValueError(
            f"prior_std must be a number or have one value per parameter tensor, shape ({len(layout.names)},); "
            f"got {tuple(prior_std.shape)}."
        )
    if any(name.startswith(LIKELIHOODS) for name in layout.names):
        raise ValueError(
            "prior_std cannot be changed where the likelihood has parameters of its own, whose prior is another. Fit "
            "with each prior_std."
        )
    if prior.layers:
        raise ValueError(
            "prior_std cannot be changed where layers have a std of their own. Fit with each prior."
        )
    if prior_std.ndim == 0 and prior.bias_std is None:
        return prior_std / prior.std
    biases = [len(shape) < 2 and prior.bias_std is not None for shape in layout.shapes]
    own = prior_std.new_tensor([prior.bias_std if bias else prior.std for bias in biases])
    if prior_std.ndim == 0:
        prior_std = torch.where(torch.tensor(biases, device=own.device), own, prior_std)
    covered = [layout.names.index(name) for name in posterior.jacobian.names]
    return (prior_std / own)[covered]
