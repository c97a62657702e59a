"""``cp.async``: copies from global to shared memory that end when their thread waits for them.

A copy is made at the latest moment, at the wait, so that a kernel that waits for too few of them reads memory
that nothing has written. From issue to wait the race detector holds its destination for in flight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .memory import Places
from .program import Instruction
from .wave import Lanes

if TYPE_CHECKING:
    from .execution import Execution


@dataclass(frozen=True)
class _Copy:
    """Copies that one instruction issued, one for each thread."""

    instruction: Instruction
    size: int  # bytes written in shared memory
    threads: NDArray[np.int64]
    group: NDArray[np.int64]  # the commit group of each
    source: Places
    count: NDArray[np.int64]  # bytes read; the rest of ``size`` is filled with 0
    target: Places

    def part(self, chosen: NDArray[np.bool_]) -> _Copy:
        return _Copy(
            self.instruction,
            self.size,
            self.threads[chosen],
            self.group[chosen],
            self.source[chosen],
            self.count[chosen],
            self.target[chosen],
        )


class AsyncCopies:
    """The copies of one wave that are in flight."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._open: list[_Copy] = []
        self._committed = np.zeros(len(execution.wave), np.int64)  # groups that each thread has closed

    def issue(
        self,
        instruction: Instruction,
        lanes: Lanes,
        source: Places,
        count: NDArray[np.int64],
        target: Places,
        size: int,
    ) -> None:
        """Starts a copy of ``count`` bytes, padded with zeros to ``size``, for each lane."""
        if "shared" in self._execution.races:
            threads = self._execution.in_grid(lanes)
            self._execution.races["shared"].start_copy(instruction, target, size, threads)
        group = self._committed[lanes.index].copy()
        self._open.append(_Copy(instruction, size, lanes.threads, group, source, count, target))

    def commit(self, lanes: Lanes) -> None:
        """Closes the current group of each lane."""
        self._committed[lanes.index] += 1

    def wait(self, lanes: Lanes, most_open: int | None) -> None:
        """Ends the copies of these lanes, but for the latest ``most_open`` groups; None: every copy."""
        waits = np.zeros(len(self._committed), bool)
        waits[lanes.index] = True
        left = []
        for copy in self._open:
            done = waits[copy.threads]
            if most_open is not None:
                done &= copy.group < self._committed[copy.threads] - most_open
            if done.any():
                self._finish(copy.part(done))
            if not done.all():
                left.append(copy.part(~done))
        self._open = left

    def _finish(self, copy: _Copy) -> None:
        word = np.dtype(np.uint32)
        execution = self._execution
        if "shared" in execution.races:
            first = execution.wave.first_block * execution.wave.shape.threads
            execution.races["shared"].end_copy(copy.instruction, copy.target, copy.size, copy.threads + first)
        for byte in range(0, copy.size, word.itemsize):
            wanted = copy.count > byte
            values = execution.global_memory.load(np.where(wanted, copy.source + byte, 0), word)
            keep = np.clip(copy.count - byte, 0, word.itemsize)  # bytes of this word that are not padding
            mask = (np.uint64(1) << (8 * keep).astype(np.uint64)) - np.uint64(1)
            values = np.where(wanted, values & mask.astype(np.uint32), np.uint32(0))
            execution.shared.store(copy.target + byte, values, word)
