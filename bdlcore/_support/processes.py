"""The processes that compute one thing together: those that torchrun has started, or `torch.distributed` joins.

They say little to each other, at the beginning and at the end. That goes over gloo, on the CPU: each may have a GPU of
its own or none, and no GPU needs room for what others have computed.
"""

from __future__ import annotations

import atexit
import math
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from . import memory
from .environment import processes, restarts

PATIENCE = timedelta(days=30)  # for the slowest one, at the end of a long run


class Processes:
    """`with Processes() as team:` joins those that there are; where there is one only, that one.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
    """

    stays = False  # whether there is a group of ours, which lives as long as the process

    def __enter__(self) -> Processes:
        self.rank, self.count, self.group, self.borrowed = 0, 1, None, False
        if dist.is_available() and dist.is_initialized() and not Processes.stays:
            self.group, self.borrowed = dist.new_group(backend="gloo", timeout=PATIENCE), True
        elif processes() > 1:
            if not Processes.stays:
                store, rank, count = next(dist.rendezvous("env://"))
                store = dist.PrefixStore(
                    f"bdlcore, start {restarts()}", store
                )  # old addresses stay in torchrun's
                dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=PATIENCE)
                atexit.register(_leave)
            self.group, Processes.stays = dist.group.WORLD, True
        if self.group is not None:
            self.rank, self.count = dist.get_rank(), dist.get_world_size()
        return self

    def __exit__(self, *error: object) -> None:
        if self.borrowed:
            dist.destroy_process_group(self.group)

    def each(self, value: object) -> list:
        """What every process gives, by rank; plain values."""
        if self.group is None:
            return [value]
        values = [None] * self.count
        self._say(dist.all_gather_object, values, value)
        return values

    def first(self, ask: Callable[[], object]) -> object:
        """What `ask()` gives or raises in the first process alone, for every process."""
        value = error = None
        if self.rank == 0:
            try:
                value = ask()
            except (OSError, ValueError) as caught:
                error = caught
        value, error = self.each((value, error))[0]
        if error is not None:
            raise error
        return value

    def share(
        self, owner: int, given: tuple[dict[str, Tensor], dict] | None
    ) -> tuple[dict[str, Tensor], dict]:
        """The tensors, on the CPU, and plain facts that the owner gives, for every process; the others give None.

        Raises MemoryError, before any is sent, where they do not fit.
        """
        mine = owner == self.rank
        tensors, facts = given or ({}, {})
        kinds = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
        said = [kinds, facts] if mine else [None, None]
        self._say(dist.broadcast_object_list, said, src=owner, group=self.group)
        kinds, facts = said
        if not mine:
            size, like = (
                sum(math.prod(shape) * dtype.itemsize for shape, dtype in kinds.values()),
                torch.empty(0),
            )
            memory.must_fit(
                -(-size // like.element_size()),
                like,
                "Results of another process",
                "Start fewer on a machine.",
            )
        received = {}
        for name, (shape, dtype) in kinds.items():
            value = tensors[name].detach().cpu().contiguous() if mine else torch.empty(shape, dtype=dtype)
            self._say(dist.broadcast, value, src=owner, group=self.group)
            received[name] = value
        return received, facts

    def _say(self, collective, *given, **more) -> None:
        try:
            collective(*given, **({"group": self.group} | more))
        except (RuntimeError, ValueError) as error:
            raise RuntimeError(
                f"Another process of this run has ended ({error}). What has been saved is whole: start the run again."
            ) from error


def _leave() -> None:
    """End the group before Python does: gloo's threads, where they still run then, now and then abort the process."""
    if dist.is_initialized():
        dist.destroy_process_group()
