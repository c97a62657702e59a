"""Cores that are slowed down: rounds in which the kernel counts that are taken again, and a lost peak marks a row."""

import torch
from synthetic_clock import SyntheticClock, contender, double

from greenkernels.measure import Kind, Measurement, Row, Schedule, rounds, take_turns, throttling
from greenkernels.measure import suite as suites
from greenkernels.measure.suite import Case, Trial, run_case, slowdown
from greenkernels.measure.throttling import SLOWED, Throttling, throttle_count
from greenkernels.measure.turns import Turns

X = (torch.arange(12.0),)


def peak(value):
    return {"fma": Measurement(value, "op/s", Kind.MEASURED, value, value, (value,))}


class Scripted:
    """Says for each round whether cores were throttled in it."""

    def __init__(self, script):
        self.script = iter(script)

    def seen(self):
        return next(self.script, False)


def turns_with(monkeypatch, script, count=5):
    clock, calls = SyntheticClock(), []
    monkeypatch.setattr(rounds, "Throttling", lambda: Scripted(script))
    entries = [contender("a", clock, 0.01, keep=True), contender("b", clock, 0.01)]
    schedule = Schedule(rounds=count, min_rounds=2)
    return take_turns(entries, X, schedule, clock=clock, progress=calls.append), calls


def test_throttled_rounds_are_taken_again(monkeypatch):
    turns, calls = turns_with(monkeypatch, [False, False, True, False, True])
    assert turns.throttled_rounds == 2
    assert [len(samples) for samples in turns.samples.values()] == [5, 5]
    assert calls[-1] == 1.0


def test_the_least_rounds_are_kept_and_the_run_ends(monkeypatch):
    turns, _ = turns_with(monkeypatch, [True] * 99)
    assert [len(samples) for samples in turns.samples.values()] == [2, 2]
    assert turns.throttled_rounds == 8


def test_counters_of_all_cores_add_up(tmp_path, monkeypatch):
    assert throttle_count(tmp_path) is None
    for core, (own, package) in enumerate(((3, 1), (4, 1))):
        folder = tmp_path / f"cpu{core}" / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{own}\n")
        (folder / "package_throttle_count").write_text(f"{package}\n")
    assert throttle_count(tmp_path) == 9
    monkeypatch.setattr(throttling, "throttle_count", lambda: throttle_count(tmp_path))
    watched = Throttling()
    assert not watched.seen()
    (tmp_path / "cpu1/thermal_throttle/core_throttle_count").write_text("6\n")
    assert watched.seen()
    assert not watched.seen()


def test_who_cannot_count_sees_nothing(monkeypatch):
    monkeypatch.setattr(throttling, "throttle_count", lambda: None)
    assert not Throttling().seen()


def test_a_lost_peak_takes_the_case_again_and_marks_the_row(monkeypatch):
    assert slowdown(peak(100.0), peak(80.0)) == 1 - 0.8
    assert slowdown(peak(80.0), peak(100.0)) == slowdown({}, {}) == 0.0
    assert suites.calmest(iter([Turns(slowdown=0.3), Turns(slowdown=0.05)]).__next__).slowdown == 0.05

    def rows_with(*readings):
        peaks = iter(map(peak, readings))
        monkeypatch.setattr(suites, "ceilings", lambda: next(peaks))
        monkeypatch.setattr(suites, "_turns_of", lambda *_: Turns({"torch": [[0.01]]}, threads=1))
        trial = Trial([contender("torch", SyntheticClock(), 0.01)], X, double, 1e-6, frozenset())
        return run_case("s", Case("c", lambda: trial), 1, Schedule(rounds=1))

    (calm,) = rows_with(100.0, 60.0, 100.0, 99.0)  # the second attempt
    assert not calm.noisy
    assert "slowdown" not in calm.extra
    assert calm.ceilings["fma"].repeats == (100.0, 99.0)
    (slowed,) = rows_with(100.0, 60.0, 100.0, 70.0)
    assert slowed.noisy
    assert slowed.extra["slowdown"] > SLOWED
    assert Row.from_json(slowed.to_json()).noisy
