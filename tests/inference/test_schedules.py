"""Schedules against the factors that they state, and cycles against the steps that they keep."""

import pytest
from conjugate import conjugate

import bdlcore as bdl
from bdlcore.inference import schedules


def test_cycles_restart_the_schedule_and_sample_only_late():
    shares = []

    def schedule(share):
        shares.append(share)
        return 1 - share

    run = bdl.sgld(
        *conjugate().data,
        chains=2,
        draws=6,
        warmup=4,
        thinning=2,
        cycles=3,
        schedule=schedule,
        step_size=0.01,
    )
    assert run.draws.shape == (2, 6, 3)
    assert shares == [i / 8 for i in range(8)]  # asked once per share, before the first step
    plan = schedules.Plan(draws=6, warmup=4, thinning=2, cycles=3, schedule=schedule)
    assert [plan.factor(step) for step in range(plan.steps)] == [1 - i / 8 for i in range(8)] * 3
    assert [step for step in range(plan.steps) if plan.keeps(step)] == [5, 7, 13, 15, 21, 23]


def test_schedules_fall_from_one():
    for name, last in [("constant", 1.0), ("polynomial", 101**-0.55), ("cosine", 0.0)]:
        assert schedules.SCHEDULES[name](0.0) == pytest.approx(1.0)
        assert schedules.SCHEDULES[name](1.0) == pytest.approx(last, abs=1e-12)
