"""The analytic model: joules from counts and a table of costs.

    E = flops (e_add + e_multiply) / 2 + bytes (e_dram + e_chip) + static power * time

All of it is ``modelled`` (see `measure.provenance`) and carries the interval of the table's figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..measure.provenance import Kind, Measurement
from .counts import Counts
from .hardware_table import DEFAULT, Figure, Hardware, hardware

NO_COMMUNICATION = "none: one device"
_COSTS_AS = {"bool": "int8", "uint8": "int8"}  # torch keeps a bool in 8 bits


class NoFigureError(ValueError):
    """The hardware table has no figure that the counts need."""


@dataclass(frozen=True)
class Joules:
    """Modelled energy and its parts, each a Measurement in J of kind modelled.

    Attributes:
        compute: operations.
        memory: compulsory bytes, each moved once between DRAM and on-chip memory.
        communication: between devices; exactly 0 J, as there is one device.
        static: idle power over the time, or None where no time was given.
    """

    compute: Measurement
    memory: Measurement
    communication: Measurement
    static: Measurement | None = None

    @property
    def total(self) -> Measurement:
        parts = self.compute + self.memory + self.communication
        return parts if self.static is None else parts + self.static

    def __add__(self, other: Joules) -> Joules:
        """The sum. Raises ValueError where only one of both has static energy."""
        if (self.static is None) != (other.static is None):
            raise ValueError("Joules: cannot add energy with and without static power")
        return Joules(
            self.compute + other.compute,
            self.memory + other.memory,
            self.communication + other.communication,
            None if self.static is None else self.static + other.static,
        )

    def to_json(self) -> dict[str, object]:
        parts = {name: getattr(self, name) for name in ("compute", "memory", "communication", "static")}
        return {name: part.to_json() if part else None for name, part in parts.items()} | {
            "total": self.total.to_json()
        }


def joules(counts: Counts, time_s: float | Measurement | None = None, hardware: str = DEFAULT) -> Measurement:
    """Modelled energy of that work.

    Args:
        counts: of one call or their sum.
        time_s: seconds that it takes; None leaves static power out.
        hardware: name of a table, see `greenkernels.energy.hardware_names`.

    Returns:
        J, of kind modelled; low and high are the interval of the table's figures.

    Raises:
        ValueError: no such table, or it has no figure for ``counts.dtype``, or none for static power with a time.
    """
    return split_joules(counts, time_s, hardware).total


def split_joules(
    counts: Counts, time_s: float | Measurement | None = None, hardware: str = DEFAULT
) -> Joules:
    """As `joules`, in parts."""
    table = _table(hardware)
    dtype = _COSTS_AS.get(counts.dtype, counts.dtype)
    operation = [] if not counts.flops else _needed(table, f"add {dtype}", f"multiply {dtype}")
    # Half of the operations of a multiply-add are additions, half multiplications.
    compute = _sum(operation, counts.flops / 2)
    memory = _sum(_needed(table, "DRAM byte", "on-chip byte"), counts.bytes)
    static = None
    if time_s is not None:
        _needed(table, "static watt")
        static = split_static(table, time_s)
    return Joules(compute, memory, _sum([], 0.0), static)


NONE = Joules(*(Measurement(0.0, "J", Kind.MODELLED) for _ in range(3)))  # of no work: where sums begin

_table = hardware  # the name is an argument of the functions above


def _needed(table: Hardware, *whats: str) -> list[Figure]:
    for what in whats:
        if table.figure(what) is None:
            raise NoFigureError(f"energy: {table.name} has no figure for {what!r}")
    return [table.figures[what] for what in whats]


def _sum(figures: list[Figure], amount: float) -> Measurement:
    value, low, high = (amount * sum(getattr(f, name) for f in figures) for name in ("value", "low", "high"))
    return Measurement(value, "J", Kind.MODELLED, low, high)


def split_static(table: Hardware, time_s: float | Measurement) -> Measurement | None:
    """Static power times time, with an interval that covers both; None where the table has no such figure."""
    power = table.figure("static watt")
    if power is None:
        return None
    if not isinstance(time_s, Measurement):
        time_s = Measurement(float(time_s), "s", Kind.MODELLED)
    if time_s.unit != "s":
        raise ValueError(f"joules: time_s must be in s, got {time_s.unit!r}")
    return Measurement(
        power.value * time_s.value, "J", Kind.MODELLED, power.low * time_s.low, power.high * time_s.high
    )
