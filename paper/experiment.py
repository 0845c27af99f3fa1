"""What an experiment is: a question, a grid of cells, a function that computes one, and a table of what came out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

SIZES = ("tiny", "hour", "full")

Settings = Mapping[str, object]
Record = dict[str, object]  # labels and values of one line of results


@dataclass(frozen=True)
class Table:
    """How records become a table: one row per value of `rows`, the mean and standard deviation over seeds.

    Attributes:
        rows: labels that a row stands for.
        values: value -> heading, one column each; with `columns` the one value that is shown.
        columns: the label that is spread over columns, one column for each of its values.
    """

    rows: tuple[str, ...]
    values: Mapping[str, str]
    columns: str | None = None


@dataclass(frozen=True)
class Experiment:
    """One experiment of a paper.

    Attributes:
        name: what it is called on the command line, and its module.
        lesson: number of the lesson whose *At full scale* section shows it.
        question: what it measures, in a sentence.
        source: the paper, with its section or figure.
        published: what the paper reports, in sentences.
        differences: what our full size does otherwise than the paper.
        sizes: settings at each size, numbers, words and lists of them; the same names at every size.
        grid: label of a cell -> the setting that lists its values; all combinations are computed.
        run: (settings, cell, device) -> the records of a cell: labels, and values that are numbers.
        table: how they are shown.
        paper: row of the table -> what the paper has there, for a column of its own.
        scaled: settings that the time grows with, and the smallest value of each that still runs.
        seconds, memory: powers of those settings' share of their full values that time and memory are made of.
        kinds: labels of a cell that change what it costs.
    """

    name: str
    lesson: str
    question: str
    source: str
    published: str
    differences: str
    sizes: Mapping[str, Settings]
    grid: Mapping[str, str]
    run: Callable[[Settings, Mapping, torch.device], list[Record]]
    table: Table
    scaled: Mapping[str, int]
    paper: Mapping[tuple, str] = field(default_factory=dict)
    seconds: Sequence[int] = (0, 1)
    memory: Sequence[int] = (0, 1)
    kinds: tuple[str, ...] = ()

    def settings(self, size: str) -> Settings:
        """The settings of a size; raises ValueError for one that is not in `SIZES`."""
        if size not in self.sizes:
            raise ValueError(f"Unknown size {size!r}; choose one of {', '.join(SIZES)}.")
        return self.sizes[size]

    def cells(self, size: str) -> list[dict]:
        """The cells of the grid, in the order in which they are computed: all of one seed before the next."""
        settings = self.settings(size)
        names = sorted(self.grid, key=lambda name: name != "seed")
        values = itertools.product(*(settings[self.grid[name]] for name in names))
        return [dict(zip(names, each)) for each in values]

    def kind(self, cell: Mapping) -> tuple:
        """What a cell's cost depends on."""
        return tuple(cell[name] for name in self.kinds)
