"""What inference returns: a distribution over functions, with what a person needs to judge it.

Every posterior, fitted or exact, answers what `AnyPosterior` lists. Most are a `Posterior`, which holds a stack;
Laplace's (`bdlcore.inference.laplace`) and the exact ones (`bdlcore.exact`) know their distribution in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .._support import files
from ..likelihoods.protocol import Predictive
from ..models.marginalise import predict
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Layout, Stack
from .approximations import MeanField, SwagState
from .convergence import LEAST_FOR_ESS, changing, copied_chains

APPROXIMATIONS = {"MeanField": MeanField, "SwagState": SwagState}
APPROXIMATION = "approximation."  # begins the name of a tensor of one
CURVES = "loss", "elbo"  # with steps first, and rows after them
MIXTURES = {"SWAG": "MultiSWAG"}  # what several members make of a method


@runtime_checkable
class AnyPosterior(Protocol):
    """A posterior over functions.

    Attributes:
        method: name of the method that made it.
        seconds: wall time it took.
        gradient_evaluations: gradients of the log density on all the data, counted per row; 0 for closed forms.
    """

    method: str
    seconds: float
    gradient_evaluations: int

    def functions(self, x: Tensor) -> Tensor:
        """Values of draws of the function at x (N, ...), (S, N, C)."""
        ...

    def predict(self, x: Tensor) -> Predictive:
        """p(y | x, D) at x (N, ...)."""
        ...

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file; the class method `load` reads it."""
        ...


@dataclass(frozen=True, eq=False)
class Posterior:
    """Weight settings that stand for a posterior, with evidence of how well.

    Attributes:
        model: the model.
        stack: the settings, S = chains * draws rows, chain by chain.
        method: name of the method that made it.
        seconds: wall time it took.
        gradient_evaluations: gradients of the log density on all the data, counted per row.
        chains: number of chains or members that the rows come from.
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
        elbo: (steps, members) evidence lower bound in nats, for variational inference.
        random_state, momentum, start, settings: what it takes to go on after the last draw, for `resume=` of `hmc`,
            `sgld` and `sghmc`: (chains, bytes) where the chains' generators are; (chains, D) the momentum of SGHMC;
            (chains, D) where the chains started; and the settings and the seed of SGLD and SGHMC.
        rows: numbers of the chains or members, 8 to 15 for those of range(8, 16); those that became NaN are missing.
        approximation: the fitted densities, one per member, where there are some: `mean` and `std` (members, D) in
            whitened units, and `sample(draws, seed)`.
    """

    model: Model
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
    random_state: Tensor | None = None
    momentum: Tensor | None = None
    start: Tensor | None = None
    settings: dict | None = None
    approximation: MeanField | SwagState | None = None
    rows: tuple[int, ...] | None = None

    @property
    def draws(self) -> Tensor:
        """The settings by chain, (chains, draws, D)."""
        return self.stack.theta.unflatten(0, (self.chains, -1))

    def functions(self, x: Tensor) -> Tensor:
        """Values of all S functions at x (N, ...), (S, N, C)."""
        return self.model.functions(self.stack, x)

    def predict(self, x: Data) -> Predictive:
        """p(y | x, D) at x (N, ...) or at what is read of x, marginalised over the stack: see `bdlcore.predict`."""
        return predict(self.model, self.stack, x)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, all but the model; nothing is left behind if writing fails."""
        files.save(path, "posterior", *self.record())

    def record(self) -> tuple[dict[str, Tensor], dict]:
        """All but the model, as tensors and plain facts; `from_record` is its inverse."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        kept = "method", "seconds", "gradient_evaluations", "chains", "settings", "rows"
        facts = {name: values[name] for name in kept}
        tensors["theta"], facts["layout"] = self.stack.theta, self.stack.layout.record()
        if self.approximation is not None:
            facts["approximation"] = type(self.approximation).__name__
            held = vars(self.approximation).items()
            tensors |= {f"{APPROXIMATION}{name}": value for name, value in held if isinstance(value, Tensor)}
        return tensors, facts

    @classmethod
    def load(cls, path: str | Path, model: Model) -> Posterior:
        """Read what `save` wrote, for the model that it was made with. Raises FileNotFoundError or ValueError."""
        tensors, facts = files.load(path, "posterior")
        layout = Layout.from_record(facts["layout"])
        if layout != model.layout:
            raise ValueError(
                f"{path} holds a posterior over {layout.dim} weights of another network or prior than this model's "
                f"{model.layout.dim}: parameter names, shapes, prior means or stds differ."
            )
        return cls.from_record(model, tensors, facts)

    @classmethod
    def from_record(cls, model: Model, tensors: dict[str, Tensor], facts: dict) -> Posterior:
        """The posterior that `record` took apart, for the model that it was made with."""
        tensors = dict(tensors)
        facts = {name: value for name, value in facts.items() if name != "layout"}
        held = {n: tensors.pop(n) for n in list(tensors) if n.startswith(APPROXIMATION)}
        if "approximation" in facts:
            held = {name.removeprefix(APPROXIMATION): value for name, value in held.items()}
            facts["approximation"] = APPROXIMATIONS[facts["approximation"]](**held, layout=model.layout)
        if facts.get("rows") is not None:
            facts["rows"] = tuple(facts["rows"])
        return cls(model=model, stack=Stack(tensors.pop("theta"), model.layout), **tensors, **facts)

    @classmethod
    def joined(cls, parts: Sequence[Posterior]) -> Posterior:
        """One posterior of the chains or members of several, in order, which one run was split into.

        R-hat and ESS, which compare chains, are left out; costs are added up.
        """
        records = [part.record() for part in parts]
        facts = records[0][1] | {"chains": sum(part.chains for part in parts)}
        facts |= {name: sum(getattr(p, name) for p in parts) for name in ("seconds", "gradient_evaluations")}
        facts["rows"] = [row for part in parts for row in part.rows]
        if facts["chains"] > 1:
            facts["method"] = MIXTURES.get(facts["method"], facts["method"])
        tensors = {
            name: torch.cat([tensors[name] for tensors, _ in records], 1 if name in CURVES else 0)
            for name in records[0][0]
            if name not in ("rhat", "ess")
        }
        return cls.from_record(parts[0].model, tensors, facts)

    def __repr__(self) -> str:
        S, D = self.stack.theta.shape
        parts = [f"{self.method}: S={S} settings of D={D} weights"]
        if self.acceptance is not None:
            parts.append(f"{self.chains} chains, acceptance {self.acceptance.mean():.2f}")
        if self.rhat is not None:
            parts.append(self._mixing())
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

    def _mixing(self) -> str:
        """The worst R-hat and ESS in words, and what they do not see."""
        (rhat, still), (ess, _) = changing(self.rhat), changing(self.ess)
        if len(rhat) == 0:
            return "no R-hat or ESS, since no function value ever changes"
        words = f"max R-hat {rhat.max():.3f}, "
        if len(ess) == 0:
            words += f"no ESS, which needs {LEAST_FOR_ESS} draws per chain (of function values)"
        else:
            words += f"min ESS {ess.min():.0f} (of function values)"
        if still:
            words += f", but {still} of {self.rhat.numel()} values never change"
        if copies := int(copied_chains(self.draws).sum()):
            words += f", which mean nothing: {copies} of {self.chains} chains are copies of others"
        return words
