"""When to abstain: the error among predictions that are kept, against how many are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from ..predictions.categorical import at_least_single


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Mean loss of the k most confident predictions, for every k.

    Attributes:
        coverage: (N,) shares that are kept, k / N.
        risk: (N,) mean loss among them.
        threshold: (N,) confidence of the last one that is kept.
    """

    coverage: Tensor
    risk: Tensor
    threshold: Tensor

    @property
    def aurc(self) -> float:
        """Area under the curve, the mean risk over all k: the lower, the better the confidence orders the losses."""
        return self.risk.mean().item()

    def keep(self, risk: float) -> tuple[float, float]:
        """The largest coverage whose risk is at most so much, and the confidence from which on to predict.

        0 and infinity where even the most confident predictions are worse. On data that it was chosen on, the risk is
        met exactly; on new data, on average and if they are alike.
        """
        validate.number("risk", risk)
        last = torch.cat([self.threshold[:-1] != self.threshold[1:], self.threshold.new_ones(1).bool()])
        good = (last & (self.risk <= risk)).nonzero().flatten()  # ties are kept together
        if len(good) == 0:
            return 0.0, float("inf")
        return self.coverage[good[-1]].item(), self.threshold[good[-1]].item()


def risk_coverage(confidence: Tensor, loss: Tensor) -> RiskCoverage:
    """The risk-coverage curve of selective prediction (El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017).

    Args:
        confidence: (N,) higher where the prediction is more trusted, such as `predictive.confidence`, or minus an
            entropy or a standard deviation. Among equals the curve is the mean over all orders.
        loss: (N,) of each prediction: 0 or 1, or for example a squared error.
    """
    for name, value in (("confidence", confidence), ("loss", loss)):
        if validate.numbers(name, value, whole=True).ndim != 1:
            raise ValueError(f"{name} must have shape (N,), one value per datum, got {tuple(value.shape)}.")
    if len(loss) != len(confidence):
        raise ValueError(f"loss has {len(loss)} values for {len(confidence)} of confidence.")
    threshold, order = confidence.sort(descending=True)
    loss = loss[order]
    loss = loss.to(torch.float32) if loss.dtype == torch.bool else at_least_single(loss)
    _, group, size = threshold.unique_consecutive(return_inverse=True, return_counts=True)
    mean = loss.new_zeros(len(size)).index_add(0, group, loss) / size
    kept = torch.arange(1, len(loss) + 1, dtype=loss.dtype, device=loss.device)
    return RiskCoverage(kept / len(loss), mean[group].cumsum(0) / kept, threshold)
