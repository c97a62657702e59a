"""Dataclasses of planning as JSON and back: what plans in files and entries of the cache share."""

from __future__ import annotations

from typing import Any

from ..energy import Counts
from ..measure.provenance import Measurement
from .candidates import Chain, FusedActivation


def to_json(value: Any) -> Any:
    """Dataclasses as dicts of their fields, tuples as lists."""
    if isinstance(value, Measurement):
        return value.to_json()
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_json(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def revived(data: dict[str, Any]) -> dict[str, Any]:
    """Measurements, counts, chains and activations again where JSON holds their fields."""
    return {key: _revived_value(value) for key, value in data.items()}


def _revived_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_revived_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "kind" in value and "unit" in value:
        return Measurement.from_json(value)
    if "flops" in value and "weight_bytes" in value:
        return Counts(**value)
    if "container" in value and "adds" in value:
        return Chain(**revived(value))
    if "slot" in value and "kind" in value:
        return FusedActivation(**value)
    return value
