"""What every method does beside its mathematics: check, fix the seed, find a start, count the cost, report.

The methods share one signature, `method(model, x, y, *, ..., seed=0) -> Posterior`, and one vocabulary:

    x, y                   data, (N, ...) and (N,) or (N, C). Or, without y, a `Dataset` of pairs (x, y), or a
                           `DataLoader` of one, which go to the device of the network's parameters: see
                           `bdlcore.models.reading`
    chains / members       rows that are computed side by side: Markov chains, or whatever is optimised; a number, or a
                           range of them, so that range(8, 16) computes rows 8 to 15 of the same run
    draws                  settings that each chain or member gives; S = chains * draws
    steps                  optimisation steps; for chains, `warmup` transitions are discarded, then draws are kept
    batch_size             data per step, the same for all rows; all when None, and those of a DataLoader where x is
                           one. It changes what is computed
    chunk_size             rows per pass. It bounds memory and changes no result
    temperature, likelihood_temperature
                           T and T_lik of `LogPosterior`, numbers or one per row; 1 is Bayes
    initial                a stack with one row per chain or member to start from; when None, draws of the prior are
                           optimised for `initial_steps` Adam steps first (0 starts at the draws)
    probe                  inputs at which R-hat and ESS of the functions are computed; spread over x when None
    seed                   row i has a generator of its own, seeded by (seed, i); a torch.Generator gives the seed

Ctrl-C returns what has been drawn or optimised so far, with a warning; before that there is nothing to return, and
the interrupt goes on. `hmc`, `sgld` and `sghmc` go on from what they returned, or from its file, with `resume=`.
`bdlcore.distributed` splits the rows of a method over processes, and saves what is finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .._support import validate
from .._support.progress import warn
from .._support.randomness import RowRandom, as_seed, generator
from ..models.log_posterior import LogPosterior, Temperature, log_posterior
from ..models.model import Model
from ..models.reading import Data
from ..models.stack import Stack, check_stack
from .convergence import convergence, probe_rows
from .optimise import AllBroke, optimise
from .posterior import Posterior


def when_it_broke(record: Tensor) -> Tensor:
    """The step (S,) at which values (steps, S) first were NaN or infinite; -1 where they never were."""
    broken = ~torch.isfinite(record)
    return torch.where(broken.any(0), broken.int().argmax(0), -1)


def check_probe(model: Model, probe: Tensor, like: Tensor) -> None:
    """Raise where R-hat cannot be computed at these inputs, for weights that are fitted to inputs like others."""
    try:
        model.check_inputs(probe)
        model.functions(model.prior_like(1, 0, like), probe[:1])
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"R-hat cannot be computed at this probe: {error}") from error


def mixing(model: Model, draws: Tensor, probe: Tensor) -> dict[str, Tensor]:
    """R-hat and ESS of functions at a probe for draws (chains, draws, D); a failure costs no draws."""
    try:
        return convergence(model, draws, probe)
    except (RuntimeError, ValueError) as error:
        warn(f"R-hat and ESS could not be computed ({error}); the draws are kept.")
        return {}


class Run:
    """One run of a method over some rows.

    Args:
        method: its name.
        row: what it calls a row, "chain" or "member".
        rows: how many, or a range of them.
        kept: settings of all weights that are stored per row.
        usual_batch: from N, the batch size where none is asked for and x is no DataLoader; all data when None.
        Others as above.

    Attributes:
        model: the model.
        density: the log posterior.
        rows: their numbers.
        seed: an integer.
        count: N.
        batch_size: data per step, None for all.
        share: batch_size / N.
        gradients: gradients on all the data computed so far, per row.
        loss: (steps, rows) of the optimisation of the start; no steps when there was none.
    """

    def __init__(
        self,
        method: str,
        row: str,
        model: Model,
        x: Data,
        y: Tensor | None,
        rows: int | range,
        seed: int | torch.Generator,
        *,
        temperature: Temperature = 1.0,
        likelihood_temperature: Temperature = 1.0,
        batch_size: int | None = None,
        chunk_size: int | None = None,
        probe: Tensor | None = None,
        kept: int = 1,
        usual_batch: Callable[[int], int] | None = None,
    ):
        self.started, self.method, self.row = time.perf_counter(), method, row
        self.seed, self.rows = as_seed(seed), validate.rows(f"{row}s", rows)
        self.model = model
        self.density = log_posterior(model, x, y, temperature, likelihood_temperature, chunk_size)
        self.count, like = self.density.count, self.density.like
        self.per_row(temperature=temperature, likelihood_temperature=likelihood_temperature)
        model.layout.must_fit(
            kept * len(self.rows),
            like,
            f"settings, {kept:,} for each {row},",
            f"Keep fewer, or compute some {row}s at a time: {row}s=range(0, 2), and so on.",
        )
        batch_size = self._batch_size(batch_size, usual_batch)
        self.batch_size = None if batch_size is None else min(batch_size, self.count)
        self.share = 1.0 if batch_size is None else self.batch_size / self.count
        self.gradients, self.loss = 0.0, like.new_empty(0, len(self.rows))
        self.probe = self.density.inputs(probe_rows(self.count)) if probe is None else probe
        check_probe(model, self.probe, like)  # now, rather than after all draws are made

    def _batch_size(self, asked: int | None, usual: Callable[[int], int] | None) -> int | None:
        own = self.density.batch_size
        if asked is not None and own is not None:
            raise ValueError(
                f"batch_size is that of the DataLoader, {own}: leave batch_size out, or give the loader's dataset as x."
            )
        if asked is not None:
            return validate.count("batch_size", asked)
        return usual(self.count) if own is None and usual else own

    def per_row(self, **values: float | Tensor) -> None:
        """Require numbers, or tensors with one value per row."""
        for name, value in values.items():
            validate.per_row(name, value, len(self.rows))

    def start(self, initial: Stack | None, steps: int, lr: float = 0.03) -> Tensor:
        """theta (S, D) to start from: the rows of `initial`, or draws of the prior, optimised.

        An interrupt here ends the run: there is nothing yet to return.
        """
        steps, like, model = validate.count("initial_steps", steps, 0), self.density.like, self.model
        if initial is not None:
            check_stack(initial, model.layout, self.density.x)
            if len(initial) != len(self.rows):
                raise ValueError(
                    f"initial has {len(initial)} rows for {len(self.rows)} {self.row}s; give one row per {self.row}."
                )
            return initial.theta
        theta = model.prior_like(self.rows, self.seed, like).theta
        if steps:
            shuffle = generator(self.seed, 5)
            try:
                theta, self.loss = optimise(
                    self.density, theta, steps, lr, self.batch_size, shuffle=shuffle, keep_interrupted=False
                )
            except AllBroke as error:  # as where only some did, below
                raise RuntimeError(str(error)) from error
            self.gradients += steps * self.share
            if not torch.isfinite(self.loss).all():
                raise RuntimeError(
                    f"The search for a start of {self.method} became NaN or infinite for some {self.row}s; give "
                    "`initial`, or fewer initial_steps."
                )
        return theta

    def random(self, stream: int) -> RowRandom:
        """One generator per row."""
        like = self.density.like
        return RowRandom(self.seed, self.rows, stream, like.dtype, like.device)

    def batches(self, stream: int, skip: int = 0) -> Iterator[LogPosterior]:
        """Without end, the density as seen by minibatches after the first `skip`; all rows see the same."""
        return self.density.batches(self.batch_size, generator(self.seed, stream), skip)

    def surviving(self, died: Tensor, what: str, advice: str) -> Tensor:
        """Which rows are to be returned, (S,) boolean, for the steps (S,) at which a value of theirs became NaN, or -1.

        Warns of rows that are not, and forgets them; raises AllBroke, a RuntimeError, when none is left.
        """
        alive = died < 0
        if alive.all():
            return alive
        well, step = alive.tolist(), int(died[~alive].min())
        bad = [row for row, lives in zip(self.rows, well, strict=True) if not lives]
        said = (
            f"The {what} of {self.method} {self.row}(s) {bad} became NaN or infinite by step {step}; {advice}"
        )
        if not alive.any():
            raise AllBroke(said)
        warn(f"{said} The others are returned.")
        self.rows = [row for row, lives in zip(self.rows, well, strict=True) if lives]
        return alive

    def mixing(self, draws: Tensor) -> dict[str, Tensor]:
        """See `mixing`, at the run's probe."""
        return mixing(self.model, draws, self.probe)

    def posterior(self, stack: Stack, gradients: float, **evidence: object) -> Posterior:
        """The result, after `gradients` further gradients per row."""
        return Posterior(
            model=self.model,
            stack=stack,
            method=self.method,
            seconds=time.perf_counter() - self.started,
            gradient_evaluations=round((self.gradients + gradients) * len(self.rows)),
            chains=len(self.rows),
            rows=tuple(self.rows),
            **evidence,
        )
