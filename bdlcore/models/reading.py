"""Data that are read while they are needed: a `Dataset` of pairs (x, y), or a `DataLoader` of one.

What is read, in which order and how often is decided by the method and its seed, never by the loader: N is the length
of the dataset, and minibatches go through shuffled data in turn, so that a fit from a loader equals that from tensors.
A loader says how to read: the size of its batches, its workers, and how items are put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from .._support import memory
from .._support.progress import progress
from .._support.randomness import derived, seeded

Data = Tensor | Dataset | DataLoader

_HOW = (
    "num_workers",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "prefetch_factor",
)


def is_read(x: Data) -> bool:
    """Whether x are data that have to be read, or else tensors."""
    return isinstance(x, Dataset | DataLoader)


class Reader:
    """Reads chosen items of a dataset, as tensors (x, y) with the data axis first.

    Random transforms draw anew whenever an item is read. They find the global generators (of PyTorch, NumPy and
    `random`) at seeds of the batch's own, so that what is read does not depend on the number of workers.

    Args:
        source: a `Dataset` whose items are pairs (x, y), or a `DataLoader` of one.
        y: targets that were given beside it, which is refused.
        device: where tensors go.
        targets: whether y is needed; else items may be x alone, and y is left out.

    Attributes:
        count: N, the length of the dataset.
        batch_size: of the loader; None for a `Dataset`.
        x, y: the first datum, (1, ...) each; y is None without targets.
    """

    def __init__(
        self,
        source: Dataset | DataLoader,
        y: Tensor | None = None,
        *,
        device: torch.device | str = "cpu",
        targets: bool = True,
    ):
        self.kind, self.device, self.targets = type(source).__name__, device, targets
        if y is not None:
            raise ValueError(f"x is a {self.kind}, which gives targets as well: leave out y.")
        self.loader = source if isinstance(source, DataLoader) else None
        self.dataset = source if self.loader is None else self.loader.dataset
        self._check_length()
        self.batch_size, self.drop_last, self.shuffled = None, False, False
        if self.loader is not None:
            self._check_loader(self.loader.batch_sampler)
        self.x, self.y = self._first()

    def _check_length(self) -> None:
        kind, length = type(self.dataset).__name__, getattr(self.dataset, "__len__", None)
        if isinstance(self.dataset, IterableDataset) or length is None:
            raise TypeError(
                f"x reads from a {kind} without a length; a posterior needs to know N, the number of data. Use a "
                "Dataset with __len__ and __getitem__."
            )
        self.count = length()
        if self.count == 0:
            raise ValueError("x is an empty dataset. Give at least one datum.")

    def _check_loader(self, batches: BatchSampler | Iterable | None) -> None:
        if batches is None:
            raise ValueError(
                "x is a DataLoader with batch_size=None, so that nobody knows how many data a batch has. Give a "
                "dataset of single data, and a batch_size."
            )
        own = batches.sampler if type(batches) is BatchSampler else batches
        self.shuffled = type(own) is RandomSampler
        once = self.shuffled and not own.replacement and own.num_samples == self.count
        if not once and type(own) is not SequentialSampler:
            raise ValueError(
                f"x is a DataLoader with a {type(own).__name__}. A posterior counts every datum once: give one with "
                "shuffle=True or False, of a torch.utils.data.Subset for a part of the data."
            )
        self.batch_size, self.drop_last = batches.batch_size, batches.drop_last

    def _first(self) -> tuple[Tensor, Tensor | None]:
        try:
            return self._read_here([0])
        except (TypeError, RuntimeError) as error:
            wanted = "pairs (x, y)" if self.targets else "x, or pairs (x, y),"
            raise TypeError(
                f"The first item of x, a {self.kind}, cannot be used: {error} Items must be {wanted} of tensors, "
                "arrays or numbers; images need a transform such as torchvision.transforms.ToTensor()."
            ) from error

    def must_be_complete(self) -> None:
        """Refuse a loader that leaves data out, where all are read."""
        if self.drop_last and (left := self.count % self.batch_size):
            raise ValueError(
                f"x is a DataLoader with drop_last=True, which leaves out {left} of {self.count} data, and all are "
                "read here. Use drop_last=False."
            )

    def must_be_in_order(self) -> None:
        """Refuse a loader that shuffles, where what is computed has the order of the data."""
        if self.shuffled:
            raise ValueError(
                "x is a DataLoader with shuffle=True, so that nobody would know which prediction is whose. Use "
                "shuffle=False: predictions have the order of the dataset."
            )

    def must_fit(self, count: int, what: str, advice: str) -> None:
        """Raise MemoryError when `count` inputs do not fit."""
        memory.must_fit(count * self.x.numel(), self.x, f"{count:,} {what}", advice)

    def read(
        self, batches: Iterable[Sequence[int]], seed: int = 0, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """(x, y) of each batch of positions; workers read ahead where the loader has some.

        Random transforms in batch b depend on (seed, first + b).
        """
        keys = ((derived(seed, b), positions) for b, positions in enumerate(batches, first))
        how = {} if self.loader is None else {name: getattr(self.loader, name) for name in _HOW}
        # a generator, else the global one would be asked for a number
        loader = DataLoader(
            self._batches(), sampler=keys, batch_size=None, generator=torch.Generator(), **how
        )
        return (self._there(batch) for batch in loader)

    def inputs(self, positions: Tensor) -> Tensor:
        """x at these positions."""
        return self._read_here(positions.tolist())[0]

    def chunks(
        self, size: int, positions: range | None = None, seed: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(x, y) of all data in their order, or of a range of them, `size` at a time."""
        positions = range(self.count) if positions is None else positions
        parts = (positions[i : i + size] for i in range(0, len(positions), size))
        return self.read(parts, seed, positions.start)

    def gather(self, size: int) -> tuple[Tensor, Tensor | None]:
        """All data as tensors, read `size` at a time. Raises MemoryError where they do not fit."""
        self.must_be_complete()
        advice = "Use sgld, sghmc, mean_field_vi, swag or ensemble, which read minibatches."
        if not self.targets:
            advice = "Predict for a part of them at a time, such as a torch.utils.data.Subset."
        self.must_fit(self.count, "data, all of which are needed at once,", advice)
        first = (self.x, self.y) if self.targets else (self.x,)
        whole, read = [part.new_empty(self.count, *part.shape[1:]) for part in first], self.chunks(size)
        for i in progress(-(-self.count // size), "reading data"):
            for part, read_now in zip(whole, next(read)):
                part[i * size : (i + 1) * size] = read_now
        return whole[0], whole[1] if self.targets else None

    def _batches(self) -> Dataset:
        return _Batches(self.dataset, default_collate if self.loader is None else self.loader.collate_fn)

    def _read_here(self, positions: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """In this process: a few items are there before a worker would have started."""
        return self._there(self._batches()[derived(0, 0), positions])

    def _there(self, batch: tuple[object, int]) -> tuple[Tensor, Tensor | None]:
        """x and y of a batch, checked, on the device."""
        values, asked = batch
        if not self.targets and isinstance(values, Tensor):
            values = (values, None)
        elif not self.targets and isinstance(values, tuple | list) and len(values) == 1:
            values = (*values, None)
        if not isinstance(values, tuple | list) or len(values) != 2:
            many = f" of {len(values)}" if isinstance(values, tuple | list) else ""
            raise TypeError(f"it is a {type(values).__name__}{many}, not a pair.")
        x, y = values
        for name, value in {"x": x, "y": y}.items() if self.targets else {"x": x}.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"its {name} became a {type(value).__name__}, not a tensor.")
            if value.ndim == 0 or len(value) != asked:
                raise ValueError(
                    f"A batch of {asked} data has {name} of shape {tuple(value.shape)}; the first axis must be the "
                    "data's. Look at the collate_fn."
                )
        x = x.to(self.device, non_blocking=True)
        return x, y.to(self.device, non_blocking=True) if self.targets else None


class _Batches(Dataset):
    """A dataset whose items are whole batches of another: at (seed, positions), with their number."""

    def __init__(self, items: Dataset, collate):
        self.items, self.collate = items, collate

    def __getitem__(self, key: tuple[int, Sequence[int]]) -> tuple[object, int]:
        seed, positions = key
        with seeded(seed):
            many = getattr(self.items, "__getitems__", None)
            items = many(positions) if many else [self.items[i] for i in positions]
            return self.collate(items), len(positions)
