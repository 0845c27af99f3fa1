"""How far inputs are from those of training, by a network's features."""

from __future__ import annotations

import torch
from torch import Tensor

from .._support import validate


def feature_distance(features: Tensor, known: Tensor, labels: Tensor | None = None) -> Tensor:
    """Mahalanobis distance of features to the nearest class of known ones (Lee et al. 2018), (N,).

        min_c sqrt( (z - m_c)^T S^-1 (z - m_c) ),     S the covariance within classes, shrunk by Ledoit & Wolf (2004)

    Unlike entropies it looks at inputs alone, and so sees those on which a network is sure and should not be. Without
    labels all known features are one class.

    Args:
        features: (N, F), such as a network's last hidden layer at new inputs.
        known: (M, F) the same at training inputs.
        labels: (M,) integer labels of these, or None.
    """
    for name, value in (("features", features), ("known", known)):
        if validate.inputs(name, value).ndim != 2:
            raise ValueError(
                f"{name} must have shape (N, F), got {tuple(value.shape)}. Use {name}.flatten(1)."
            )
    if features.shape[1] != known.shape[1]:
        raise ValueError(
            f"features and known must have as many columns, got {features.shape[1]} and {known.shape[1]}."
        )
    if len(known) < 2:
        raise ValueError(f"known must be at least 2 data, to have a covariance; got {len(known)}.")
    from sklearn.covariance import LedoitWolf

    classes = torch.zeros(len(known), dtype=torch.long, device=known.device)
    if labels is not None:
        classes = validate.labels(labels, len(known), int(1e9), known).unique(return_inverse=True)[1]
    count = int(classes.max()) + 1
    sizes = classes.bincount(minlength=count)[:, None]
    means = known.new_zeros(count, known.shape[1]).index_add(0, classes, known) / sizes
    fitted = LedoitWolf(assume_centered=True).fit((known - means[classes]).double().cpu().numpy())
    precision = torch.from_numpy(fitted.precision_).to(features)
    squares = []
    for mean in means:
        z = features - mean
        squares.append(((z @ precision) * z).sum(1))
    return torch.stack(squares).amin(0).clamp(min=0).sqrt()
