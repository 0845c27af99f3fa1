"""Laplace's approximation: fits with evidence per second, against laplace-torch at the same weights."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import bdlcore as bdl

from .race import Contestant, race
from .report import table

TITLE = "Laplace's approximation: fits with log evidence per second, given the mode"
PEER = "laplace-torch"
# structure in bdlcore -> subset of weights and structure in laplace-torch
STRUCTURES = {
    "full": ("all", "full"),
    "kron": ("all", "kron"),
    "diagonal": ("all", "diag"),
    "last_layer": ("last_layer", "full"),
}


def regression() -> tuple[bdl.Model, Tensor, Tensor]:
    """1-30-30-1 tanh network (D = 1021) and 200 points."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(200, 1, generator=g) * 2 - 1
    y = torch.sin(4 * x) + 0.1 * torch.randn(x.shape, generator=g)
    return bdl.Model(bdl.nets.mlp(1, 30, 30, 1), bdl.GaussianPrior(0.5), bdl.Gaussian(0.1)), x, y


def digits() -> tuple[bdl.Model, Tensor, Tensor]:
    """64-10-10 tanh network (D = 760) and 300 digits."""
    data = bdl.data.digits(300, flatten=True)
    return bdl.Model(bdl.nets.mlp(64, 10, 10), bdl.GaussianPrior(0.4), bdl.Categorical()), data.x, data.y


PROBLEMS = {"regression, D = 1021, 200 data": regression, "digits, D = 760, 300 data": digits}


def contestants(
    model: bdl.Model, x: Tensor, y: Tensor, modes: bdl.Stack, structure: str
) -> dict[str, Contestant]:
    """Ways to the log evidence at a mode."""

    def ours() -> float:
        return bdl.laplace(model, x, y, structure=structure, modes=modes).log_marginal_likelihood().numel()

    return {PEER: _peer(model, x, y, modes, structure), "bdlcore": ours}


def _peer(model: bdl.Model, x: Tensor, y: Tensor, modes: bdl.Stack, structure: str) -> Contestant:
    if not find_spec("laplace"):
        return "not installed"
    from laplace import Laplace

    network = copy.deepcopy(model.network)
    network.load_state_dict(modes.state_dicts()[0])
    loader = DataLoader(TensorDataset(x, y), batch_size=len(x))
    subset, hessian = STRUCTURES[structure]
    settings = {"prior_precision": model.prior.std**-2}
    if isinstance(model.likelihood, bdl.Gaussian):
        settings["sigma_noise"] = model.likelihood.noise_std
    kind = "regression" if settings.get("sigma_noise") else "classification"

    def fit() -> int:
        la = Laplace(network, kind, subset_of_weights=subset, hessian_structure=hessian, **settings)
        la.fit(loader)
        return la.log_marginal_likelihood().numel()

    return fit


def run(clock: Callable[[], float], quick: bool = False) -> dict:
    """Race both for every problem and structure."""
    warnings.simplefilter("ignore")  # of modes that are not quite modes: speed does not depend on it
    rounds, seconds = (1, 0.01) if quick else (7, 0.3)
    tables, rows = [], []
    for name, problem in PROBLEMS.items():
        model, x, y = problem()
        modes = bdl.laplace(
            model, x, y, structure="diagonal", steps=2 if quick else 300, refine_steps=1
        ).modes
        cases = {
            structure: race(
                contestants(model, x, y, modes, structure), rounds=rounds, seconds=seconds, clock=clock
            )
            for structure in STRUCTURES
        }
        found, text = table(cases, base=PEER)
        rows += [{"problem": name, **row} for row in found]
        tables.append(text.replace("| |", f"| {name} |", 1))
    text = "\n\n".join(tables)
    text += (
        f"\n\nIn brackets: how many times laplace-torch's speed, median of {rounds} rounds taken in turns."
    )
    return {"title": TITLE, "rows": rows, "text": text}
