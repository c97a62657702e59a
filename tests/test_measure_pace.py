"""Time shared out among many measurements, on a synthetic clock."""

import math

import pytest
from synthetic_clock import SyntheticClock

from greenkernels.measure.pace import AROUND_S, LEAST_S, Pace
from greenkernels.measure.turns import Schedule

FULL = Schedule(rounds=11, budget_s=4.0)


def run(pace, around, jobs):
    """Each measurement takes its turns and what is around them; gives the budgets."""
    budgets = []
    for _ in range(jobs):
        budgets.append(pace.schedule(FULL).budget_s)
        pace.clock.sleep(budgets[-1] + around)
        pace.done()
    return budgets


def test_without_an_end_nothing_is_shortened():
    pace = Pace(3, clock=SyntheticClock())
    assert run(pace, 100.0, 3) == [4.0] * 3
    assert not pace.up
    assert pace.remaining_s() == 0


@pytest.mark.parametrize("around", [0.0, 1.0, 2.5])
def test_the_time_is_kept_and_used(around):
    pace = Pace(200, 600.0, SyntheticClock())  # 3 s each
    budgets = run(pace, around, 200)
    assert -5.0 <= pace.left_s <= 30.0
    assert all(LEAST_S <= budget <= 4.0 for budget in budgets)


def test_more_time_than_is_needed_lengthens_nothing():
    pace = Pace(10, 600.0, SyntheticClock())
    assert run(pace, 1.0, 10) == [4.0] * 10
    assert pace.left_s > 500


def test_late_measurements_keep_their_least_turns():
    pace = Pace(10, 10.0, SyntheticClock())
    assert run(pace, 5.0, 4)[1:] == [LEAST_S] * 3
    assert pace.up
    assert pace.schedule(FULL).min_rounds == FULL.min_rounds


def test_estimates():
    pace = Pace(4, clock=SyntheticClock())
    assert pace.remaining_s() is None
    assert pace.words() == "no estimate yet"
    run(pace, 56.0, 1)
    assert math.isclose(pace.remaining_s(), 180.0)
    assert pace.words() == "about 3 min left"
    assert Pace(4, 60.0, SyntheticClock()).words() == "about 60 s left"
    assert AROUND_S > 0
