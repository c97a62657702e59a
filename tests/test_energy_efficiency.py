"""Quality per joule of a network on data."""

from __future__ import annotations

import pytest
import torch
from synthetic_clock import SyntheticClock
from torch import nn

import greenkernels as gk
from greenkernels.energy import backends, efficiency
from greenkernels.energy.backends import Backend, Reading
from greenkernels.energy.quality import quality_per_joule
from greenkernels.measure.provenance import Kind, Measurement

NET = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval()
X = torch.randn(3, 8)
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


def test_a_quality_over_joules_known_from_elsewhere() -> None:
    joules = Measurement(2.0, "J", Kind.MODELLED, 1.0, 4.0)
    each = quality_per_joule(0.8, joules, 0.5)
    assert (each.value, each.low, each.high, each.kind) == (0.4, 0.2, 0.8, Kind.MODELLED)
    assert quality_per_joule(0.4, joules, 0.5) is None
    assert quality_per_joule(None, joules, 0.5) is None
    assert quality_per_joule(0.8, None, 0.5) is None


def test_joules_are_of_one_item() -> None:
    found = efficiency(
        NET,
        DATA,
        target_as_quality,
        floor=1.5,
        hardware="horowitz-45nm",
        items=lambda inputs, target: len(inputs),
    )
    call = gk.energy.estimate(NET, X, "horowitz-45nm").energy_j
    assert (found.samples, found.items) == (2, 6)
    assert found.energy_j.value == pytest.approx(call.value / 3)


def test_a_counter_measures_whole_passes_through_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SyntheticClock()

    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.work(0.5, noise=0)
            return NET(x)

    class Window:
        needed_s = 2.0  # far longer than a call

        def start(self) -> None:
            pass

        def stop(self) -> None:
            pass

        def reading(self, time_s: Measurement) -> Reading:
            return Reading(Measurement(100 * time_s.value, "J", Kind.MEASURED))

    counter = Backend("scripted", 1, lambda clock: None, lambda request: Window())
    monkeypatch.setattr(backends, "registered", lambda: (counter,))
    found = efficiency(Slow().eval(), DATA, target_as_quality, floor=1.0, clock=clock)
    assert (found.source, found.energy_j.kind) == ("scripted", Kind.MEASURED)
    assert found.energy_j.value == pytest.approx(50.0)
    assert found.per_joule.value == pytest.approx(2.0 / 50.0)


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
