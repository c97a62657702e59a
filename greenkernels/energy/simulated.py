"""Energy of a CUDA kernel from what the PTX simulator counted: a third method beside counters and the analytic model.

    E = sum over instructions of operations * e_operation + register bytes * e_register
        + bytes of shared memory * e_L1 + sectors * 32 * (e_L1 + e_L2) + bytes from memory * e_DRAM

It is of kind ``simulated``: the counts are those of the real code, address by address, the costs those of a table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..measure.provenance import Kind, Measurement
from .hardware_table import hardware as _table
from .model import Joules, needed, weighted

if TYPE_CHECKING:
    from ..ptxsim import Statistics

DEFAULT_GPU = "h100"
WAVEFRONT_BYTES, SECTOR_BYTES, WARP = 128, 32, 32
OPERANDS = 3  # of most instructions: two read, one written

# Type of an instruction -> type in the tables and values in a register.
_TYPES = {
    "f16": ("float16", 1),
    "f16x2": ("float16", 2),
    "bf16": ("bfloat16", 1),
    "bf16x2": ("bfloat16", 2),
    "f32": ("float32", 1),
    "f64": ("float64", 1),
    **{f"{letter}{bits}": ("int32", 1) for letter in "sub" for bits in (8, 16, 32)},
    **{f"{letter}64": ("int64", 1) for letter in "sub"},
    "pred": ("int32", 1),
}
_ADDS = {
    "add",
    "sub",
    "min",
    "max",
    "neg",
    "abs",
    "setp",
    "set",
    "selp",
    "and",
    "or",
    "xor",
    "not",
    "shl",
    "shr",
}
_ADDS |= {"lop3", "prmt", "bfe", "bfi", "popc", "clz"}
_MULTIPLIES = {"mul", "mul24", "div", "rem", "rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"}
_BOTH = {"fma", "mad", "mad24", "sad"}


@dataclass(frozen=True)
class PtxCounts:
    """What a launch did.

    Attributes:
        instructions: instruction with its modifiers, "fma.rn.f32" -> executions, counted by thread.
        shared_wavefronts: passes over the 32 banks of shared memory.
        global_sectors: 32-byte pieces of global memory that were asked for.
    """

    instructions: Mapping[str, int]
    shared_wavefronts: int = 0
    global_sectors: int = 0

    @classmethod
    def from_statistics(cls, statistics: Statistics) -> PtxCounts:
        """Of ``launch(...).statistics``."""
        instructions: Counter[str] = Counter()
        for instruction, counts in statistics.by_instruction().items():
            instructions[".".join((instruction.opcode, *instruction.modifiers))] += counts.threads
        units = Counter()
        for kind, traffic in statistics.total().traffic.items():
            units[kind.partition(" ")[0]] += traffic.units
        return cls(dict(instructions), units["shared"], units["global"])

    def to_json(self) -> dict[str, Any]:
        return {
            "instructions": dict(self.instructions),
            "shared_wavefronts": self.shared_wavefronts,
            "global_sectors": self.global_sectors,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PtxCounts:
        return cls(data["instructions"], data["shared_wavefronts"], data["global_sectors"])


def simulated(
    counts: PtxCounts | Statistics, hardware: str = DEFAULT_GPU, memory_bytes: int | None = None
) -> Joules:
    """Energy of a launch on a GPU of that table, in parts of kind simulated; without static power.

    Args:
        counts: of the launch, or the statistics of `greenkernels.ptxsim.launch`.
        hardware: name of a table.
        memory_bytes: that come from and go to DRAM; None: every sector, as if L2 kept nothing. The simulator has no
            caches, so this is the part that it does not know.

    Raises:
        ValueError: no such table, or it lacks a figure for a type or level that the launch needs.
    """
    if not isinstance(counts, PtxCounts):
        counts = PtxCounts.from_statistics(counts)
    table, parts, registers = _table(hardware), [], 0.0
    for name, executed in counts.instructions.items():
        dtype, adds, multiplies, size = _operations(name)
        for what, each in ((f"add {dtype}", adds), (f"multiply {dtype}", multiplies)):
            if each:
                parts.append(weighted(needed(table, what), executed * each, Kind.SIMULATED))
        registers += executed * OPERANDS * size
    asked = counts.global_sectors * SECTOR_BYTES
    levels = {
        "register byte": registers,
        "L1 byte": counts.shared_wavefronts * WAVEFRONT_BYTES + asked,
        "L2 byte": asked,
        "DRAM byte": asked if memory_bytes is None else memory_bytes,
    }
    memory = [weighted(needed(table, what), moved, Kind.SIMULATED) for what, moved in levels.items() if moved]
    nothing = Measurement(0.0, "J", Kind.SIMULATED)
    return Joules(sum(parts, nothing), sum(memory, nothing), nothing)


def _operations(name: str) -> tuple[str, float, float, int]:
    """Type, additions and multiplications of one execution by one thread, and bytes of a register."""
    opcode, *modifiers = name.split(".")
    if opcode == "mma":
        return _matrix_operations(modifiers)
    if opcode == "dp4a":
        return "int8", 4, 4, 4
    dtype, lanes = next((_TYPES[m] for m in reversed(modifiers) if m in _TYPES), ("int32", 1))
    size = 8 if dtype in ("int64", "float64") else 4
    adds = lanes * (opcode in _ADDS or opcode in _BOTH)
    return dtype, adds, lanes * (opcode in _MULTIPLIES or opcode in _BOTH), size


def _matrix_operations(modifiers: list[str]) -> tuple[str, float, float, int]:
    """A warp's ``m n k`` multiply-adds, shared out over its threads; in the type of the factors."""
    m, n, k = (int(size) for size in re.search(r"m(\d+)n(\d+)k(\d+)", ".".join(modifiers)).groups())
    factors = modifiers[-2]  # d a b c
    dtype = "int8" if factors in ("s8", "u8") else _TYPES.get(factors, ("float16", 1))[0]
    each = m * n * k / WARP
    return dtype, each, each, 4
