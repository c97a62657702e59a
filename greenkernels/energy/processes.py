"""Joules of several processes as a sum in which nothing counts twice.

A byte is charged to the process that sends it on (`op_rules/collectives.py`), the counter of a device once a machine,
however many processes read it, and static power once a device, for as long as its slowest process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..measure.provenance import Kind, Measurement
from ..report.tables import text_table
from .backends import DeviceReading
from .links import Transfer, summed
from .model import NONE, Joules


@dataclass(frozen=True)
class ProcessEnergy:
    """What one process metered.

    Attributes:
        rank: in the group.
        machine: that it runs on, by its name and an id that no two machines share.
        device: that it computes on: "cpu", or a GPU by its UUID.
        energy_j, parts, transfers, time_s, source, reason, devices: as `EnergyMeter` has them.
    """

    rank: int
    machine: str
    device: str
    energy_j: Measurement | None
    parts: Joules | None
    transfers: tuple[Transfer, ...]
    time_s: Measurement
    source: str | None
    reason: str
    devices: tuple[DeviceReading, ...] = ()


@dataclass(frozen=True, repr=False)
class DistributedEnergy:
    """The joules of all processes. ``print(found)`` shows a table.

    Attributes:
        energy_j: J of all processes with their kind; None where that of one is unknown.
        parts: compute, memory, communication and static J where they are modelled; None where a counter was read, which
            cannot tell them apart.
        transfers: bytes that all processes sent, one a link; empty where nothing was sent, or nothing counted.
        time_s: of the slowest process.
        source: where ``energy_j`` comes from; None where there is none.
        reason: why there is none, or what else there is to say.
        processes: each by itself, in the order of their ranks.
    """

    energy_j: Measurement | None
    parts: Joules | None
    transfers: tuple[Transfer, ...]
    time_s: Measurement
    source: str | None
    reason: str
    processes: tuple[ProcessEnergy, ...]

    @property
    def communication_j(self) -> Measurement | None:
        """The part of ``energy_j`` that went over links; None where a counter was read, or ``energy_j`` is unknown."""
        return None if self.parts is None else self.parts.communication

    def to_json(self) -> dict[str, Any]:
        """Everything in plain types; numbers that are not known are None."""
        return {
            "energy_j": self.energy_j.to_json() if self.energy_j else None,
            "parts": self.parts.to_json() if self.parts else None,
            "transfers": [sent._asdict() for sent in self.transfers],
            "time_s": self.time_s.to_json(),
            "source": self.source,
            "reason": self.reason,
            "processes": [
                {
                    "rank": one.rank,
                    "machine": one.machine,
                    "device": one.device,
                    "energy_j": one.energy_j.to_json() if one.energy_j else None,
                    "transfers": [sent._asdict() for sent in one.transfers],
                    "time_s": one.time_s.to_json(),
                    "source": one.source,
                    "reason": one.reason,
                }
                for one in self.processes
            ],
        }

    def __str__(self) -> str:
        headers = ("process", "machine", "source", "s", "J", "J communication", "MB sent")
        rows = [
            (str(one.rank), one.machine.partition(" ")[0], one.source or "-", *_amounts(one))
            for one in self.processes
        ]
        rows.append(("all", "", self.source or "-", *_amounts(self)))
        table = text_table(headers, rows, right=range(3, len(headers)))
        return "\n".join([table, *([self.reason] if self.reason else [])])

    __repr__ = __str__


def sum_of(processes: Iterable[ProcessEnergy]) -> DistributedEnergy:
    """The sum over the processes of a group, nothing counted twice.

    Args:
        processes: at least one.
    """
    found = tuple(sorted(processes, key=lambda one: one.rank))
    slowest = max((one.time_s for one in found), key=lambda time_s: time_s.value)
    transfers = summed([sent for one in found for sent in one.transfers])

    def result(energy_j: Measurement | None, parts: Joules | None, reason: str) -> DistributedEnergy:
        names = dict.fromkeys(one.source for one in found if one.source is not None)
        source = None if energy_j is None else "+".join(names)
        return DistributedEnergy(energy_j, parts, transfers, slowest, source, reason, found)

    unknown = [one for one in found if one.energy_j is None]
    if unknown:
        return result(None, None, _by_reason(unknown))
    kinds = {one.energy_j.kind: one.rank for one in found}
    if len(kinds) > 1:
        told = " and ".join(f"{kind.value} in process {rank}" for kind, rank in kinds.items())
        return result(None, None, f"joules of different kinds do not add: {told}")
    if Kind.MODELLED in kinds:
        parts = _modelled(found)
        if parts is None:
            return result(None, None, "static power is in the joules of some processes and not of others")
        return result(parts.total, parts, _by_reason([one for one in found if one.reason]))
    return result(_measured(found), None, _by_reason([one for one in found if one.reason]))


def _modelled(found: Sequence[ProcessEnergy]) -> Joules | None:
    """The parts added up, static power once a device; None where only some processes have it."""
    whole = sum((replace(one.parts, static=None) for one in found), NONE)
    longest: dict[tuple[str, str], Measurement | None] = {}
    for one in sorted(found, key=lambda one: one.time_s.value):
        longest[one.machine, one.device] = one.parts.static
    known = [static for static in longest.values() if static is not None]
    if not known:
        return whole
    return replace(whole, static=_sum(known)) if len(known) == len(longest) else None


def _measured(found: Sequence[ProcessEnergy]) -> Measurement:
    """Every counter once, as the process saw it that looked longest: what it counts is not that process's alone."""
    counters: dict[tuple[str, str], Measurement] = {}
    for one in sorted(found, key=lambda one: one.time_s.value):
        if one.devices:
            counters |= {(one.machine, read.name): read.energy_j for read in one.devices}
        else:
            counters[one.machine, one.device] = one.energy_j
    return _sum(counters.values())


def _sum(quantities: Iterable[Measurement]) -> Measurement:
    first, *rest = quantities
    for one in rest:
        first = first + one
    return first


def _by_reason(processes: Iterable[ProcessEnergy]) -> str:
    """Each reason once, with the processes that have it."""
    ranks: dict[str, list[str]] = {}
    for one in processes:
        ranks.setdefault(one.reason, []).append(str(one.rank))
    return "; ".join(
        f"process{'es' if len(who) > 1 else ''} {', '.join(who)}: {reason}" for reason, who in ranks.items()
    )


def _amounts(one: ProcessEnergy | DistributedEnergy) -> tuple[str, ...]:
    """Cells of the table: s, J, J of communication, MB; "-" for what is not known."""
    energies = (one.energy_j, None if one.parts is None else one.parts.communication)
    joules = ("-" if energy is None else f"{energy.value:.3g}" for energy in energies)
    sent = sum(transfer.bytes for transfer in one.transfers) / 1e6
    return (f"{one.time_s.value:.3g}", *joules, "-" if one.parts is None else f"{sent:.3f}")
