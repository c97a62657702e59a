"""What a launch did, by instruction and by source line: instructions, wavefronts, sectors, bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .memory import Places
from .program import Instruction, Kernel, SourceLine
from .wave import Lanes

SECTOR = 32  # bytes that global memory moves at least
_BANKS = 32  # of shared memory, four bytes wide each


@dataclass
class Traffic:
    """What accesses to one memory cost.

    Attributes:
        requests: warp instructions that accessed it.
        bytes: that the threads asked for.
        units: wavefronts of shared memory (passes over its 32 banks), or sectors of global memory (32 bytes).
        ideal: the units that the same bytes would need without bank conflicts, or packed without gaps.
    """

    requests: int = 0
    bytes: int = 0
    units: int = 0
    ideal: int = 0

    @property
    def ratio(self) -> float | None:
        """Units over the ideal; 1.0 is best. None without accesses."""
        return self.units / self.ideal if self.ideal else None

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.requests + other.requests,
            self.bytes + other.bytes,
            self.units + other.units,
            self.ideal + other.ideal,
        )


@dataclass
class Counts:
    """What one instruction, or all of a line or launch, did.

    Attributes:
        threads: executions, counted by thread.
        issued: executions, counted by warp.
        traffic: by "shared load", "shared store", "global load", "global store".
    """

    threads: int
    issued: int
    traffic: dict[str, Traffic]

    def __add__(self, other: Counts) -> Counts:
        both = dict(self.traffic)
        for kind, traffic in other.traffic.items():
            both[kind] = both.get(kind, Traffic()) + traffic
        return Counts(self.threads + other.threads, self.issued + other.issued, both)


NOTHING = Counts(0, 0, {})


class Statistics:
    """Counters of one launch."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._threads = np.zeros(len(kernel.code), np.int64)
        self._issued = np.zeros(len(kernel.code), np.int64)
        self._traffic: dict[int, dict[str, Traffic]] = defaultdict(dict)

    @property
    def executed(self) -> int:
        """Instructions so far, counted by thread."""
        return int(self._threads.sum())

    def count(self, instruction: Instruction, lanes: Lanes, executed: int) -> None:
        """Notes that ``lanes`` were issued an instruction, and how many of them its guard let execute it."""
        self._threads[instruction.index] += executed
        self._issued[instruction.index] += lanes.issues

    def access(self, instruction: Instruction, kind: str, places: Places, size: int, lanes: Lanes) -> None:
        """Notes accesses of ``size`` bytes at ``places``, one for each lane."""
        cost = _wavefronts if kind.startswith("shared") else _sectors
        units, ideal = cost(places, size, lanes)
        traffic = Traffic(lanes.issues, len(lanes) * size, units, ideal)
        known = self._traffic[instruction.index]
        known[kind] = known.get(kind, Traffic()) + traffic

    def by_instruction(self) -> dict[Instruction, Counts]:
        """Counts of each instruction that was executed, in program order."""
        return {
            instruction: Counts(int(threads), int(issued), self._traffic.get(instruction.index, {}))
            for instruction, threads, issued in zip(
                self._kernel.code, self._threads, self._issued, strict=True
            )
            if issued
        }

    def by_line(self) -> dict[SourceLine, Counts]:
        """Counts of each source line, in order of lines."""
        lines: dict[SourceLine, Counts] = {}
        for instruction, counts in self.by_instruction().items():
            lines[instruction.source] = lines.get(instruction.source, NOTHING) + counts
        return dict(sorted(lines.items(), key=lambda item: (item[0].file, item[0].line)))

    def by_opcode(self) -> dict[str, Counts]:
        """Counts of each opcode, the most issued first."""
        opcodes: dict[str, Counts] = {}
        for instruction, counts in self.by_instruction().items():
            opcodes[instruction.opcode] = opcodes.get(instruction.opcode, NOTHING) + counts
        return dict(sorted(opcodes.items(), key=lambda item: -item[1].issued))

    def total(self) -> Counts:
        """Counts of the whole launch."""
        return sum_of(self.by_instruction().values())


def sum_of(counts: Iterable[Counts]) -> Counts:
    """The sum of counts."""
    total = NOTHING
    for one in counts:
        total = total + one
    return total


def _wavefronts(places: Places, size: int, lanes: Lanes) -> tuple[int, int]:
    """Wavefronts of a shared access, and of one without bank conflicts.

    A warp's 16-byte accesses go 8 lanes at a time, its 8-byte ones 16; lanes that want the same word share it.
    """
    together = 8 if size >= 16 else 16 if size >= 8 else 32
    phase = lanes.warps * 4 + lanes.threads % 32 // together
    words = places[:, None] // 4 + np.arange(max(1, size // 4))
    distinct = np.unique(((phase[:, None] << 32) + words).ravel())
    bank = (distinct >> 32) * _BANKS + distinct % _BANKS
    phases, start = np.unique(phase, return_index=True)
    banks, load = np.unique(bank, return_counts=True)
    first = np.searchsorted(banks, phases * _BANKS)
    return int(np.maximum.reduceat(load, first).sum()), len(start)


def _sectors(places: Places, size: int, lanes: Lanes) -> tuple[int, int]:
    """Sectors of a global access, and of one whose bytes lie without gaps."""
    warp = lanes.warps << 40
    touched = np.unique(warp + places // SECTOR)  # aligned accesses of at most 32 bytes lie in one sector
    distinct = np.unique(warp + places)
    _, accesses = np.unique(distinct >> 40, return_counts=True)
    return len(touched), int((-(-accesses * size // SECTOR)).sum())


def ratio_text(value: float | None) -> str:
    """A ratio for people; "-" where there is none."""
    return "-" if value is None else f"{value:.2f}"
