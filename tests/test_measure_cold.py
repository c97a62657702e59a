"""Cold turns: every call on weights and inputs that a whole rotation has pushed out of the caches."""

import itertools

import pytest
import torch
from synthetic_clock import SyntheticClock, contender

from greenkernels.measure import Contender, Schedule, machine, take_turns
from greenkernels.measure import suite as suites
from greenkernels.measure.slots import COPIES, weight_bytes
from greenkernels.measure.suite import ATTEMPTS, Case, Trial, calmest, run_case
from greenkernels.measure.turns import FOREIGN_CORES, Turns

X = (torch.randn(8, 64, generator=torch.Generator().manual_seed(0)),)
BURST = Schedule().untimed + Schedule().timed


class Layer(torch.nn.Linear):
    """A linear layer that notes which bytes a call reads."""

    def __init__(self, clock, seen):
        super().__init__(64, 64)
        torch.nn.init.ones_(self.weight)
        torch.nn.init.zeros_(self.bias)
        self.clock, self.seen = clock, seen

    def forward(self, x):
        self.clock.work(0.01)
        self.seen.append((x.data_ptr(), self.weight.data_ptr()))
        return super().forward(x)


def layered(name, clock, seen, keep=False):
    fresh = lambda: layered(name, clock, seen, keep)  # noqa: E731
    return Contender(name, Layer(clock, seen), keep=keep, fresh=fresh)


def cold_turns(wanted, rounds=9, names="ab"):
    clock, seen = SyntheticClock(), {name: [] for name in names}
    entries = [layered(name, clock, seen[name], keep=name == "a") for name in names]
    turns = take_turns(
        entries,
        X,
        Schedule(rounds=rounds, cold_bytes=wanted),
        reference=lambda x: x.double() @ torch.ones(64, 64, dtype=torch.float64),
        tolerance=1e-5,
        clock=clock,
    )
    return turns, seen


def test_no_copy_comes_again_before_the_rotation_is_through():
    each = X[0].nbytes + (64 * 64 + 64) * 4
    turns, seen = cold_turns(wanted=2 * 12 * each)
    assert not turns.thrown_out
    assert turns.rotated_bytes >= 2 * 12 * each
    for calls in seen.values():
        timed = calls[12:]  # the first 12 made and packed the copies
        assert len(timed) == 9 * BURST
        for now in range(len(timed) - 12):
            assert timed[now + 12] == timed[now]  # the ring goes round
            assert timed[now] not in timed[now + 1 : now + 12]
        assert len({weight for _, weight in timed}) == 12


def test_contents_change_under_the_same_address():
    turns, _ = cold_turns(wanted=1)  # the least rotation: one burst
    assert turns.errors["a"] < 1e-6
    assert not turns.thrown_out


def test_remembering_by_weight_and_address_is_thrown_out_cold():
    clock = SyntheticClock()

    def remembering():
        memory = {}

        def call(x):
            clock.work(0.01)
            return memory.setdefault(x.data_ptr(), 2 * x)

        return Contender("cheat", call, fresh=remembering)

    honest = contender("honest", clock, 0.01, keep=True, fresh=lambda: honest)
    turns = take_turns(
        [honest, remembering()],
        X,
        Schedule(cold_bytes=1),
        reference=lambda x: 2 * x.double(),
        tolerance=1e-6,
        clock=clock,
    )
    assert list(turns.thrown_out) == ["cheat"]


def test_few_copies_are_made_of_a_small_layer_and_other_memory_is_touched():
    turns, seen = cold_turns(wanted=64 << 20, rounds=1)
    assert turns.rotated_bytes == 64 << 20
    assert len(seen["a"]) == COPIES + BURST


def test_who_has_no_copies_is_left_out_with_a_reason():
    clock = SyntheticClock()
    turns = take_turns(
        [contender("a", clock, 0.01), layered("b", clock, [])], X, Schedule(cold_bytes=1), clock=clock
    )
    assert turns.thrown_out == {"a": "cannot run cold: it has no copies to rotate over"}
    assert turns.ranked() == ["b"]


def test_weight_bytes_count_buffers_of_modules_and_of_their_methods():
    layer = torch.nn.BatchNorm1d(10)
    expected = 4 * 10 * 4 + 8
    assert weight_bytes(Contender("a", layer)) == expected
    assert weight_bytes(Contender("a", layer.forward)) == expected
    assert weight_bytes(Contender("a", lambda x: x)) == 0


def test_cold_bytes_are_four_caches_within_the_memory(monkeypatch):
    monkeypatch.setattr(machine, "_caches", lambda: {"L1d": 1 << 15, "L3": 32 << 20})
    monkeypatch.setattr(machine, "available_memory", lambda: 16 << 30)
    assert machine.cold_bytes() == 128 << 20
    monkeypatch.setattr(machine, "_caches", lambda: {"L3": 2 << 30})
    assert machine.cold_bytes() == 4 << 30
    monkeypatch.setattr(machine, "_caches", dict)
    assert machine.cold_bytes() == 128 << 20


# --- cases


@pytest.fixture
def case():
    def prepare():
        clock = SyntheticClock()
        entries = [layered("torch", clock, [], keep=True), layered("ours", clock, [])]
        return Trial(
            entries, X, lambda x: x.double() @ torch.ones(64, 64).double(), 1e-5, frozenset({"ours"})
        )

    return Case("small", prepare)


@pytest.mark.parametrize("cold", [False, True])
def test_rows_say_whether_they_are_cold(case, cold, monkeypatch):
    monkeypatch.setattr(suites, "cold_bytes", lambda: 1 << 20)
    rows = run_case("suite", case, 1, Schedule(rounds=2, pause_s=0), cold=cold)
    assert [row.cache for row in rows] == ["cold" if cold else "warm"] * 2
    assert rows[0].extra.get("rotated_bytes", 0) >= ((1 << 20) if cold else 0)


def test_disturbed_turns_are_taken_again_until_calm():
    loads = itertools.chain([2.0, 0.1], itertools.repeat(0.0))
    assert calmest(lambda: Turns(foreign_cores=next(loads))).foreign_cores == 0.1


def test_the_calmest_of_disturbed_turns_is_kept():
    loads = iter([2.0, 1.0, 1.5])
    turns = calmest(lambda: Turns(foreign_cores=next(loads)))
    assert turns.foreign_cores == 1.0 > FOREIGN_CORES  # and the row will be marked noisy
    assert len(list(loads)) == 3 - ATTEMPTS
