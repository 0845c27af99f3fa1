"""A run of a method in parts, each of them some of its rows: what is asked for, made, saved and joined."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .._support import files, validate
from .._support.devices import WITHOUT_DOUBLE
from .._support.progress import warn
from .._support.randomness import as_seed
from ..models.log_posterior import log_posterior
from ..models.model import Model
from ..models.reading import Data, is_read
from ..models.stack import Stack
from .convergence import probe_rows
from .laplace import LaplacePosterior
from .posterior import AnyPosterior, Posterior
from .run import check_probe, mixing

ROWS = "chains", "members", "modes"  # what methods call them
PER_ROW = "temperature", "likelihood_temperature", "step_size", "lr"  # one number, or one per row
WITHOUT_EFFECT = "chunk_size", "memory_gb"  # on results
KINDS = {"posterior": Posterior, "Laplace posterior": LaplacePosterior}
BROKEN = "word of a part in which all broke"

Part = AnyPosterior | str  # some rows; or, where all of them became NaN, what was said of it
Record = tuple[dict[str, Tensor], dict]


@dataclass(frozen=True)
class Job:
    """A call of a method, to be made for some of its rows at a time.

    Attributes:
        method, model, x, y: as they were given.
        settings: the other arguments, with the method's defaults.
        word: what the method calls rows.
        rows: their numbers.
    """

    method: Callable[..., AnyPosterior]
    model: Model
    x: Data
    y: Tensor | None
    settings: dict
    word: str
    rows: range

    @classmethod
    def of(cls, method: Callable, model: Model, x: Data, y: Tensor | None, settings: dict) -> Job:
        """Raises TypeError or ValueError for what cannot be split, or does not go together."""
        known = inspect.signature(method).parameters if callable(method) else {}
        word = next((word for word in ROWS if word in known), None)
        if word is None or "seed" not in known:
            raise TypeError(
                f"method must be a function of {', '.join(ROWS[:-1])} or {ROWS[-1]} and a seed, such as bdl.hmc; got "
                f"{getattr(method, '__name__', method)!r}."
            )
        if settings.get("resume") is not None:
            raise ValueError(
                "resume cannot be split over processes. Give a folder: the same call then goes on."
            )
        bound = inspect.signature(method).bind(model, x, y, **settings)
        bound.apply_defaults()
        settings = {name: bound.arguments[name] for name in list(known)[3:]}
        settings["seed"] = as_seed(settings["seed"])
        rows = validate.rows(word, settings[word])
        if "draws" in settings:
            validate.count("draws", settings["draws"])
        for name in PER_ROW:
            validate.per_row(name, settings.get(name), len(rows))
        initial = settings.get("initial")
        if isinstance(initial, Stack) and len(initial) != len(rows):
            raise ValueError(
                f"initial has {len(initial)} rows for {len(rows)} {word}; give one row for each."
            )
        if settings.get("probe") is not None:
            check_probe(model, settings["probe"], settings["probe"] if is_read(x) else x)
        return cls(method, model, x, y, settings, word, rows)

    @property
    def fingerprint(self) -> dict[str, str]:
        """A digest of each argument that results depend on."""
        model, layout = self.model, self.model.layout
        of_model = [layout.record(), model.network, model.prior, model.likelihood, layout.constants]
        what = {"method": self.method, "model": of_model, "x": self.x, "y": self.y} | self.settings
        return {name: _digest(value) for name, value in what.items() if name not in WITHOUT_EFFECT}

    @property
    def goes_on(self) -> bool:
        """Whether the method can continue draws that it has made."""
        return "resume" in self.settings

    def split(self, most: int) -> list[range]:
        """The rows in as few parts of at most so many as there can be, whose lengths differ by one at most."""
        count = -(-len(self.rows) // most)
        ends = [self.rows.start + i * len(self.rows) // count for i in range(count + 1)]
        return [range(start, stop) for start, stop in zip(ends[:-1], ends[1:], strict=True)]

    def file(self, rows: range) -> str:
        """The name of the file of a part."""
        return f"{self.word}-{rows.start}-{rows.stop - 1}.safetensors"

    def finished(self, part: Part | None) -> bool:
        """Whether nothing is left to be computed of a part."""
        if part is None or isinstance(part, str):
            return part is not None
        return not self.goes_on or part.draws.shape[1] >= self.settings["draws"]

    def next(self, rows: range, so_far: Posterior | None, every: int | None) -> AnyPosterior:
        """The part with these rows; or with `every` more draws than there are so far, where the method goes on."""
        settings = self._of_rows(list(rows if so_far is None else so_far.rows)) | {self.word: rows}
        if self.goes_on:
            made = 0 if so_far is None else so_far.draws.shape[1]
            draws, cycles = settings["draws"], settings.get("cycles", 1)
            if every is not None:
                free = cycles == 1 and settings.get("schedule", "constant") == "constant"
                unit = 1 if free else max(1, draws // cycles)  # a cycle has one end
                every = -(-every // unit) * unit
                stop = min(draws, (made // every + 1) * every)
                if cycles > 1:
                    settings["cycles"] = stop // unit
                draws = stop
            settings |= {"draws": draws - made, "resume": so_far}
        if "probe" in settings and not is_read(self.x):
            settings["probe"] = self.x[:1]  # chains are compared when all are there
        made = self.method(self.model, self.x, self.y, **settings)
        if not isinstance(made, tuple(KINDS.values())):
            raise TypeError(
                f"{self.method.__name__} returned a {type(made).__name__}; parts of it cannot be joined."
            )
        return made

    def _of_rows(self, rows: Sequence[int]) -> dict:
        """The settings for some of the rows."""
        at = [row - self.rows.start for row in rows]
        return self.settings | {
            name: value[at]
            for name, value in self.settings.items()
            if (name == "initial" and value is not None)
            or (name in PER_ROW and isinstance(value, Tensor) and value.ndim)
        }

    # --- parts as tensors and plain facts ---

    def record(self, part: Part) -> Record:
        """A part but for the model; `restored` is the inverse."""
        if isinstance(part, str):
            return {}, {"kind": BROKEN, "why": part}
        tensors, facts = part.record()
        return tensors, facts | {"kind": next(kind for kind, is_a in KINDS.items() if isinstance(part, is_a))}

    def restored(self, record: Record) -> Part:
        """The part that `record` took apart, where the data are."""
        tensors, facts = record[0], dict(record[1])
        kind = facts.pop("kind")
        if kind == BROKEN:
            return facts["why"]
        device = self.model.device if is_read(self.x) else self.x.device
        stays = torch.float64 if device.type in WITHOUT_DOUBLE else None
        there = {
            name: value if name == "random_state" or value.dtype == stays else value.to(device)
            for name, value in tensors.items()
        }
        return KINDS[kind].from_record(self.model, there, facts)

    def save(self, path: Path, part: Part) -> None:
        """Write a part to its file; a warning says where that fails."""
        tensors, facts = self.record(part)
        try:
            files.save(path, facts.pop("kind"), tensors, facts)
        except (OSError, MemoryError) as error:
            warn(
                f"{error} The run goes on, and tries again at its next save; what it has is in memory until then."
            )

    def read(self, path: Path) -> Part | None:
        """What is in the file of a part; None where there is none. Raises ValueError for a damaged one."""
        if not path.exists():
            return None
        try:
            return self.restored(files.load(path, *KINDS, BROKEN))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{error} Or remove {path.name} and make the same call again: its {self.word} are then computed anew, "
                "and all others kept."
            ) from error

    def joined(self, parts: Sequence[Part]) -> AnyPosterior:
        """The posterior of all rows. Raises RuntimeError where none survived."""
        whole = [part for part in parts if not isinstance(part, str)]
        broken = [part for part in parts if isinstance(part, str)]
        if not whole:
            raise RuntimeError(broken[0])
        for said in broken:
            warn(f"{said} The others are returned.")
        posterior = type(whole[0]).joined(whole)
        if "probe" not in self.settings:
            return posterior
        probe = self.settings["probe"]
        if probe is None:
            density = log_posterior(self.model, self.x, self.y)
            probe = density.inputs(probe_rows(density.count))
        return replace(posterior, **mixing(self.model, posterior.draws, probe))


def _digest(value: object) -> str:
    digest = hashlib.sha256()
    _take(digest, value)
    return digest.hexdigest()[:16]


def _take(digest: hashlib._Hash, value: object) -> None:
    """Feed what a value is to a digest, the same in every process."""
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    elif isinstance(value, Stack):
        _take(digest, [value.theta, value.layout.record()])
    elif isinstance(value, Mapping):
        _take(digest, [part for pair in sorted(value.items()) for part in pair])
    elif isinstance(value, list | tuple):
        for part in value:
            _take(digest, part)
            digest.update(b",")
    elif is_read(value):
        dataset = getattr(value, "dataset", value)
        _take(digest, [type(dataset).__name__, len(dataset), getattr(value, "batch_size", None)])
    else:
        name = getattr(value, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        digest.update(name.encode())
