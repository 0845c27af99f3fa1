"""How the step size of a sampler falls, and which of its states are kept as draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from .._support import validate

Schedule = Callable[[float], float]
# The share of a cycle that has passed, in [0, 1) -> the factor of the first step size.
SCHEDULES: dict[str, Schedule] = {
    "constant": lambda r: 1.0,
    "polynomial": lambda r: (1 + 100 * r) ** -0.55,  # Welling & Teh: a (b + t)^-gamma, gamma = 0.55
    "cosine": lambda r: 0.5 * (1 + math.cos(math.pi * r)),
}


@dataclass(frozen=True)
class Plan:
    """Which steps of a run are kept, and how their size falls; the arguments of `sgld` of the same names."""

    draws: int
    warmup: int
    thinning: int
    cycles: int
    schedule: str | Schedule

    def __post_init__(self):
        for name, minimum in (("draws", 1), ("warmup", 0), ("thinning", 1), ("cycles", 1)):
            validate.count(name, getattr(self, name), minimum)
        if self.draws % self.cycles:
            raise ValueError(
                f"draws must be a multiple of cycles, got {self.draws} draws in {self.cycles} cycles."
            )
        if not callable(self.schedule) and self.schedule not in SCHEDULES:
            raise ValueError(
                f"schedule must be one of {', '.join(SCHEDULES)} or a function, got {self.schedule!r}."
            )

        if callable(self.schedule):
            _ = self.factors  # one that fails does so now, rather than after most of the run

    @property
    def steps_per_cycle(self) -> int:
        return self.warmup + self.draws // self.cycles * self.thinning

    @property
    def steps(self) -> int:
        return self.cycles * self.steps_per_cycle

    @cached_property
    def factors(self) -> list[float]:
        """What a schedule that was given says at each step of a cycle."""
        shares = [step / self.steps_per_cycle for step in range(self.steps_per_cycle)]
        factors = [self.schedule(share) for share in shares]
        for share, factor in zip(shares, factors, strict=True):
            if not 0 < factor < math.inf:
                raise ValueError(f"schedule({share:.3g}) gave {factor}; it must return positive factors.")
        return factors

    def lengthened(self, draws: int, made: int) -> Plan:
        """The plan of a run that began with this one and had `made` draws, for `draws` more, in cycles as long.

        One constant cycle just goes on.
        """
        total, each = validate.count("draws", draws) + made, self.draws // self.cycles
        if self.cycles == 1 and self.schedule == "constant":
            return replace(self, draws=total)
        if total % each:
            raise ValueError(
                f"draws must end a cycle, which has {each}: after {made} give {-made % each or each}, and {each} for "
                f"each further cycle; got {draws}."
            )
        return replace(self, draws=total, cycles=total // each)

    def record(self) -> dict:
        """What stays the same where a run goes on: numbers, and the name of the schedule or what it says."""
        schedule = self.factors if callable(self.schedule) else self.schedule
        return {"warmup": self.warmup, "thinning": self.thinning, "schedule": schedule}

    def steps_until(self, draws: int) -> int:
        """How many steps have been made when there are so many draws, at least one."""
        cycle, draw = divmod(draws - 1, self.draws // self.cycles)
        return cycle * self.steps_per_cycle + self.warmup + (draw + 1) * self.thinning

    def factor(self, step: int) -> float:
        """What the first step size is multiplied by at this step of the run."""
        step %= self.steps_per_cycle
        if callable(self.schedule):
            return self.factors[step]
        return SCHEDULES[self.schedule](step / self.steps_per_cycle)

    def keeps(self, step: int) -> bool:
        """Is the state after this step a draw?"""
        past_warmup = step % self.steps_per_cycle - self.warmup + 1
        return past_warmup > 0 and past_warmup % self.thinning == 0
