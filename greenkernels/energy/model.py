"""The analytic model: joules from counts and a table of costs.

    E = flops (e_add + e_multiply) / 2 + sum over levels of bytes * e_level + sum over links of bytes * e_link
        + static power * time

A level of storage is charged for the bytes that the level above it does not keep, see `storage_bytes`. All of it
is ``modelled`` (see `measure.provenance`) and carries the interval of the table's figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..measure.provenance import Kind, Measurement
from .counts import Counts
from .hardware_table import DEFAULT, Figure, Hardware, hardware

NO_COMMUNICATION = "none: one device"
OPERANDS = 4  # that a multiply-add reads from and writes to registers
REGISTER_BYTES = 2048  # of a core: 32 registers of 512 bits
_COSTS_AS = {"bool": "int8", "uint8": "int8"}  # torch keeps a bool in 8 bits


class NoFigureError(ValueError):
    """The hardware table has no figure that the counts need."""


@dataclass(frozen=True)
class Joules:
    """Modelled energy and its parts, each a Measurement in J of kind modelled.

    Attributes:
        compute: operations.
        memory: bytes at every level of storage, registers to DRAM.
        communication: bytes over links; exactly 0 J where nothing leaves the device.
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


def joules(
    counts: Counts,
    time_s: float | Measurement | None = None,
    hardware: str = DEFAULT,
    network_weights: int | None = None,
) -> Measurement:
    """Modelled energy of that work.

    Args:
        counts: of one call or their sum.
        time_s: seconds that it takes; None leaves static power out.
        hardware: name of a table, see `greenkernels.energy.hardware_names`.
        network_weights: bytes of all weights of the network that is called again and again, for which caches keep what
            fits; None: everything comes from DRAM once.

    Returns:
        J, of kind modelled; low and high are the interval of the table's figures.

    Raises:
        ValueError: no such table, or it has no figure for ``counts.dtype``, a link, or static power with a time.
    """
    return split_joules(counts, time_s, hardware, network_weights).total


def split_joules(
    counts: Counts,
    time_s: float | Measurement | None = None,
    hardware: str = DEFAULT,
    network_weights: int | None = None,
) -> Joules:
    """As `joules`, in parts."""
    table = _table(hardware)
    dtype = _COSTS_AS.get(counts.dtype, counts.dtype)
    operation = [] if not counts.flops else needed(table, f"add {dtype}", f"multiply {dtype}")
    # Half of the operations of a multiply-add are additions, half multiplications.
    compute = weighted(operation, counts.flops / 2)
    levels = storage_bytes(counts, table, network_weights)
    memory = _total(weighted(needed(table, what), moved) for what, moved in levels.items())
    links = _total(weighted(needed(table, _LINKS[sent.link]), sent.bytes) for sent in counts.transfers)
    static = None
    if time_s is not None:
        needed(table, "static watt")
        static = split_static(table, time_s)
    return Joules(compute, memory, links, static)


def storage_bytes(counts: Counts, table: Hardware, network_weights: int | None = None) -> dict[str, float]:
    """Bytes that each level of storage is charged for: "register byte", "L1 byte", ..., "DRAM byte".

    A multiply-add moves 4 operands from and to registers; what the registers do not keep comes from L1, and what a
    cache does not keep from the level below it (`Counts.moved`).
    """
    size = getattr(torch, counts.dtype).itemsize
    found = {"register byte": counts.flops / 2 * OPERANDS * size}
    kept, network = REGISTER_BYTES, None  # registers keep nothing from layer to layer
    for cache in table.caches:
        found[cache.what] = counts.moved(kept, network)
        kept, network = cache.capacity_bytes, network_weights
    found["DRAM byte"] = counts.moved(kept, network)
    return {what: moved for what, moved in found.items() if moved}


_LINKS = {"host": "host link byte", "device": "device link byte", "network": "network byte"}

NONE = Joules(*(Measurement(0.0, "J", Kind.MODELLED) for _ in range(3)))  # of no work: where sums begin

_table = hardware  # the name is an argument of the functions above


def needed(table: Hardware, *whats: str) -> list[Figure]:
    """The figures of that name. Raises `NoFigureError` where the table lacks one."""
    for what in whats:
        if table.figure(what) is None:
            raise NoFigureError(f"energy: {table.name} has no figure for {what!r}")
    return [table.figures[what] for what in whats]


def _total(parts: Iterable[Measurement]) -> Measurement:
    return sum(parts, weighted([], 0.0))


def weighted(figures: list[Figure], amount: float, kind: Kind = Kind.MODELLED) -> Measurement:
    """That amount of the sum of the figures, in J."""
    value, low, high = (amount * sum(getattr(f, name) for f in figures) for name in ("value", "low", "high"))
    return Measurement(value, "J", kind, low, high)


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
