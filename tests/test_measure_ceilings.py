"""Ceilings of the machine: loops that count what they do, taken beside a case, never where nothing can be taken."""

import pytest
import torch
from synthetic_clock import SyntheticClock

from greenkernels import _build, _isa
from greenkernels.measure import Kind, Measurement
from greenkernels.measure.ceilings import REPEATS, ceilings, joined, speed

compiled = pytest.mark.skipif(not _build.ensure_loaded(), reason="no compiled kernels")


def test_speed_is_work_by_time():
    clock = SyntheticClock()

    def work():
        clock.work(0.002, noise=0)
        return 1000

    taken = speed(work, "op/s", clock)
    assert taken.value == pytest.approx(500e3)
    assert (taken.unit, taken.kind, len(taken.repeats)) == ("op/s", Kind.MEASURED, REPEATS)


def test_readings_of_both_sides_of_a_case_are_joined():
    before = {
        "fma": Measurement.from_repeats([1.0, 2.0], "op/s"),
        "read": Measurement.from_repeats([1.0], "B/s"),
    }
    after = {"fma": Measurement.from_repeats([3.0], "op/s")}
    assert joined(before, after) == {"fma": Measurement.from_repeats([1.0, 2.0, 3.0], "op/s")}


@compiled
def test_ceilings_are_those_this_cpu_has(isa, monkeypatch):
    monkeypatch.setattr("greenkernels.measure.ceilings.cold_bytes", lambda: 1)  # no gigabyte for a test
    taken = ceilings()
    assert set(taken) == {*torch.ops.greenkernels.peak_loops().split(","), "read"}
    assert taken["fma"].unit == "op/s"
    assert taken["read"].unit == "B/s"
    assert all(limit.value > 0 for limit in taken.values())


@compiled
def test_loops_count_operations_by_thread(isa):
    run, width = torch.ops.greenkernels.peak_loop, {"scalar": 1, "avx2": 8, "avx512": 16}[isa]
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert run("fma", 3) == threads * 3 * 2 * width * 12 * 1024
    finally:
        torch.set_num_threads(before)


@compiled
@pytest.mark.parametrize("count", [0, 1, 7, 1 << 18, (1 << 18) + 3])
def test_memory_is_read_once(isa, count):
    assert torch.ops.greenkernels.read_memory(torch.arange(count)) == count * (count - 1) // 2


@compiled
def test_what_the_cpu_lacks_is_refused():
    with _isa.forced("scalar"):
        assert torch.ops.greenkernels.peak_loops() == "fma"
        with pytest.raises(RuntimeError, match="peak_loop: name must be one of fma on this CPU, got vnni"):
            torch.ops.greenkernels.peak_loop("vnni", 1)


@compiled
def test_memory_must_be_words_in_a_row():
    with pytest.raises(RuntimeError, match="read_memory: data must be int64, got float32"):
        torch.ops.greenkernels.read_memory(torch.ones(4))
    with pytest.raises(RuntimeError, match="read_memory: data must be contiguous"):
        torch.ops.greenkernels.read_memory(torch.arange(8)[::2])


def test_without_kernels_there_are_no_ceilings(monkeypatch):
    monkeypatch.setattr(_build, "ensure_loaded", lambda: False)
    assert ceilings() == {}
