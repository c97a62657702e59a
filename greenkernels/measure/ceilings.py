"""What this machine can do at most, right now: multiply-adds and memory, timed beside each case.

The clock of a core follows temperature and neighbours, by 10 % and more within an hour: a share of the peak means
something only against a peak of the same minute, in the same process, with the same number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from .. import _build
from ..ops._library import define
from .clock import Clock
from .machine import cold_bytes
from .provenance import Kind, Measurement

REPEATS = 5
WINDOW_S = 3e-3  # of one repeat: five of them stay below 20 ms
CHUNK_BYTES = 32 << 20  # read in one repeat

define("peak_loops() -> str")
define("peak_loop(str name, int rounds) -> int")
define("read_memory(Tensor data) -> int")


def ceilings(clock: Clock | None = None) -> dict[str, Measurement]:
    """The machine's peaks at torch's thread number, about 20 ms each.

    Returns:
        "fma" (float32 at the instruction set in use), "vnni" (8-bit dot products) and "bf16" (bfloat16 dot products) in
        op/s, a multiply-add as two; "read" in B/s, from memory and not from a cache. What this CPU lacks is left out;
        without compiled kernels, all is.
    """
    if not _build.ensure_loaded():
        return {}
    clock = clock or Clock()
    ops = torch.ops.greenkernels
    level, threads = ops.current_isa(), torch.get_num_threads()
    found = {}
    for name in ops.peak_loops().split(","):
        rounds = _rounds(name, level, threads)
        found[name] = speed(lambda n=name, r=rounds: ops.peak_loop(n, r), "op/s", clock)
    found["read"] = speed(_read_chunk, "B/s", clock)
    return found


def speed(work: Callable[[], float], unit: str, clock: Clock) -> Measurement:
    """What `work` says that it did, by second, over `REPEATS` and one untimed call before."""
    work()
    readings = []
    for _ in range(REPEATS):
        begin = clock.now()
        done = work()
        readings.append(done / (clock.now() - begin))
    return Measurement.from_repeats(readings, unit, Kind.MEASURED)


def joined(before: dict[str, Measurement], after: dict[str, Measurement]) -> dict[str, Measurement]:
    """Peaks from the readings on both sides of a case."""
    both = before.keys() & after.keys()
    return {
        name: Measurement.from_repeats(
            before[name].repeats + after[name].repeats, before[name].unit, before[name].kind
        )
        for name in before
        if name in both
    }


@cache
def _rounds(name: str, level: str, threads: int) -> int:
    """Rounds of a loop that take about `WINDOW_S`."""
    clock, rounds = Clock(), 1
    while True:
        begin = clock.now()
        torch.ops.greenkernels.peak_loop(name, rounds)
        spent = clock.now() - begin
        if spent > WINDOW_S / 2:
            return max(1, math.ceil(rounds * WINDOW_S / spent))
        rounds *= 2


@cache
def _memory() -> Tensor:
    """More than the caches hold, written once so that it is there."""
    return torch.ones(max(CHUNK_BYTES, cold_bytes()) // 8, dtype=torch.int64)


_position = 0


def _read_chunk() -> int:
    """Reads the next chunk of a walk through `_memory`; what it read last time is out of the caches by then."""
    global _position
    memory, words = _memory(), CHUNK_BYTES // 8
    if _position + words > memory.numel():
        _position = 0
    torch.ops.greenkernels.read_memory(memory[_position : _position + words])
    _position += words
    return CHUNK_BYTES
