"""EnergyMeter, measure and efficiency: kinds, sources, reasons; no clock but a synthetic one."""

from __future__ import annotations

import pytest
import torch
from synthetic_clock import SyntheticClock
from torch import nn

import greenkernels as gk
from greenkernels.energy import EnergyMeter, backends, efficiency, measure
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
    counter = Backend("fake", 10, lambda: why_not, lambda request: window())
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
    assert found.energy_j.repeats == (50.0,) * 3
    assert found.power_w == Measurement(200.0, "W", Kind.MEASURED, repeats=(200.0,) * 3)


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


DATA = [(X, 1.0), (X, 3.0)]


def target_as_quality(output: torch.Tensor, target: float) -> float:
    assert output.shape == (3, 4)
    return target


def test_quality_per_joule_above_the_floor() -> None:
    found = efficiency(NET, DATA, target_as_quality, floor=1.5, hardware="horowitz-45nm")
    energy = gk.energy.estimate(NET, X, "horowitz-45nm").energy_j
    assert (found.quality, found.samples, found.source) == (2.0, 2, "model")
    assert found.energy_j.value == pytest.approx(energy.value)
    assert found.per_joule.value == pytest.approx(2.0 / energy.value)
    assert (found.per_joule.unit, found.per_joule.kind) == ("1/J", Kind.MODELLED)
    assert found.per_joule.low < found.per_joule.value < found.per_joule.high


def test_no_quality_per_joule_below_the_floor() -> None:
    found = efficiency(NET, DATA, target_as_quality, floor=2.5)
    assert found.per_joule is None
    assert found.reason == "the quality 2 is below the floor 2.5"
    assert found.energy_j is not None


def test_no_quality_per_joule_of_a_network_that_does_nothing() -> None:
    net = nn.Flatten(0).eval()
    found = efficiency(net, [(X, None)], lambda output, target: 1.0, floor=0.5, hardware="horowitz-45nm")
    assert (found.energy_j.value, found.per_joule) == (0.0, None)
    assert "does nothing that costs energy" in found.reason


def test_no_quality_per_joule_of_unknown_energy() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x)

    found = efficiency(Spectrum().eval(), DATA, lambda output, target: 1.0, floor=0.0)
    assert (found.energy_j, found.per_joule, found.source) == (None, None, None)
    assert "_fft" in found.reason


@pytest.mark.parametrize(
    ("model", "data", "metric", "message"),
    [
        (nn.Linear(8, 4), DATA, target_as_quality, "eval mode"),
        (NET, [], target_as_quality, "at least one pair"),
        (NET, DATA, lambda output, target: float("nan"), "got NaN"),
    ],
)
def test_efficiency_refuses(model: nn.Module, data: list, metric, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        efficiency(model, data, metric, floor=0.0)


def test_a_source_is_a_file() -> None:
    assert [backend.name for backend in backends.registered()] == ["model"]
    assert backends.choose().counts_work
    assert Request("generic-7nm").estimate is None
