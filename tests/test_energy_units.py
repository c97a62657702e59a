"""Batteries, money and carbon: each keeps the kind and the interval of the energy."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from greenkernels.energy import carbon_g, cost_per_million, estimate, per_item, per_wh
from greenkernels.measure.provenance import Kind, Measurement

ENERGY = Measurement(2.0, "J", Kind.MEASURED, 1.0, 4.0)


def test_inferences_from_a_watt_hour() -> None:
    assert per_wh(ENERGY) == Measurement(1800.0, "1/Wh", Kind.MEASURED, 900.0, 3600.0)


def test_joules_of_one_token() -> None:
    assert per_item(ENERGY, 4, "token") == Measurement(0.5, "J/token", Kind.MEASURED, 0.25, 1.0)


def test_money_for_a_million() -> None:
    # 2 J are 0.5556 mWh; a million of them 0.5556 kWh, at 0.36 a kWh.
    found = cost_per_million(ENERGY, 0.36)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.1, 0.4))
    assert found.kind is Kind.MEASURED


def test_carbon_at_the_intensity_of_a_grid() -> None:
    assert carbon_g(ENERGY, 360).value == pytest.approx(2 * 360 / 3.6e6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: per_wh(Measurement(1.0, "s", Kind.MEASURED)), "must be in J, got 's'"),
        (lambda: per_wh(Measurement(0.0, "J", Kind.MEASURED)), "needs a positive energy"),
        (lambda: per_item(ENERGY, 0), "items must be at least 1"),
        (lambda: cost_per_million(ENERGY, -1), "price_per_kwh must not be negative"),
        (lambda: carbon_g(ENERGY, -1), "grams_per_kwh must not be negative"),
    ],
)
def test_refuses(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_an_estimate_tells_calls_per_wh_and_no_carbon_unasked() -> None:
    found = estimate(nn.Linear(8, 4).eval(), torch.randn(2, 8))
    assert found.per_wh.value == pytest.approx(3600 / found.energy_j.value)
    assert "calls per Wh" in str(found)
    assert "CO2" not in str(found)


def test_a_call_that_costs_nothing_has_no_calls_per_wh() -> None:
    assert estimate(nn.Flatten(0).eval(), torch.randn(2, 8)).per_wh is None


def test_the_plot_shows_every_layer(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Dropout()).eval()
    svg, png = estimate(net, torch.randn(2, 8)).plot(tmp_path)
    text = svg.read_text()
    assert (svg.name, png.name) == ("energies.svg", "energies.png")
    assert "Modelled energy of 2 of 2 layers" in text  # dropout does nothing in eval mode
    for word in ("compute", "memory", "communication", "mJ a call, modelled"):
        assert word in text
