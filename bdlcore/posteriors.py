"""What an inference method returns: a stack of weights and what a person needs to judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .stacks import Stack


class Approximation(Protocol):
    """A density fitted to the posterior in the neighbourhood of each of R weight settings."""

    mean: Tensor
    std: Tensor

    def sample(self, draws: int, seed: int | torch.Generator) -> Stack: ...


@dataclass(frozen=True, eq=False)
class Posterior:
    """Weight settings that stand for a posterior, with evidence of how well.

    Attributes:
        stack: the settings, S = chains * draws rows (chain by chain) or S = members rows.
        method: name of the method that made it.
        seconds: wall time it took.
        gradient_evaluations: gradients of the log density that were computed, counted per row.
        chains: number of chains; members of an ensemble count as chains of one draw.
        acceptance: (chains,) mean acceptance probability after warm-up, for Markov chains.
        divergences: (chains,) trajectories whose energy error exceeded 1,000 after warm-up.
        step_size: (chains,) step size in whitened units.
        rhat: (N, C) rank-normalised split R-hat of the function values at probe inputs; 1 is converged, <
            1.01 good.
        ess: (N, C) bulk effective sample size of the same function values.
        log_density: (chains, draws) tempered log density of each draw, up to a constant.
        loss: (steps, members) training loss per datum, for optimised members.
        configurational_temperature: (chains,) mean of -(theta - start) . grad log p(theta) / D, for samplers that
            reject nothing. 1 for draws from the target, whatever its temperature; more when too large a step
            or the noise of minibatches makes them too wide, less when chains have not spread yet.
        elbo: (steps, runs) evidence lower bound in nats, for variational inference.
        approximation: the fitted densities, one per run or member, where there are some: `mean` and `std`
            (runs, D) in whitened units, and `sample(draws, seed)`.
    """

    stack: Stack
    method: str
    seconds: float
    gradient_evaluations: int
    chains: int
    acceptance: Tensor | None = None
    divergences: Tensor | None = None
    step_size: Tensor | None = None
    rhat: Tensor | None = None
    ess: Tensor | None = None
    log_density: Tensor | None = None
    loss: Tensor | None = None
    configurational_temperature: Tensor | None = None
    elbo: Tensor | None = None
    approximation: Approximation | None = None

    @property
    def draws(self) -> Tensor:
        """The settings by chain, (chains, draws, D)."""
        return self.stack.theta.unflatten(0, (self.chains, -1))

    def __repr__(self) -> str:
        S, D = self.stack.theta.shape
        parts = [f"{self.method}: S={S} settings of D={D} weights"]
        if self.acceptance is not None:
            parts.append(f"{self.chains} chains, acceptance {self.acceptance.mean():.2f}")
        if self.rhat is not None:
            parts.append(
                f"max R-hat {self.rhat.max():.3f}, min ESS {self.ess.min():.0f} (of function values)"
            )
        if self.divergences is not None and self.divergences.sum() > 0:
            parts.append(f"{int(self.divergences.sum())} divergent trajectories")
        if self.configurational_temperature is not None:
            parts.append(f"configurational temperature {self.configurational_temperature.mean():.2f}")
        if self.elbo is not None:
            parts.append(f"final ELBO {self.elbo[-100:].mean():.1f} nats")
        if self.loss is not None:
            parts.append(f"final loss {self.loss[-1].mean():.3f} per datum")
        parts.append(f"{self.seconds:.1f} s")
        return "Posterior(" + "; ".join(parts) + ")"


def probe_inputs(x: Tensor, most: int = 50) -> Tensor:
    """At most `most` rows of x, evenly spaced: where convergence of functions is judged."""
    keep = torch.linspace(0, len(x) - 1, min(most, len(x))).round().long()
    return x[keep.to(x.device)]
