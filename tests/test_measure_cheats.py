"""Contenders that cheat, one a way: each is thrown out with a reason, or gains nothing by it."""

import threading
import time

import numpy as np
import pytest
import torch
from synthetic_clock import SyntheticClock, contender

from greenkernels.measure import Clock, Contender, Schedule, take_turns
from greenkernels.measure.checks import CHECK_EVERY

X = (torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)),)
SECONDS = 0.01
DRAWN = "wrong in elements of a timed call that were drawn at random"


def run(function, **options):
    """An honest contender and the cheat, which has a tenth of the time."""
    clock, schedule = SyntheticClock(), Schedule()

    def cheat_at(x):
        clock.work(SECONDS / 10)
        return function(clock, x)

    cheat = Contender("cheat", cheat_at, **options)
    return take_turns(
        [contender("honest", clock, SECONDS, keep=True), cheat],
        X,
        schedule,
        reference=lambda x: 2 * x.double(),
        tolerance=1e-6,
        clock=clock,
    )


def remembering(key):
    memory = {}

    def call(clock, x):
        if key(x) not in memory:
            clock.work(SECONDS)
            memory[key(x)] = 2 * x
        return memory[key(x)]

    return call


@pytest.mark.parametrize(
    "key",
    [lambda x: 0, lambda x: x.data_ptr(), lambda x: tuple(x.shape), lambda x: (x.data_ptr(), x._version)],
    ids=["first", "address", "shape", "version"],
)
def test_who_remembers_is_thrown_out(key):
    turns = run(remembering(key))
    assert "cheat" in turns.thrown_out
    assert turns.ranked() == ["honest"]


def test_remembering_by_object_is_thrown_out():
    memory = {}  # holds the object, so that no other gets its number

    def call(clock, x):
        if id(x) not in memory:
            clock.work(SECONDS)
            memory[id(x)] = (x, 2 * x)
        return memory[id(x)][1]

    assert "cheat" in run(call).thrown_out


@pytest.mark.parametrize("seconds", [SECONDS, 1e-6], ids=["long", "repeated within a timing"])
def test_remembering_by_content_gains_nothing(seconds):
    clock, memory = SyntheticClock(), {}

    def remember(x):
        key = tuple(x.flatten().tolist())
        if key not in memory:
            clock.work(seconds)
            memory[key] = 2 * x
        return memory[key]

    entries = [contender("honest", clock, seconds), Contender("cheat", remember)]
    turns = take_turns(entries, X, Schedule(rounds=3, min_window_s=2e-5), clock=clock)
    assert turns.compare("honest", "cheat").ratio.value == pytest.approx(1)


def test_who_skips_is_thrown_out():
    turns = run(lambda clock, x: torch.empty_like(x))
    assert "cheat" in turns.thrown_out


def test_who_skips_a_part_is_thrown_out():
    def call(clock, x):
        out = 2 * x
        out[:, 8:] = 0
        return out

    assert "relative error" in run(call).thrown_out["cheat"]


def test_who_is_right_only_where_outputs_are_checked_in_full_is_thrown_out():
    calls = []
    burst = Schedule().untimed + Schedule().timed

    def call(clock, x):
        calls.append(1)
        return 2 * x if (len(calls) - 1) // burst % CHECK_EVERY == 0 else torch.zeros_like(x)

    assert run(call).thrown_out == {"cheat": DRAWN}
    assert len(calls) == 2 * burst  # found in the second round


def test_who_is_right_only_in_the_last_call_of_a_burst_is_thrown_out():
    calls = []

    def call(clock, x):
        calls.append(1)
        return 2 * x if len(calls) % 5 == 0 else torch.zeros_like(x)

    assert run(call).thrown_out == {"cheat": DRAWN}


def test_the_reference_says_who_is_wrong_even_if_it_is_the_baseline():
    clock, calls = SyntheticClock(), []

    def lazy_baseline(x):
        calls.append(1)
        clock.work(SECONDS)
        return 2 * x if len(calls) % 5 == 0 else torch.zeros_like(x)

    entries = [Contender("baseline", lazy_baseline, keep=True), contender("honest", clock, SECONDS)]
    turns = take_turns(entries, X, reference=lambda x: 2 * x.double(), tolerance=1e-6, clock=clock)
    assert turns.thrown_out == {"baseline": DRAWN}


def test_stale_output_is_thrown_out():
    last = [torch.zeros_like(X[0])]

    def call(clock, x):
        last.append(2 * x)
        return last[-2]

    assert "cheat" in run(call).thrown_out


def test_who_changes_its_inputs_is_thrown_out_and_harms_nobody():
    turns = run(lambda clock, x: x.mul_(2))
    assert turns.thrown_out == {"cheat": "changed its inputs"}
    assert turns.errors["honest"] < 1e-6


def test_output_that_a_thread_has_not_finished_is_thrown_out():
    gate, threads = threading.Event(), []

    def finish(x, out):
        gate.wait()  # until after the run: what a call leaves to others is not done when it returns
        np.multiply(x, 2, out=out)

    def call(clock, x):
        out = torch.zeros_like(x)
        threads.append(threading.Thread(target=finish, args=(x.numpy(), out.numpy())))
        threads[-1].start()
        return out

    try:
        assert "cheat" in run(call).thrown_out
    finally:
        gate.set()
        for thread in threads:
            thread.join()


class Lazy(torch.Tensor):
    """Does its work when somebody reads it."""


def test_lazy_output_is_thrown_out():
    turns = run(lambda clock, x: (2 * x).as_subclass(Lazy))
    assert turns.thrown_out == {"cheat": "the output is a Lazy, which may do its work when it is read"}


def test_no_tensor_at_all_is_thrown_out():
    assert "relative error inf" in run(lambda clock, x: lambda: 2 * x).thrown_out["cheat"]


def test_who_fails_to_prove_its_claim_is_thrown_out():
    turns = run(lambda clock, x: 2 * x, proof=lambda: "never compiled: the graph broke at print")
    assert turns.thrown_out == {"cheat": "never compiled: the graph broke at print"}
    assert not run(lambda clock, x: 2 * x, proof=lambda: None).thrown_out


def test_tampering_with_the_module_clock_changes_nothing(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    clock = Clock()
    begin = clock.now()
    assert clock.now() > begin


def test_worker_that_answers_wrong_is_thrown_out():
    turns = run(None, timer=lambda arguments, inner: (1e-6, torch.zeros_like(arguments[0])))
    assert "cheat" in turns.thrown_out
