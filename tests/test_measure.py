"""The measuring core on a synthetic clock: verdicts, cheats and turns. No test here depends on real time."""

import pytest
import torch
from synthetic_clock import SyntheticClock, contender

from greenkernels.measure import (
    Contender,
    Schedule,
    compare_rounds,
    relative_error,
    take_turns,
    variations,
)
from greenkernels.measure.compare import median_interval
from greenkernels.measure.provenance import quartiles
from greenkernels.measure.rounds import Rounds

X = (torch.arange(12.0).reshape(3, 4),)


def run(contenders, clock, **options):
    options.setdefault("reference", lambda x: 2 * x.double())
    return take_turns(contenders, X, clock=clock, tolerance=1e-6, **options)


# --- verdicts


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0.008, "faster"), (0.013, "slower"), (0.0101, "no difference")]
)
def test_verdict_beyond_noise(seconds, verdict):
    clock = SyntheticClock()
    turns = run(
        [contender("a", clock, 0.01, noise=0.01), contender("b", clock, seconds, noise=0.01)], clock, twin="a"
    )
    assert turns.compare("a", "b").verdict == verdict
    assert turns.ranked() == (["b", "a"] if seconds < 0.01 else ["a", "b"])


def test_drift_of_the_machine_cancels():
    clock = SyntheticClock()

    def slower_and_slower(factor):
        def call(x):
            clock.work(0.01 * factor * (1 + clock.seconds))
            return 2 * x

        return call

    turns = run([Contender("a", slower_and_slower(1.0)), Contender("b", slower_and_slower(0.8))], clock)
    assert turns.compare("a", "b").ratio.value == pytest.approx(1.25, rel=0.05)


def test_noise_is_the_difference_to_the_twin():
    clock = SyntheticClock()
    steady = run([contender("a", clock, 0.01)], clock, twin="a")
    assert steady.noise() == pytest.approx(0, abs=1e-9)
    assert list(steady.samples) == ["a", "a (again)"]
    assert steady.ranked() == ["a"]


def test_median_interval_holds_the_confidence():
    # 9 values: 2 P(Binomial(9, 1/2) < 2) = 20/512 = 3.9 %, with 3 it would be 18 %
    assert median_interval(list(range(9))) == (1, 7)
    low, high = median_interval([1.0, 1.1, 1.2])  # too few: wider than the range itself
    assert low < 1.0
    assert high > 1.2


def test_quartiles():
    assert quartiles([1.0]) == (1.0, 1.0, 1.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    with pytest.raises(ValueError, match="must not be empty"):
        quartiles([])


# --- who is thrown out


def test_wrong_contender_is_thrown_out():
    clock = SyntheticClock()
    turns = run([contender("a", clock, 0.01), contender("wrong", clock, 0.001, lambda x: 2.1 * x)], clock)
    assert "relative error 5.0e-02" in turns.thrown_out["wrong"]
    assert turns.ranked() == ["a"]


def test_failing_contender_is_thrown_out():
    clock = SyntheticClock()

    def fail(x):
        raise RuntimeError("no such kernel\nlong trace")

    turns = run([contender("a", clock, 0.01), Contender("broken", fail)], clock)
    assert turns.thrown_out == {"broken": "raised RuntimeError: no such kernel"}


# --- turns


def test_slow_contender_gets_no_more_turns_but_keeps_its_times():
    clock = SyntheticClock()
    entries = [
        contender("a", clock, 0.01),
        contender("slow", clock, 0.1),
        contender("base", clock, 0.1, keep=True),
    ]
    turns = run(entries, clock, schedule=Schedule(rounds=6, drop_beyond=5))
    assert [len(turns.samples[n]) for n in ("a", "slow", "base")] == [6, 2, 6]
    turns = run(
        entries, clock, schedule=Schedule(rounds=6, drop_beyond=1.5)
    )  # so far behind that one round will do
    assert [len(turns.samples[n]) for n in ("a", "slow", "base")] == [6, 1, 6]


def test_budget_ends_the_run_after_the_least_rounds():
    clock = SyntheticClock()
    turns = run(
        [contender("a", clock, 10.0)], clock, schedule=Schedule(rounds=50, min_rounds=3, budget_s=1.0)
    )
    assert len(turns.samples["a"]) == 3


def test_short_call_is_repeated_within_one_timing():
    clock, calls = SyntheticClock(), []

    def call(x):
        calls.append(1)
        clock.work(1e-6)
        return 2 * x

    turns = run(
        [Contender("a", call)], clock, schedule=Schedule(rounds=1, timed=1, untimed=1, min_window_s=1e-4)
    )
    assert len(calls) == 1 + 101  # the first untimed call says how often
    assert turns.time("a").value == pytest.approx(1e-6)


def test_contender_may_bring_its_own_timer():
    clock, asked = SyntheticClock(), []

    def timer(arguments, inner):
        asked.append(inner)
        return 0.004, 2 * arguments[0]  # as a worker process would: no time passes on the clock here

    elsewhere = Contender("elsewhere", call=None, timer=timer)
    turns = run([contender("a", clock, 0.01), elsewhere], clock)
    assert turns.time("elsewhere").value == 0.004
    assert turns.compare("a", "elsewhere").verdict == "faster"
    assert set(asked) == {1}  # a call of 4 ms needs no repeats


def test_inputs_of_the_caller_stay():
    x = torch.arange(6.0)
    clock = SyntheticClock()
    take_turns([contender("a", clock, 0.01)], (x,), clock=clock)
    assert torch.equal(x, torch.arange(6.0))


def test_variations_keep_values_and_strides():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for (y,) in variations((x,), 4):
        assert y.stride() == x.stride()
        assert torch.equal(y.flatten().sort().values, x.flatten().sort().values)


def test_names_must_differ():
    clock = SyntheticClock()
    with pytest.raises(ValueError, match="names of contenders must differ"):
        run([contender("a", clock, 1), contender("a", clock, 1)], clock)


def test_relative_error():
    one = torch.ones(4)
    assert relative_error(one, one) == 0
    assert relative_error(1.5 * one, one) == pytest.approx(0.5)
    assert relative_error(one[:2], one) == float("inf")
    assert relative_error(one * float("nan"), one) == float("inf")
    assert relative_error({"y": [one]}, {"y": [2 * one]}) == pytest.approx(0.5)


def test_compare_needs_a_round():
    with pytest.raises(ValueError, match="at least one round"):
        compare_rounds([], [[1.0]])


def test_other_layers_run_between_calls(monkeypatch):
    """Their bytes are read outside of the time, before every call; short calls are not repeated within one timing."""
    read = []
    monkeypatch.setattr(Rounds, "run_others", lambda self, slot: read.append(self.others.nbytes))
    clock = SyntheticClock()
    schedule = Schedule(rounds=2, timed=3, untimed=1, between_bytes=1 << 12)
    turns = take_turns([contender("a", clock, 1e-6)], X, schedule, clock=clock)
    assert read == [1 << 12] * 8
    assert turns.time("a").value == pytest.approx(1e-6)
