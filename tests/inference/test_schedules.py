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


@pytest.mark.parametrize(
    ("cycles", "schedule", "made", "draws"),
    [
        (1, "constant", 5, 4),
        (1, "cosine", 5, 7),
        (1, "cosine", 12, 12),
        (3, "constant", 6, 10),
        (4, "cosine", 12, 3),
    ],
)
def test_a_lengthened_plan_keeps_what_has_been_made(cycles, schedule, made, draws):
    """Its steps up to the last draw that was made have the sizes that they had, and the draws are all there."""
    begun = schedules.Plan(12, 7, 3, cycles, schedule)
    plan = begun.lengthened(draws, made)
    assert plan.draws == made + draws == sum(map(plan.keeps, range(plan.steps)))
    so_far = begun.steps_until(made)
    assert plan.steps_until(made) == so_far
    assert begun.keeps(so_far - 1) and sum(map(begun.keeps, range(so_far))) == made
    for step in range(so_far):
        assert plan.factor(step) == begun.factor(step) and plan.keeps(step) == begun.keeps(step)
    assert plan.steps_until(plan.draws) == plan.steps


@pytest.mark.parametrize(("made", "draws", "give"), [(4, 3, 4), (8, 1, 4), (6, 3, 2)])
def test_a_cycle_is_finished(made, draws, give):
    message = f"a cycle, which has 4: after {made} give {give}, and 4 for each further cycle; got {draws}"
    with pytest.raises(ValueError, match=message):
        schedules.Plan(12, 0, 1, 3, "cosine").lengthened(draws, made)
