"""Where a number comes from, as a type: quantities of different kinds do not mix."""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


class Kind(str, enum.Enum):
    """How a quantity was obtained."""

    MEASURED = "measured"  # a clock or a counter, on this machine
    ATTRIBUTED = "attributed"  # a measured whole, split by a stated rule
    SIMULATED = "simulated"  # counted by a simulator
    MODELLED = "modelled"  # computed from counts and a table of costs
    PREDICTED = "predicted"  # a bound for hardware that is not here


class MixedKindsError(TypeError):
    """Two quantities of different kinds, or of different units, met in one expression."""


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, ends included (linear interpolation)."""
    if not values:
        raise ValueError("quartiles: values must not be empty")
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


@dataclass(frozen=True)
class Measurement:
    """One quantity: its value, how far it spreads, its unit and its kind.

    Attributes:
        value: the median where there are repeats.
        unit: SI ("s", "J", "B"); "" for a ratio.
        kind: see `Kind`.
        low: lower quartile or lower end of the interval; equals ``value`` where no spread is known.
        high: upper quartile or upper end of the interval.
        repeats: every single reading, in the order taken.
    """

    value: float
    unit: str
    kind: Kind
    low: float = math.nan
    high: float = math.nan
    repeats: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if math.isnan(getattr(self, name)):
                object.__setattr__(self, name, self.value)

    @classmethod
    def from_repeats(
        cls, repeats: Sequence[float], unit: str = "s", kind: Kind = Kind.MEASURED
    ) -> Measurement:
        low, middle, high = quartiles(repeats)
        return cls(middle, unit, kind, low, high, tuple(repeats))

    def __add__(self, other: Measurement) -> Measurement:
        """The sum; its spread is the sum of both spreads, as if they erred together (never too small)."""
        self._require_same("add", other)
        return Measurement(
            self.value + other.value, self.unit, self.kind, self.low + other.low, self.high + other.high
        )

    def __truediv__(self, other: Measurement) -> Measurement:
        """The ratio of two quantities of one kind and unit; a prediction is a bound and gives no ratio."""
        self._require_same("divide", other)
        if self.kind is Kind.PREDICTED:
            raise MixedKindsError("a predicted quantity is a bound: it is printed as such, never as a ratio")
        return Measurement(
            self.value / other.value, "", self.kind, self.low / other.high, self.high / other.low
        )

    def _require_same(self, verb: str, other: Measurement) -> None:
        if not isinstance(other, Measurement):
            raise MixedKindsError(f"cannot {verb} a Measurement and a bare {type(other).__name__}")
        if (self.kind, self.unit) != (other.kind, other.unit):
            mine, theirs = (f"{q.kind.value} [{q.unit or 'ratio'}]" for q in (self, other))
            raise MixedKindsError(f"cannot {verb} {mine} and {theirs}")

    def to_json(self) -> dict[str, object]:
        return {
            "value": self.value,
            "unit": self.unit,
            "kind": self.kind.value,
            "low": self.low,
            "high": self.high,
            "repeats": list(self.repeats),
        }

    @classmethod
    def from_json(cls, data: dict) -> Measurement:
        return cls(
            data["value"], data["unit"], Kind(data["kind"]), data["low"], data["high"], tuple(data["repeats"])
        )


def require_one_kind(quantities: Sequence[Measurement | None]) -> Kind | None:
    """The kind of a table column; raises MixedKindsError where it holds more than one. None if it is empty."""
    kinds = {q.kind for q in quantities if q is not None}
    if len(kinds) > 1:
        names = ", ".join(sorted(kind.value for kind in kinds))
        raise MixedKindsError(f"a table column holds one kind of quantity, got {names}")
    return kinds.pop() if kinds else None
