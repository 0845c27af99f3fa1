"""How much the members of an ensemble differ as functions: only then can averaging them gain anything."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._support import validate
from ..predictions.categorical import at_least_single, class_probabilities

_BLOCK = 2**14  # products that are added in one matrix product; the sums of blocks are added pairwise


def disagreement(f: Tensor) -> Tensor:
    """Share of inputs at which two members give different labels, for every pair of members.

    Args:
        f: (S, N, C) logits or probabilities of S members, such as `model.functions(stack, x)`.

    Returns:
        (S, S) shares, symmetric, with zeros on the diagonal.
    """
    labels = _members("f", f).argmax(-1)
    differ = torch.stack([torch.count_nonzero(labels != row, dim=1) for row in labels])
    return differ.to(at_least_single(f).dtype) / f.shape[1]


def error_products(probabilities: Tensor, y: Tensor) -> Tensor:
    """Products of the errors of two members, for every pair of members.

        G_ij = 1/N sum_n (p_i(x_n) - e_n) . (p_j(x_n) - e_n),    e_n the one-hot label y_n

    The diagonal holds the Brier score of each member, and the mean of *all* entries is the Brier score of the averaged
    probabilities: that is (1/S) mean diagonal + (1 - 1/S) mean of the rest. So G_ij / sqrt(G_ii G_jj), the correlation
    of their errors about zero, says what averaging can gain: nothing at 1, everything at 0. (Brier 1950; for the
    decomposition Krogh & Vedelsby 1995.)

    Args:
        probabilities: (S, N, C) class probabilities of S members.
        y: labels (N,).

    Returns:
        (S, S) symmetric.
    """
    p = class_probabilities("probabilities", _members("probabilities", probabilities))
    y = validate.labels(y, *p.shape[1:], p)
    errors = (p - F.one_hot(y, p.shape[-1])).flatten(1)
    return torch.stack([part @ part.T for part in errors.split(_BLOCK, 1)]).sum(0) / p.shape[1]


def _members(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 3 or 0 in value.shape:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"{name} must be a torch.Tensor of shape (S, N, C): members, inputs, classes; got {found}."
        )
    validate.finite(name, value)
    return value
