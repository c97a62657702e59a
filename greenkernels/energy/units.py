"""What an energy means to others: inferences from a battery, money, carbon dioxide."""

from __future__ import annotations

from ..measure.provenance import Measurement

J_PER_WH = 3600.0
J_PER_KWH = 3.6e6


def per_wh(energy_j: Measurement) -> Measurement:
    """Calls that a watt-hour of battery pays for.

    Raises:
        ValueError: the energy is not in J or not positive.
    """
    _require_joules(energy_j)
    if not energy_j.low > 0:
        raise ValueError(f"per_wh: needs a positive energy, got {energy_j.low} J at the low end")
    value, low, high = (J_PER_WH / end for end in (energy_j.value, energy_j.high, energy_j.low))
    return Measurement(value, "1/Wh", energy_j.kind, low, high)


def per_item(energy_j: Measurement, items: int, item: str = "item") -> Measurement:
    """J an image, a token, ... of a call that handles several.

    Args:
        energy_j: of the call.
        items: that it handles.
        item: what they are; the unit becomes ``J/item``.

    Raises:
        ValueError: the energy is not in J, or there are no items.
    """
    _require_joules(energy_j)
    if items < 1:
        raise ValueError(f"per_item: items must be at least 1, got {items}")
    value, low, high = (end / items for end in (energy_j.value, energy_j.low, energy_j.high))
    return Measurement(value, f"J/{item}", energy_j.kind, low, high)


def cost_per_million(energy_j: Measurement, price_per_kwh: float) -> Measurement:
    """Price of the energy of a million calls, in the currency of ``price_per_kwh``.

    Raises:
        ValueError: the energy is not in J, or the price negative.
    """
    return _scaled(energy_j, price_per_kwh, 1e6 / J_PER_KWH, "currency", "price_per_kwh")


def carbon_g(energy_j: Measurement, grams_per_kwh: float) -> Measurement:
    """Grams of CO2 equivalent at the carbon intensity of a grid, which differs by a factor of 50 between countries.

    Raises:
        ValueError: the energy is not in J, or the intensity negative.
    """
    return _scaled(energy_j, grams_per_kwh, 1 / J_PER_KWH, "gCO2e", "grams_per_kwh")


def _scaled(energy_j: Measurement, rate: float, factor: float, unit: str, name: str) -> Measurement:
    _require_joules(energy_j)
    if not rate >= 0:
        raise ValueError(f"energy: {name} must not be negative, got {rate}")
    value, low, high = (end * rate * factor for end in (energy_j.value, energy_j.low, energy_j.high))
    return Measurement(value, unit, energy_j.kind, low, high)


def _require_joules(energy_j: Measurement) -> None:
    if energy_j.unit != "J":
        raise ValueError(f"energy: must be in J, got {energy_j.unit!r}")
