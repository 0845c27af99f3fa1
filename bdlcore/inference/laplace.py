"""Laplace's approximation: a Gaussian at a mode, as wide as the curvature there allows.

    p(theta | D) ~= N(theta*, T A^-1),   A = I + (1 / T_lik) sum_n J_n^T Lambda_n J_n

in whitened weights, with the generalised Gauss-Newton matrix of `bdlcore.curvature`; temperatures as in
`LogPosterior`. For a linear model with Gaussian noise it is the exact posterior.

It belongs to the linearised network f*(x) + J(x) (theta - theta*), whose posterior it would be, and so predicts
with that. The network itself, evaluated at weights drawn from the same Gaussian, mostly predicts badly: the Gaussian
is wide in directions in which the linearised network does not change on the data, but the network itself does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .._support import files, validate
from .._support.devices import double
from .._support.randomness import RowRandom, generator
from ..curvature.gauss_newton import Diagonal, Full
from ..curvature.jacobians import Jacobian, last_layer
from ..curvature.kronecker import Kronecker
from ..likelihoods.protocol import Predictive
from ..models.log_posterior import LogPosterior, Temperature, in_memory
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Layout, Stack, check_stack, concatenate, float_like
from ..predictions.function_values import FunctionValues
from .evidence import log_evidence
from .modes import find_modes, warn_off_mode

STRUCTURES = {"full": Full, "diagonal": Diagonal, "kron": Kronecker, "last_layer": Full}


@dataclass(frozen=True, eq=False)
class LaplacePosterior:
    """A Gaussian per mode, and the linearised networks that it belongs to.

    Attributes:
        model: the model.
        modes: the modes theta*, one row each.
        structure: "full", "diagonal", "kron" or "last_layer".
        rows: numbers of the modes, range(8, 16) for modes 8 to 15 of a run; draws of a mode depend on its number.
        temperature: (S,) T of each mode.
        tempered: whether T or T_lik differs from 1, and so there is no marginal likelihood.
        curvatures: the curvature at each mode.
        jacobian: derivative of the outputs in the weights that the Gaussian covers.
        f, y: outputs (S, N, C) at the modes on the data, and the targets.
        excess: (S,) nats by which a Newton step would still raise the log posterior; near 0 at a mode.
        seconds, gradient_evaluations: cost, finding the modes included.
        loss: (steps, S) loss per datum while the modes were sought; None when they were given.
    """

    model: Model
    modes: Stack
    structure: str
    rows: range
    temperature: Tensor
    tempered: bool
    curvatures: tuple[Full | Diagonal | Kronecker, ...]
    jacobian: Jacobian
    f: Tensor
    y: Tensor
    excess: Tensor
    seconds: float
    gradient_evaluations: int
    loss: Tensor | None = None

    @property
    def method(self) -> str:
        """Name of the method."""
        return f"Laplace ({self.structure})"

    @property
    def chains(self) -> int:
        """Number of modes, each of which gives the same number of draws."""
        return len(self.modes)

    def __repr__(self) -> str:
        S, D = self.modes.theta.shape
        covered = f" {self.jacobian.dim} of" if self.jacobian.dim < D else ""
        evidence = ""
        if not self.tempered:
            values = ", ".join(f"{v:.2f}" for v in self.log_marginal_likelihood()[:3].tolist())
            evidence = f"; log marginal likelihood {values}{', ...' if S > 3 else ''}"
        what = f"{self.structure}: S={S} mode(s),{covered} D={D} weights{evidence}; {self.seconds:.1f} s"
        return f"LaplacePosterior({what})"

    def predict(self, x: Tensor, draws: int = 500, seed: int | torch.Generator = 0) -> Predictive:
        """The predictive distribution of the linearised network; over several modes, an equal mixture.

        f(x) ~ N(f*(x), T J A^-1 J^T) at each input. For a Gaussian likelihood its predictive is in closed form; for
        others p(y | f) is averaged over draws of f at each input.

        Args:
            x: (N, ...) inputs.
            draws: Monte Carlo draws per input and mode, where they are needed; the same normal numbers at every input.
            seed: of those numbers.
        """
        likelihood, moments = self.model.likelihood, [self._moments(s, x) for s in range(len(self.modes))]
        means, covariance = (torch.stack(parts) for parts in zip(*moments))
        closed = likelihood.predictive_of_gaussian(means, covariance)
        if closed is not None:
            return closed
        draws, (S, N, C) = validate.count("draws", draws), means.shape
        z = torch.randn((draws, C), generator=generator(seed, 3), dtype=means.dtype).to(x.device)
        values, vectors = torch.linalg.eigh(covariance)  # which may be singular
        root = vectors * values.clamp(min=0).sqrt()[..., None, :]

        def logits(at: slice) -> Tensor:
            return (means[:, at, None] + z @ root[:, at].mT).transpose(1, 2).flatten(0, 1)

        return likelihood.predictive(FunctionValues(logits, (S * draws, N, C)))

    def functions(self, x: Tensor, draws: int | range = 100, seed: int | torch.Generator = 0) -> Tensor:
        """Functions of the linearised network, f*(x) + J(x) (theta - theta*), for some draws of theta per mode.

        Returns (S * draws, N, C), mode by mode; one draw is one function over all of x.
        """
        self._check(x)
        x = self.jacobian.inputs(x)
        functions = []
        for mode, theta in enumerate(self.modes.theta):
            deviations = self._deviations(mode, draws, seed).to(theta)
            chunks = self.jacobian.chunks(theta, x, self.f.shape[-1])
            functions.append(torch.cat([f + (J @ deviations.mT).movedim(2, 0) for _, f, J in chunks], 1))
        return torch.cat(functions)

    def sample(self, draws: int | range = 100, seed: int | torch.Generator = 0) -> Stack:
        """Weight settings drawn from the Gaussian, `draws` per mode, as a stack for the network itself.

        The cautionary alternative to `predict` and `functions`, which are meant for this Gaussian. Draws are the same
        as theirs for the same seed; weights that the Gaussian does not cover stay at the mode.
        """
        total = len(validate.rows("draws", draws)) * len(self.modes)
        self.modes.layout.must_fit(total, self.modes.theta, "draws", "Draw a range of them at a time.")
        rows = []
        for mode, theta in enumerate(self.modes.theta):
            deviations = self._deviations(mode, draws, seed).to(theta)
            row = theta.repeat(len(deviations), 1)
            row[:, self.jacobian.columns] += deviations
            rows.append(row)
        return Stack(torch.cat(rows), self.modes.layout)

    def log_marginal_likelihood(
        self, prior_std: float | Tensor | None = None, noise_std: float | Tensor | None = None
    ) -> Tensor:
        """log p(D) at each mode, (S,) float64, by integrating the Gaussian (MacKay 1992).

            log p(D) ~= log p(D | theta*) - 1/2 |theta*|^2 - 1/2 log |A|

        For another prior or noise it is evaluated at the same network weights w* and Jacobian, and is differentiable:
        raise it by gradient, find the mode anew, repeat. For "last_layer" it is that of a linear model on the fixed
        features below.

        Args:
            prior_std: in place of `model.prior.std`: one value, or one per parameter tensor of the layout (biases
                included, which one value leaves alone where the prior has a bias_std of their own).
            noise_std: in place of `model.likelihood.noise_std`.
        """
        return log_evidence(self, prior_std, noise_std)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, all but the model; nothing is left behind if writing fails."""
        files.save(path, "Laplace posterior", *self.record())

    def record(self) -> tuple[dict[str, Tensor], dict]:
        """All but the model, as tensors and plain facts; `from_record` is its inverse."""
        tensors = {"theta": self.modes.theta, "temperature": self.temperature, "f": self.f, "y": self.y}
        tensors |= {"excess": self.excess, "probe": self.jacobian.probe}
        tensors |= {} if self.loss is None else {"loss": self.loss}
        for mode, curvature in enumerate(self.curvatures):
            tensors |= {f"curvature.{mode}.{name}": value for name, value in curvature.state().items()}
        facts = {
            name: getattr(self, name) for name in ("structure", "tempered", "seconds", "gradient_evaluations")
        }
        facts |= {"layout": self.modes.layout.record(), "rows": [self.rows.start, self.rows.stop]}
        return tensors, facts

    @classmethod
    def load(cls, path: str | Path, model: Model) -> LaplacePosterior:
        """Read what `save` wrote, for the model that it was made with. Raises FileNotFoundError or ValueError."""
        return cls.from_record(model, *files.load(path, "Laplace posterior"))

    @classmethod
    def from_record(cls, model: Model, tensors: dict[str, Tensor], facts: dict) -> LaplacePosterior:
        """The posterior that `record` took apart, for the model that it was made with, or else ValueError."""
        tensors, facts = dict(tensors), dict(facts)
        modes = Stack(tensors.pop("theta"), Layout.from_record(facts.pop("layout")))
        probe, facts["rows"] = tensors.pop("probe"), range(*facts["rows"])
        check_stack(modes, model.layout, probe)
        modes = Stack(modes.theta, model.layout)
        jacobian = _jacobian(model, facts["structure"], modes.theta[0], probe)
        states: list[dict[str, Tensor]] = [{} for _ in modes]
        for name in [name for name in tensors if name.startswith("curvature.")]:
            _, mode, key = name.split(".", 2)
            states[int(mode)][key] = tensors.pop(name)
        kind = STRUCTURES[facts["structure"]]
        curvatures = tuple(kind.from_state(jacobian, state) for state in states)
        return cls(model=model, modes=modes, curvatures=curvatures, jacobian=jacobian, **tensors, **facts)

    @classmethod
    def joined(cls, parts: Sequence[LaplacePosterior]) -> LaplacePosterior:
        """One posterior of the modes of several, in order, which one run was split into; costs are added up."""
        first = parts[0]
        cat = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("temperature", "f", "excess")
        }
        loss = None if first.loss is None else torch.cat([part.loss for part in parts], 1)
        return replace(
            first,
            modes=concatenate(part.modes for part in parts),
            rows=range(first.rows.start, parts[-1].rows.stop),
            tempered=any(part.tempered for part in parts),
            curvatures=tuple(curvature for part in parts for curvature in part.curvatures),
            seconds=sum(part.seconds for part in parts),
            gradient_evaluations=sum(part.gradient_evaluations for part in parts),
            loss=loss,
            **cat,
        )

    def _check(self, x: Tensor) -> None:
        check_stack(self.modes, self.modes.layout, x)
        self.model.check_inputs(x)

    def _moments(self, mode: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (N, C) and covariance (N, C, C) of the linearised function at each input."""
        self._check(x)
        x = self.jacobian.inputs(x)
        curvature, T = self.curvatures[mode], self.temperature[mode]
        chunks = self.jacobian.chunks(self.modes.theta[mode], x, self.f.shape[-1])
        f, covariance = zip(*((f, (T * curvature.covariance(J)).to(f)) for _, f, J in chunks))
        return torch.cat(f), torch.cat(covariance)

    def _deviations(self, mode: int, draws: int | range, seed: int | torch.Generator) -> Tensor:
        """theta - theta* for draws from the Gaussian at a mode, (draws, D'); draw i depends on (seed, i) alone."""
        draws = validate.rows("draws", draws)
        random = RowRandom(seed, draws, stream=4 + self.rows[mode], device=self.f.device)
        return self.temperature[mode].sqrt() * self.curvatures[mode].sample(random)


def laplace(
    model: Model,
    x: Data,
    y: Tensor | None = None,
    *,
    structure: str = "full",
    modes: int | range | Stack = 1,
    steps: int = 1000,
    lr: float = 1e-2,
    refine_steps: int = 1000,
    temperature: Temperature = 1.0,
    likelihood_temperature: Temperature = 1.0,
    chunk_size: int | None = None,
    memory_gb: float = 8.0,
    seed: int | torch.Generator = 0,
) -> LaplacePosterior:
    """Laplace's approximation of the posterior at one mode or several (MacKay 1992; Daxberger et al. 2021).

    Args:
        model: network, prior, and a likelihood with a `curvature_root`.
        x, y: all the data, (N, ...) and (N,) or (N, C); or a `Dataset` or `DataLoader` of both, read once.
        structure: what is kept of the curvature G over D weights.
            "full": all of it, in D x D or, for fewer than D outputs on the data, N C x N C;
            "kron": a Kronecker product per layer, for dense and convolutional layers;
            "diagonal": the diagonal;
            "last_layer": all of it for the last layer; the other weights stay at the mode.
        modes: how many modes to find, each from a draw of the prior, a range of them as for members, or a stack of
            modes, taken as they are.
        steps, lr, refine_steps: how modes are sought; see `bdlcore.inference.modes`.
        temperature, likelihood_temperature, chunk_size: see `bdlcore.inference.run`.
        memory_gb: how much memory the curvature may take; more raises ValueError before any work.
        seed: of the prior draws.

    Returns:
        LaplacePosterior. Warns where the weights are not at a mode of the log posterior.
    """
    started = time.perf_counter()
    validate.choice("structure", structure, STRUCTURES)
    if not model.prior.gaussian:
        raise ValueError(
            f"laplace needs a Gaussian prior, whose curvature is the same everywhere; {model.prior} is none. Use "
            "GaussianPrior, or hmc, sgld, sghmc, mean_field_vi, swag or ensemble."
        )
    x, y = in_memory(model, x, y)
    density = LogPosterior(model, x, y, temperature, likelihood_temperature, chunk_size)
    model.likelihood.curvature_root(
        float_like(x).new_zeros(1, model.outputs(x))
    )  # raises where there is none
    validate.positive("memory_gb", memory_gb)
    given = isinstance(modes, Stack)
    if given:
        check_stack(modes, model.layout, x)
    rows = validate.rows("modes", len(modes) if given else modes)
    for name, value in (("temperature", temperature), ("likelihood_temperature", likelihood_temperature)):
        validate.per_row(name, value, len(rows))
    start = modes if given else model.prior_like(1, 0, x)
    jacobian, C = _jacobian(model, structure, start.theta[0], x), model.outputs(x)
    inputs = jacobian.inputs(x)
    curvature_of = STRUCTURES[structure]
    curvature_of.check(jacobian, len(x) * C, len(rows), memory_gb)
    loss, gradients = None, len(rows)
    if not given:
        modes, loss, found = find_modes(
            jacobian.model,
            inputs,
            y,
            modes=rows,
            steps=steps,
            lr=lr,
            refine_steps=refine_steps,
            likelihood_temperature=likelihood_temperature,
            chunk_size=chunk_size,
            seed=seed,
        )
        gradients += found

    slopes = double(density(modes.theta)[1][:, jacobian.columns])
    T, T_lik = (
        torch.as_tensor(t).to(slopes).expand(len(modes)) for t in (temperature, likelihood_temperature)
    )
    slopes = slopes * T[:, None]
    curvatures, excess = [], []
    for theta, slope, t in zip(modes.theta, slopes, T_lik.sqrt().tolist(), strict=True):
        curvatures.append(
            curvature_of(jacobian, theta, inputs, lambda f, t=t: model.likelihood.curvature_root(f) / t, C)
        )
        excess.append(curvatures[-1].covariance(slope[None, None])[0, 0, 0] / 2)
    posterior = LaplacePosterior(
        model=model,
        modes=modes,
        structure=structure,
        rows=rows,
        temperature=T,
        tempered=bool((T != 1).any() or (T_lik != 1).any()),
        curvatures=tuple(curvatures),
        jacobian=jacobian,
        f=jacobian.model.functions(modes, inputs),
        y=density.y,
        excess=torch.stack(excess),
        seconds=time.perf_counter() - started,
        gradient_evaluations=gradients,
        loss=loss,
    )
    warn_off_mode(posterior.excess.max().item(), jacobian.dim)
    return posterior


def _jacobian(model: Model, structure: str, theta: Tensor, x: Tensor) -> Jacobian:
    """Derivatives in the weights that a structure covers."""
    names = last_layer(model, theta, x) if structure == "last_layer" else model.layout.names
    return Jacobian(model, names, theta, x)
