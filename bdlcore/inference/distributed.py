"""One run of a method over several processes, each of which computes some of its rows.

A row's result depends on the seed and on its number alone (`bdlcore._support.randomness`): step sizes are adapted row
by row, minibatches come in the same order everywhere, and what compares chains, R-hat and ESS, is computed at the end.
So it does not matter which process has a row, or how many there are. Which rows are computed side by side matters to
the last bits only, since a matrix product of another number of rows may round differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from json import JSONDecodeError, loads
from pathlib import Path

from torch import Tensor

from .._support import files, validate
from .._support.ending import Ending
from .._support.processes import Processes
from .._support.progress import noting_interrupts
from ..models.model import Model
from ..models.reading import Data
from .optimise import AllBroke
from .parts import Job, Part
from .posterior import AnyPosterior

RUN = "run.json"  # the file of a folder that says whose it is


def distributed(
    method: Callable[..., AnyPosterior],
    model: Model,
    x: Data,
    y: Tensor | None = None,
    *,
    folder: str | Path | None = None,
    rows_per_part: int | None = None,
    save_every: int | None = None,
    **settings: object,
) -> AnyPosterior:
    """Run a method with its chains, members or modes split over the processes that torchrun has started.

    Every process makes the same call and gets the posterior of all rows, that of `method(model, x, y, **settings)`. A
    script `fit.py` with this call runs on four processes by `torchrun --nproc-per-node 4 fit.py`, and plainly on one.

    >>> import torch, bdlcore as bdl
    >>> x, y = bdl.data.two_clusters(20, noise_std=0.1)
    >>> model = bdl.Model(bdl.nets.mlp(1, 5, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.1))
    >>> posterior = bdl.distributed(bdl.ensemble, model, x, y, members=4, steps=10, seed=0)
    >>> torch.equal(posterior.stack.theta, bdl.ensemble(model, x, y, members=4, steps=10, seed=0).stack.theta)
    True

    Rows are split into parts that are computed side by side. With the same parts the result is the same to the last bit
    on any number of processes, given processors of one kind and as many threads for each. With others a matrix product
    may round its last bits differently: what is optimised hardly notices, while a chain, for which trajectories part
    exponentially, after some hundred steps gives other draws of the same distribution.

    With a `folder` finished work is saved there, each file whole or not at all: parts, and of `hmc`, `sgld` and `sghmc`
    the draws so far. After Ctrl-C, or when a process or the machine ended, the same call goes on, on any number of
    processes, and gives what it would have given without. Ctrl-C and a request to end (SIGTERM) first save the draws
    since the last save. Where saving fails, a warning says so and the run goes on.

    Args:
        method: `hmc`, `sgld`, `sghmc`, `mean_field_vi`, `swag`, `ensemble` or `laplace`.
        model, x, y: see the method. A process computes on the device where its x is.
        folder: where finished work is kept, made if missing: for this run alone, and seen by all processes.
        rows_per_part: rows computed side by side, at most; when None as many as give each process one part. A run that
            goes on keeps the parts that it began with.
        save_every: draws per chain from one save to the next, a tenth of all when None; whole cycles where the step
            size falls over a cycle.
        settings: those of the method, but `resume`. Where one has a value per row, for all rows.

    Returns:
        What the method returns. `seconds` are those of the process that computed longest.

    Raises:
        ValueError: before any step, where processes were given different arguments or data, where the folder belongs to
            another run, or where a file in it is damaged.
        RuntimeError: where another process has ended. What was saved is whole.
    """
    job = Job.of(method, model, x, y, settings)
    folder = None if folder is None else validate.path("folder", folder)
    if rows_per_part is not None:
        validate.count("rows_per_part", rows_per_part)
    if save_every is not None:
        validate.count("save_every", save_every)
    elif job.goes_on:
        save_every = -(-job.settings["draws"] // 10)
    with Processes() as team:
        _must_agree(team.each(job.fingerprint))
        parts, unfinished = job.split(rows_per_part or -(-len(job.rows) // team.count)), None
        if folder is not None:
            parts, unfinished = team.first(lambda: _begin(folder, job, parts))
        paths = [None if folder is None else folder / job.file(rows) for rows in parts]
        unfinished = list(range(len(parts))) if unfinished is None else unfinished
        owners = [i % team.count for i in range(len(parts))]
        made: list[Part | None] = [None] * len(parts)
        with Ending() as ending:
            for k, i in enumerate(unfinished):
                owners[i] = k % team.count
                if owners[i] == team.rank:
                    made[i] = _compute(job, parts[i], paths[i], save_every, ending)
        for i, owner in enumerate(owners):
            if owner == team.rank and made[i] is None:
                made[i] = job.read(paths[i])
            if team.count > 1:
                made[i] = job.restored(team.share(owner, job.record(made[i]) if owner == team.rank else None))
    seconds = [0.0] * team.count
    for owner, part in zip(owners, made, strict=True):
        seconds[owner] += 0 if isinstance(part, str) else part.seconds
    return replace(job.joined(made), seconds=max(seconds))


def _must_agree(given: Sequence[dict[str, str]]) -> None:
    """Refuse a call that is not the same in all processes."""
    for rank, other in enumerate(given):
        if names := _differing(given[0], other):
            raise ValueError(
                f"Process {rank} was given another {', '.join(names)} than process 0. Give all of them the same, "
                "with a fixed seed for whatever is drawn at random."
            )


def _differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _begin(folder: Path, job: Job, parts: list[range]) -> tuple[list[range], list[int]]:
    """The parts of the run that the folder is for, which is this one, and those that are not finished."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"The folder {folder} cannot be made ({error}). Give another one.") from error
    for left in folder.glob(f"*{files.PARTIAL}"):  # by a process that was killed while it wrote
        left.unlink(missing_ok=True)
    file = folder / RUN
    if not file.exists():
        files.save_json(file, {"arguments": job.fingerprint, "parts": [[p.start, p.stop] for p in parts]})
    try:
        stored = loads(file.read_text(encoding="utf-8"))
        parts, given = [range(*part) for part in stored["parts"]], stored["arguments"]
    except (JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({error}). Give another folder, or remove this one.") from error
    if names := _differing(given, job.fingerprint):
        raise ValueError(
            f"{folder} belongs to a run with another {', '.join(names)}. Give a folder of its own, or remove this one."
        )
    return parts, [i for i, rows in enumerate(parts) if not job.finished(job.read(folder / job.file(rows)))]


def _compute(job: Job, rows: range, path: Path | None, every: int | None, ending: Ending) -> Part:
    """A part from where it stopped to its end, saved on the way."""
    part = None if path is None else job.read(path)
    kept = "" if path is None else f" Make the same call to go on from what is in {path.parent}."
    while not job.finished(part):
        with noting_interrupts() as interrupted:
            try:
                part = job.next(rows, part, every if path else None)
            except AllBroke as error:
                part = str(error)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"The run was interrupted.{kept}") from None
        if path is not None and (job.goes_on or not interrupted):
            with ending.held():
                job.save(path, part)
        if interrupted:
            raise KeyboardInterrupt(f"The run was interrupted.{kept}")
    return part
