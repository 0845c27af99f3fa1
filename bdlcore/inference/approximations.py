"""Densities fitted around each member of an ensemble, over whitened weights: mean-field Gaussians, and SWAG's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import RowRandom
from ..models.stack import Layout, Stack


@dataclass(frozen=True, eq=False)
class MeanField:
    """M independent Gaussians q_m = N(mean_m, diag(std_m^2)) over whitened weights; together an equal mixture.

    Attributes:
        mean, std: (M, D).
        layout: what the D columns are.
    """

    mean: Tensor
    std: Tensor
    layout: Layout

    def sample(
        self, draws: int, seed: int | torch.Generator, *, members: Iterable[int] | None = None
    ) -> Stack:
        """M * draws settings, those of the first Gaussian first.

        Those of member m depend on (seed, m) alone; `members` says which ones these are, 0 to M - 1 when None.
        """
        M, D = self.mean.shape
        draws = validate.count("draws", draws)
        self.layout.must_fit(M * draws, self.mean, "draws", "Draw fewer.")
        random = RowRandom(seed, members or range(M), 3, self.mean.dtype, self.mean.device)
        eps = random.normal(draws * D).view(M, draws, D)
        return Stack((self.mean[:, None] + self.std[:, None] * eps).flatten(0, 1), self.layout)


@dataclass(frozen=True, eq=False)
class SwagState:
    """One Gaussian per member, N(mean, 1/2 diag(variance) + 1/2 D D^T / (K - 1)), over whitened weights.

    Attributes:
        mean: (M, P) average of the snapshots; the SWA solution.
        variance: (M, P) their variance, weight by weight.
        deviations: (M, K, P) rows of D^T: the last K snapshots minus the running mean when each was taken. K
            is the number that was collected, never more than the rank asked for.
        layout: what the P columns are.
    """

    mean: Tensor
    variance: Tensor
    deviations: Tensor
    layout: Layout

    def __post_init__(self):
        enough(self.deviations.shape[1], "this state holds")

    @property
    def average(self) -> Stack:
        """Stochastic weight averaging (Izmailov et al. 2018): the mean of each member, M settings."""
        return Stack(self.mean, self.layout)

    @property
    def std(self) -> Tensor:
        """(M, P) standard deviation of each weight under `sample`."""
        low_rank = self.deviations.square().sum(1) / (self.deviations.shape[1] - 1)
        return (0.5 * (self.variance + low_rank)).sqrt()

    def sample(
        self,
        draws: int,
        seed: int | torch.Generator,
        *,
        scale: float = 1.0,
        members: Iterable[int] | None = None,
    ) -> Stack:
        """M * draws settings, those of the first member first.

            theta = mean + scale ( sqrt(variance) z1 / sqrt(2)  +  D z2 / sqrt(2 (K - 1)) ),   z1, z2 ~ N(0, I)

        (Maddox et al. 2019, eq. 1). Noise is multiplied by the standard deviation, not the variance; `scale`
        is a factor of the standard deviation too. `members` as in `MeanField.sample`.
        """
        M, K, P = self.deviations.shape
        draws = validate.count("draws", draws)
        self.layout.must_fit(M * draws, self.mean, "draws", "Draw fewer.")
        validate.positive(
            "scale", scale, "It multiplies the standard deviation; for no spread use `average`."
        )
        random = RowRandom(seed, members or range(M), 3, self.mean.dtype, self.mean.device)
        z1, z2 = random.normal(draws * P).view(M, draws, P), random.normal(draws * K).view(M, draws, K)
        noise = z1 * (self.variance / 2).sqrt()[:, None]
        noise.baddbmm_(z2, self.deviations, alpha=1 / math.sqrt(2 * (K - 1)))
        return Stack((self.mean[:, None] + scale * noise).flatten(0, 1), self.layout)


def enough(snapshots: int, who: str) -> None:
    """Require two snapshots, without which there is no covariance."""
    if snapshots < 2:
        raise ValueError(
            f"SWAG needs at least 2 snapshots to have a covariance, {who} {snapshots}. Raise `snapshots`; about 20 or "
            "more are usual."
        )
