"""Measured joules of whole networks in a plan, shared out over the layers; a scripted counter."""

from __future__ import annotations

import pytest
import torch
from synthetic_clock import SyntheticClock
from torch import nn

from greenkernels.energy import backends
from greenkernels.energy.backends import Backend, Reading
from greenkernels.measure.provenance import Kind, Measurement
from greenkernels.planning.counters import attribute, measure_networks, put_measured_joules
from greenkernels.planning.plan_text import _energy_lines
from greenkernels.planning.plans import LayerPlan, NetworkVerdict

X = torch.randn(2, 4)


def joules(value: float) -> Measurement:
    return Measurement(value, "J", Kind.MODELLED, value / 2, value * 2)


def seconds(value: float) -> Measurement:
    return Measurement(value, "s", Kind.MEASURED)


class Slow(nn.Module):
    """Takes the time that it is told to."""

    def __init__(self, clock: SyntheticClock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.clock.work(self.seconds, noise=0)
        return x


def install(monkeypatch: pytest.MonkeyPatch, watts: float | None) -> None:
    class Window:
        needed_s = 0.0

        def start(self) -> None:
            pass

        def stop(self) -> None:
            pass

        def reading(self, time_s: Measurement) -> Reading:
            if watts is None:
                return Reading(None, "the device was lost")
            return Reading(Measurement(watts * time_s.value, "J", Kind.MEASURED))

    counter = Backend("scripted", 1, lambda clock: None, lambda request: Window())
    monkeypatch.setattr(backends, "registered", lambda: (counter,))


def measured(clock: SyntheticClock) -> NetworkVerdict:
    network = NetworkVerdict(
        stock=seconds(0.5), energy_before=joules(1.0), energy_after=joules(0.5), uncounted=("Fourier",)
    )
    measure_networks(network, Slow(clock, 0.5), Slow(clock, 0.25), ((X,), {}), clock)
    return network


def test_a_counter_measures_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, watts=100.0)
    network = measured(SyntheticClock())
    assert (network.energy_before.kind, network.energy_source) == (Kind.MEASURED, "scripted")
    assert network.energy_before.value == pytest.approx(50.0)
    assert network.energy_after.value == pytest.approx(25.0)
    assert network.uncounted == ()
    (line,) = _energy_lines("energy", network)
    assert line.startswith("energy (measured by scripted): 5e+04")


def test_a_counter_that_says_nothing_leaves_the_model_and_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, watts=None)
    network = measured(SyntheticClock())
    assert network.energy_before == joules(1.0)
    assert _energy_lines("energy", network)[1] == "scripted says nothing: the device was lost"


def test_without_a_counter_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = backends.choose("model")
    monkeypatch.setattr(backends, "registered", lambda: (model,))
    assert measured(SyntheticClock()).energy_source == "model"


def test_layers_get_their_share_of_what_was_measured() -> None:
    layers = [
        LayerPlan(("a",), "", energy_before=joules(3.0), energy_after=joules(1.0)),
        LayerPlan(("b",), "", energy_before=joules(1.0)),
        LayerPlan(("c",), ""),
    ]
    modelled = NetworkVerdict(energy_before=joules(4.0), energy_after=joules(2.0))
    whole = NetworkVerdict(
        energy_before=Measurement(80.0, "J", Kind.MEASURED),
        energy_after=Measurement(60.0, "J", Kind.MEASURED),
    )
    attribute(layers, modelled, whole)
    assert [layer.energy_before and layer.energy_before.value for layer in layers] == [60.0, 20.0, None]
    assert layers[0].energy_after == Measurement(30.0, "J", Kind.ATTRIBUTED, 15.0, 60.0)


def test_layers_stay_modelled_without_a_counter_and_are_attributed_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for watts, kind in ((100.0, Kind.ATTRIBUTED), (None, Kind.MODELLED)):
        install(monkeypatch, watts)
        clock, layers = SyntheticClock(), [LayerPlan(("a",), "", energy_before=joules(0.5))]
        network = NetworkVerdict(stock=seconds(0.5), energy_before=joules(1.0), energy_after=joules(0.5))
        networks = Slow(clock, 0.5), Slow(clock, 0.25)
        put_measured_joules(network, layers, networks, ((X,), {}), clock)
        assert layers[0].energy_before.kind is kind


def test_layers_of_a_network_that_was_not_modelled_get_none() -> None:
    layers = [LayerPlan(("a",), "", energy_before=joules(3.0))]
    whole = NetworkVerdict(energy_before=Measurement(80.0, "J", Kind.MEASURED))
    attribute(layers, NetworkVerdict(), whole)
    assert layers[0].energy_before is None
