"""EnergyMeter, measure and compare: kinds, sources, reasons; no clock but a synthetic one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from synthetic_clock import SyntheticClock
from torch import nn

import greenkernels as gk
from greenkernels.energy import EnergyMeter, backends, compare, measure
from greenkernels.energy.backends import Backend, Reading, Request
from greenkernels.measure.provenance import Kind, Measurement, MixedKindsError

NET = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval()
X = torch.randn(3, 8)


def forward() -> torch.Tensor:
    with torch.no_grad():
        return NET(X)


class Counter:
    """A made-up counter of a chip that draws 200 W, or one that is lost in the middle."""

    lost = False
    needed_s = 0.0

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def reading(self, time_s: Measurement) -> Reading:
        if self.lost:
            return Reading(None, "the device was lost")
        return Reading(Measurement(200 * time_s.value, "J", Kind.MEASURED))


class LostCounter(Counter):
    lost = True


def install(monkeypatch: pytest.MonkeyPatch, window: type[Counter], why_not: str | None = None) -> None:
    counter = Backend("fake", 10, lambda clock: why_not, lambda request: window())
    known = backends.registered()
    monkeypatch.setattr(backends, "registered", lambda: (counter, *known))


def test_models_the_operations_of_the_block() -> None:
    clock = SyntheticClock()
    with EnergyMeter(clock=clock) as meter:
        forward()
        clock.work(2.0, noise=0)
    assert (meter.energy_j.kind, meter.energy_j.unit, meter.source) == (Kind.MODELLED, "J", "model")
    assert (meter.time_s.kind, meter.time_s.value) == (Kind.MEASURED, 2.0)
    dynamic = gk.energy.estimate(NET, X).energy_j.value
    assert meter.energy_j.value == pytest.approx(dynamic + 2.0 * 10)
    assert "static power, an estimate, is 100% of it" in meter.reason


def test_takes_an_estimate_instead_of_counting() -> None:
    counted, given = SyntheticClock(), SyntheticClock()
    with EnergyMeter(clock=counted) as one:
        forward()
    with EnergyMeter(clock=given, estimate=gk.energy.estimate(NET, X)) as other:
        assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    assert one.energy_j.value == pytest.approx(other.energy_j.value)


def test_a_table_without_static_power_says_so() -> None:
    with EnergyMeter("horowitz-45nm") as meter:
        forward()
    assert meter.energy_j.value == pytest.approx(gk.energy.estimate(NET, X, "horowitz-45nm").energy_j.value)
    assert meter.reason == "without static power, for which horowitz-45nm has no figure"


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (lambda: torch.fft.fft(X), "could not count: aten::_fft"),
        (lambda: None, "no torch operation ran in this thread"),
    ],
)
def test_what_it_cannot_count_is_none_with_the_reason(work, reason: str) -> None:
    with EnergyMeter() as meter:
        work()
    assert meter.energy_j is None
    assert meter.source is None
    assert reason in meter.reason
    assert meter.time_s.kind is Kind.MEASURED


def test_an_incomplete_estimate_gives_no_joules() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x)

    with EnergyMeter(estimate=gk.energy.estimate(Spectrum().eval(), X)) as meter:
        pass
    assert meter.energy_j is None
    assert "could not count" in meter.reason


def test_there_is_nothing_to_read_inside_of_the_block() -> None:
    with EnergyMeter() as meter:
        assert (meter.energy_j, meter.time_s, meter.source) == (None, None, None)


def test_an_error_comes_through_and_leaves_no_mode_behind() -> None:
    meter = EnergyMeter()
    with pytest.raises(KeyError), meter:
        raise KeyError
    assert meter.energy_j is None
    assert meter.reason == "the block raised KeyError"
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    with meter:
        forward()
    assert meter.energy_j is not None


def test_meters_nest_but_one_meter_does_not() -> None:
    with EnergyMeter() as outer, EnergyMeter() as inner:
        forward()
    assert inner.source == outer.source == "model"
    with pytest.raises(RuntimeError, match="already running"), outer, outer:
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [({"hardware": "abacus"}, "hardware must be one of"), ({"source": "guess"}, "source must be one of")],
)
def test_refuses_what_is_unknown_before_any_work(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnergyMeter(**options)


def test_a_counter_comes_before_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Counter)
    clock = SyntheticClock()
    with EnergyMeter(clock=clock) as meter:
        clock.work(0.5, noise=0)
    assert meter.source == "fake"
    assert meter.energy_j == Measurement(100.0, "J", Kind.MEASURED)
    with EnergyMeter(source="model") as modelled:
        forward()
    with pytest.raises(MixedKindsError):
        meter.energy_j + modelled.energy_j


def test_a_counter_that_cannot_read_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Counter, why_not="no permission")
    with EnergyMeter() as meter:
        forward()
    assert meter.source == "model"
    with pytest.raises(RuntimeError, match="fake cannot read here: no permission"):
        EnergyMeter(source="fake")


def test_measure_gives_joules_of_a_call() -> None:
    clock = SyntheticClock()

    def call() -> None:
        forward()
        clock.work(0.25, noise=0)

    found = measure(call, min_seconds=1, trials=3, clock=clock)
    assert (found.source, found.calls, found.time_s.value) == ("model", 12, 0.25)
    assert found.energy_j.kind is Kind.MODELLED
    assert found.energy_j.value == pytest.approx(gk.energy.estimate(NET, X).energy_j.value + 0.25 * 10)
    for name in ("power_w", "idle_subtracted_j", "clock_hz", "temperature_c"):
        assert getattr(found, name) is None


def test_measure_reads_a_counter_around_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Counter)
    clock = SyntheticClock()
    found = measure(lambda: clock.work(0.25, noise=0), min_seconds=1, trials=3, clock=clock)
    assert (found.source, found.energy_j.kind) == ("fake", Kind.MEASURED)
    assert found.energy_j.repeats == pytest.approx((50.0,) * 3)
    assert found.power_w.repeats == pytest.approx((200.0,) * 3)
    assert found.edp_js.value == pytest.approx(50.0 * 0.25)
    assert (found.edp_js.unit, found.edp_js.kind) == ("J s", Kind.MEASURED)


def test_measure_with_a_lost_counter_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, LostCounter)
    clock = SyntheticClock()
    found = measure(lambda: clock.work(0.5, noise=0), min_seconds=1, trials=2, clock=clock)
    assert (found.energy_j, found.source, found.reason) == (None, None, "the device was lost")


def test_measure_says_what_it_could_not_count() -> None:
    clock = SyntheticClock()

    def call() -> None:
        torch.fft.fft(X)
        clock.work(1, noise=0)

    found = measure(call, min_seconds=1, trials=1, clock=clock)
    assert found.energy_j is None
    assert "_fft" in found.reason


@pytest.mark.parametrize("options", [{"trials": 0}, {"min_seconds": 0}])
def test_measure_refuses_no_trial(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs trials >= 1 and min_seconds > 0"):
        measure(forward, **options)


def test_a_source_is_a_file() -> None:
    assert [backend.name for backend in backends.registered()] == ["nvml", "rapl", "zeus", "model"]
    assert backends.choose("model").counts_work
    assert Request("generic-7nm").estimate is None


def test_sources_say_why_they_cannot_read() -> None:
    found = gk.energy.sources()
    assert list(found) == ["nvml", "rapl", "zeus", "model"]
    assert found["model"] == ""


def test_compare_takes_trials_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Counter)
    clock, order = SyntheticClock(), []

    def contender(name: str, seconds: float):
        def call() -> None:
            order.append(name)
            clock.work(seconds, noise=0)

        return call

    found = compare(
        {"a": contender("a", 1.0), "b": contender("b", 2.0)}, min_seconds=0.5, trials=2, clock=clock
    )
    assert order == ["a", "b", "a", "b"]
    assert found["b"].energy_j.value == pytest.approx(2 * found["a"].energy_j.value)
    assert found["a"].idle_power_w.value == pytest.approx(200.0)
    assert found["a"].idle_subtracted_j.value == pytest.approx(0.0, abs=1e-9)


def test_a_working_gpu_is_not_metered_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Backend("fake", 10, lambda clock: None, lambda request: Counter(), device="cpu")
    known = backends.registered()
    monkeypatch.setattr(backends, "registered", lambda: (processor, *known))
    assert backends.choose().name == "fake"
    monkeypatch.setattr(backends, "working_device", lambda: "cuda")
    assert backends.choose().name != "fake"
    assert backends.choose("fake").name == "fake"  # as told


def test_what_torch_imports_to_count_is_not_metered() -> None:
    """Its first counted operation makes torch import for a second, which the first block of a process had to pay."""
    code = (
        "import sys, torch; from greenkernels.energy import EnergyMeter\n"
        "with EnergyMeter(source='model'):\n"
        "    before = set(sys.modules); torch.zeros(2).add_(1); after = set(sys.modules)\n"
        "print(sorted(after - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
