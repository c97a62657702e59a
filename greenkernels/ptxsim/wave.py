"""A wave: some blocks of a launch that are simulated together, and the registers of all their threads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dtypes import Values, bits_of, dtype_of, literal, narrowed, widened
from .errors import UnsupportedPtx
from .program import Kernel, Literal, Negated, Operand, Register, Symbol

WARP = 32
# Generic addresses with this bit belong to shared memory. Above every address of a Linux process and of
# place_buffers.
SHARED_WINDOW = 1 << 56

Threads = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """Grid and block of a launch, x first."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        return self.grid[0] * self.grid[1] * self.grid[2]


class Lanes:
    """Threads that execute an instruction together, in ascending order.

    Attributes:
        index: what selects them in a row of registers.
        threads: their numbers in the wave.
        warps: the warp of each.
        issues: how often the instruction is issued: the number of different warps.
    """

    __slots__ = ("index", "issues", "threads", "warps")

    def __init__(self, threads: Threads, warp_of: NDArray[np.int64]) -> None:
        self.threads = threads
        self.index: slice | Threads = slice(None) if len(threads) == len(warp_of) else threads
        self.warps = warp_of[self.index]
        self.issues = int(np.count_nonzero(np.diff(self.warps))) + 1 if len(threads) else 0

    def __len__(self) -> int:
        return len(self.threads)


class Wave:
    """Registers and places of the threads of ``count`` blocks, from block ``first`` of the grid on."""

    def __init__(self, kernel: Kernel, shape: Shape, first: int, count: int) -> None:
        self.kernel = kernel
        self.shape = shape
        self.first_block = first
        size = shape.threads * count
        thread = np.arange(size)
        self.block_of = thread // shape.threads  # in the wave
        self.thread_of = thread % shape.threads  # in its block
        warps = -(-shape.threads // WARP)
        self.lane_of = self.thread_of % WARP
        self.warp_of = self.block_of * warps + self.thread_of // WARP
        self.warps = warps * count
        self.blocks = count
        self.warp_lanes = np.bincount(self.warp_of, minlength=self.warps)
        self.everyone = Lanes(thread, self.warp_of)
        self.symbols: dict[str, int] = {}  # name of a shared variable -> its address
        self._registers = _register_file(kernel, size)
        self._special = self._special_registers()
        self._literals: dict[tuple[str, np.dtype], Values] = {}

    def __len__(self) -> int:
        return len(self.thread_of)

    def lanes(self, threads: Threads) -> Lanes:
        """These threads, in ascending order, as lanes of an instruction."""
        return self.everyone if len(threads) == len(self) else Lanes(threads, self.warp_of)

    def describe(self, thread: int) -> str:
        """Block and thread in words."""
        return f"block {self.first_block + self.block_of[thread]}, thread {self.thread_of[thread]}"

    def read(self, operand: Operand, type_name: str, lanes: Lanes) -> Values:
        """The operand of each lane as a value of a PTX type: shape [lanes], or [1] if it is the same for all."""
        dtype = dtype_of(type_name)
        if isinstance(operand, Register):
            return narrowed(self._row(operand)[lanes.index], dtype)
        if isinstance(operand, Literal):
            key = (operand.text, dtype)
            if key not in self._literals:
                self._literals[key] = literal(operand.text, dtype)
            return self._literals[key]
        if isinstance(operand, Negated):
            return ~self._row(operand.register)[lanes.index]
        if isinstance(operand, Symbol) and operand.name in self.symbols:
            return np.array([self.symbols[operand.name]], np.uint64).astype(dtype)
        raise UnsupportedPtx(f"not implemented: operand {operand}")

    def read_all(self, operand: Operand, type_name: str, lanes: Lanes) -> Values:
        """Like ``read``, always with one contiguous value for each lane."""
        return np.ascontiguousarray(np.broadcast_to(self.read(operand, type_name, lanes), len(lanes)))

    def write(self, operand: Operand, values: Values, lanes: Lanes) -> None:
        """Puts values, [lanes] or [1], into a register; ``_`` takes none."""
        if isinstance(operand, Symbol) and operand.name == "_":
            return
        if not isinstance(operand, Register) or operand.name not in self._registers:
            raise UnsupportedPtx(f"not implemented: destination {operand}")
        row = self._registers[operand.name]
        row[lanes.index] = widened(values, row.dtype)

    def _row(self, register: Register) -> Values:
        row = self._registers.get(register.name)
        if row is None:
            row = self._special.get(register.name)
        if row is None:
            raise UnsupportedPtx(f"not implemented: register {register.name}")
        return row

    def _special_registers(self) -> dict[str, Values]:
        special, size = {}, len(self)
        thread, block = self.thread_of, self.first_block + self.block_of
        for axis, name in enumerate("xyz"):
            special[f"%tid.{name}"] = thread % self.shape.block[axis]
            special[f"%ctaid.{name}"] = block % self.shape.grid[axis]
            special[f"%ntid.{name}"] = np.full(size, self.shape.block[axis])
            special[f"%nctaid.{name}"] = np.full(size, self.shape.grid[axis])
            thread, block = thread // self.shape.block[axis], block // self.shape.grid[axis]
        special["%laneid"] = self.lane_of
        return {name: values.astype(np.uint32) for name, values in special.items()}


def _register_file(kernel: Kernel, size: int) -> dict[str, Values]:
    """A row of ``size`` values per register. All registers of a width are one block of memory."""
    rows: dict[str, Values] = {}
    for kind in set(kernel.registers.values()):
        names = [name for name, declared in kernel.registers.items() if declared == kind]
        rows.update(zip(names, np.zeros((len(names), size), bits_of(dtype_of(kind))), strict=True))
    return rows
