"""How long launches take at the least on GPUs that are not here: from counts that no assembler changes.

These are bounds and no estimates: what waits for memory, for a barrier or for another instruction takes longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .launching import Report
from .statistics import Statistics

_SECTORS_A_CLOCK = 4  # of global memory that an L1 cache hands out: 128 bytes
_SHAPE = re.compile(r"m(\d+)n(\d+)k(\d+)$")


@dataclass(frozen=True)
class Gpu:
    """What a GPU does in a clock, by NVIDIA's data sheets and architecture white papers.

    Attributes:
        multiprocessors: that are switched on.
        clock_hz: the boost clock.
        fma_warps: float32 multiply-adds of a whole warp that a multiprocessor starts in a clock.
        mma_products: of int8, in a clock of a multiprocessor's tensor cores, without sparsity.
    """

    multiprocessors: int
    clock_hz: float
    fma_warps: int
    mma_products: int


GPUS = {
    "A100": Gpu(108, 1.41e9, 2, 2048),
    "H100 SXM": Gpu(132, 1.98e9, 4, 4096),
    "L4": Gpu(58, 2.04e9, 4, 1024),
    "RTX 3090": Gpu(82, 1.695e9, 4, 1024),
    "RTX 4090": Gpu(128, 2.52e9, 4, 1024),
}


def clocks(statistics: Statistics, gpu: Gpu) -> dict[str, float]:
    """Clocks of one multiprocessor that would do all of a launch alone, for each of its parts."""
    by_opcode, traffic = statistics.by_opcode(), statistics.total().traffic
    multiplied = by_opcode["fma"].issued if "fma" in by_opcode else 0
    units = dict.fromkeys(("shared", "global"), 0)
    for kind, one in traffic.items():
        units[kind.partition(" ")[0]] += one.units
    return {
        "multiply-adds": multiplied / gpu.fma_warps,
        "matrix products": _products(statistics) / gpu.mma_products,
        "shared memory": float(units["shared"]),  # a wavefront a clock
        "global memory": units["global"] / _SECTORS_A_CLOCK,
    }


def least_time_s(reports: Iterable[Report], gpu: Gpu) -> float:
    """Seconds that launches after each other take at the least: each the time of its busiest part.

    A block stays on its multiprocessor, so a launch of few blocks uses few of them.
    """
    total = 0.0
    for report in reports:
        x, y, z = report.shape.grid
        used = min(gpu.multiprocessors, x * y * z)
        total += max(clocks(report.statistics, gpu).values()) / used / gpu.clock_hz
    return total


def _products(statistics: Statistics) -> int:
    """Multiply-adds of all matrix products of int8."""
    total = 0
    for instruction, counts in statistics.by_instruction().items():
        if instruction.opcode == "mma" and {"s8", "u8"} & set(instruction.modifiers):
            shape = next(found for part in instruction.modifiers if (found := _SHAPE.match(part)))
            m, n, k = map(int, shape.groups())
            total += counts.issued * m * n * k
    return total
