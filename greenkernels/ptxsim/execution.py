"""One wave at work: what instructions see. Every access to memory goes through here, past all detectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .asynchronous import AsyncCopies
from .dtypes import Values, literal
from .errors import MisalignedAccessError, OutOfBoundsError, UninitializedReadError, UnsupportedPtx
from .memory import ALLOCATED, OUTSIDE, GlobalMemory, Memory, Parameters, Places, SharedMemory
from .program import Address, Instruction, Literal, Register
from .races import Order, RaceDetector
from .statistics import Statistics
from .wave import SHARED_WINDOW, Lanes, Wave

Addresses = NDArray[np.int64]


@dataclass(frozen=True)
class Access:
    """One access of an instruction, the same for all its lanes."""

    instruction: Instruction
    space: str  # "shared", "global" or "param"
    size: int  # bytes of a lane
    writes: bool = False

    @property
    def kind(self) -> str:
        """Its name in the statistics."""
        return f"{self.space} {'store' if self.writes else 'load'}"


class Execution:
    """The state of one wave.

    Attributes:
        wave: registers and places of its threads.
        global_memory, shared, parameters: the memories.
        order: barriers passed, over the whole launch.
        races: space -> detector; empty if races are not looked for.
        statistics: of the launch.
        copies: the ``cp.async`` copies in flight.
    """

    def __init__(
        self,
        wave: Wave,
        memories: tuple[GlobalMemory, SharedMemory, Parameters],
        races: dict[str, RaceDetector],
        order: Order,
        statistics: Statistics,
    ) -> None:
        self.wave = wave
        self.global_memory, self.shared, self.parameters = memories
        self.races = races
        self.order = order
        self.statistics = statistics
        self.copies = AsyncCopies(self)
        wave.symbols.update(self.shared.addresses)
        wave.symbols.update(self.parameters.addresses)

    def addresses(self, operand: Address, lanes: Lanes) -> Addresses:
        """Byte addresses of ``[base + offset]``, one for each lane."""
        if isinstance(operand.base, Literal):
            base = literal(operand.base.text, np.dtype(np.int64))
        else:
            wide = isinstance(operand.base, Register) and self._is_wide(operand.base)
            # With its sign: in the 32-bit addresses of shared memory, an offset may make up for a negative base.
            base = self.wave.read(operand.base, "s64" if wide else "s32", lanes).astype(np.int64)
        return np.broadcast_to(base + operand.offset, len(lanes))

    def space_of(self, instruction: Instruction, addresses: Addresses) -> tuple[str, Addresses]:
        """The space an instruction names, or that its generic addresses have; and addresses within it."""
        for part in instruction.modifiers:
            if part in ("shared", "global", "shared::cta", "param"):
                return part.partition("::")[0], addresses
        shared = addresses >= SHARED_WINDOW
        if shared.all():
            return "shared", addresses - SHARED_WINDOW
        if shared.any():
            raise UnsupportedPtx(
                f"not implemented: generic addresses of several spaces at once: {instruction.text}"
            )
        return "global", addresses

    def load(self, access: Access, addresses: Addresses, dtype: np.dtype, lanes: Lanes) -> Values:
        """Values of every lane, [lanes, size of the access / size of dtype]."""
        memory, places = self.checked(access, addresses, lanes)
        steps = np.arange(0, access.size, dtype.itemsize)
        return memory.load(places[:, None] + steps, dtype)

    def store(self, access: Access, addresses: Addresses, values: Values, lanes: Lanes) -> None:
        """Writes values, [lanes, size of the access / size of their dtype]."""
        memory, places = self.checked(access, addresses, lanes)
        for column in range(values.shape[1]):
            memory.store(places + column * values.dtype.itemsize, values[:, column], values.dtype)

    def checked(
        self, access: Access, addresses: Addresses, lanes: Lanes, watch: bool = True
    ) -> tuple[Memory, Places]:
        """Counts an access, checks it with every detector, and says where it lies.

        Args:
            access: what is done.
            addresses: one for each lane.
            lanes: the threads.
            watch: whether the race detector is to see it.
        """
        misaligned = addresses % access.size != 0
        if misaligned.any():
            at = self._where(access, misaligned, addresses, lanes)
            raise MisalignedAccessError(f"access of {access.size} bytes is misaligned: {at}")
        memory, places = self.find(access.space, addresses, lanes)
        lowest = memory.lowest_state(places, access.size)
        if (lowest == OUTSIDE).any():
            raise OutOfBoundsError(
                f"out of bounds: {self._where(access, lowest == OUTSIDE, addresses, lanes)}"
            )
        if not access.writes and (lowest == ALLOCATED).any():
            at = self._where(access, lowest == ALLOCATED, addresses, lanes)
            raise UninitializedReadError(f"read of memory that was never written: {at}")
        if access.space != "param":  # those come out of a cache of constants
            self.statistics.access(access.instruction, access.kind, places, access.size, lanes)
        if watch and access.space in self.races:
            detector = self.races[access.space]
            note = detector.write if access.writes else detector.read
            note(access.instruction, places, access.size, self.in_grid(lanes))
        return memory, places

    def find(self, space: str, addresses: Addresses, lanes: Lanes) -> tuple[Memory, Places]:
        """The memory of a space, and where the addresses of these lanes lie in it."""
        if space == "shared":
            return self.shared, self.shared.places(addresses, self.wave.block_of[lanes.index])
        if space == "param":
            return self.parameters, addresses
        return self.global_memory, self.global_memory.places(addresses)

    def in_grid(self, lanes: Lanes) -> NDArray[np.int64]:
        """The lanes as thread numbers over the whole grid."""
        return lanes.threads + self.wave.first_block * self.wave.shape.threads

    def _is_wide(self, register: Register) -> bool:
        return self.wave.kernel.registers.get(register.name, "").endswith("64")

    def _where(self, access: Access, bad: NDArray[np.bool_], addresses: Addresses, lanes: Lanes) -> str:
        one = int(bad.argmax())
        address = int(addresses[one])
        text = f"{access.kind} of {access.size} bytes at {address:#x}"
        if access.space == "global":
            text += f" ({self.global_memory.nearest_buffer(address)})"
        instruction = access.instruction
        thread = self.wave.describe(int(lanes.threads[one]))
        return f"{text}, {thread}, at {instruction.source}: {instruction.text}"
