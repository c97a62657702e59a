"""Global and shared memory: bytes, who may touch them, and which of them were ever written.

Both are one array of bytes with a state for each byte, so that an access of thousands of threads is checked
and made at once. An index into that array is called a place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .dtypes import Values, bits_of
from .errors import LaunchError
from .program import Kernel, SharedVariable

Places = NDArray[np.int64]

OUTSIDE, ALLOCATED, WRITTEN = 0, 1, 2  # states of a byte

_GUARD = 4096  # bytes between buffers: an access that misses one by less than that hits none
_FIRST_ADDRESS = 1 << 32
_ALIGNMENT = 256  # of cudaMalloc
_RED_ZONE = 64  # bytes between shared variables
_BANKS_BYTES = (
    128  # one row of shared memory over all banks: where a variable begins here, it begins in bank 0
)
_POISON = 0xCD


class Memory:
    """An array of bytes with their states."""

    def __init__(self, size: int) -> None:
        size = -(-size // 16) * 16  # whole words of every type
        self.bytes = np.full(size, _POISON, np.uint8)
        self.state = np.zeros(size, np.uint8)

    def load(self, places: Places, dtype: np.dtype) -> Values:
        """Values at aligned places."""
        return self.bytes.view(dtype)[places // dtype.itemsize]

    def store(self, places: Places, values: Values, dtype: np.dtype) -> None:
        """Writes aligned places; of several writes to one place the last stays."""
        index = places // dtype.itemsize
        self.bytes.view(dtype)[index] = values
        self.state.view(bits_of(dtype))[index] = _word_of(WRITTEN, dtype.itemsize)

    def lowest_state(self, places: Places, size: int) -> NDArray[np.uint8]:
        """For each aligned access of ``size`` bytes the lowest state of its bytes; OUTSIDE beyond the array."""
        inside = (places >= 0) & (places + size <= len(self.state))
        first = np.where(inside, places, 0)
        word = min(size, 8)
        states = self.state.view(f"u{word}")[(first // word)[:, None] + np.arange(size // word)]
        for state in (WRITTEN, ALLOCATED):
            if (states == _word_of(state, word)).all() and inside.all():
                return np.full(len(places), state, np.uint8)
        lowest = self.state[first[:, None] + np.arange(size)].min(axis=1, initial=WRITTEN)
        return np.where(inside, lowest, np.uint8(OUTSIDE))


def _word_of(state: int, size: int) -> np.generic:
    """``size`` bytes of one state as an unsigned integer."""
    return np.full(size, state, np.uint8).view(f"u{size}")[0]


class Buffer:
    """A buffer in global memory.

    Args:
        array: its bytes; C-contiguous and writable.
        address: its address on the simulated device.
        name: for messages.
        written: whether its content counts as initialised.
    """

    def __init__(self, array: NDArray[np.generic], address: int, name: str, written: bool = True) -> None:
        if not array.flags.c_contiguous or not array.flags.writeable:
            raise ValueError(f"array of buffer {name} must be C-contiguous and writable")
        self.array = array
        self.address = address
        self.name = name
        self.written = written


class GlobalMemory(Memory):
    """The buffers of a launch, guarded on both sides. Made from arrays, which ``copy_back`` fills."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self.buffers = sorted(buffers, key=lambda buffer: buffer.address)
        place, places = _GUARD, []
        for buffer in self.buffers:
            place += (buffer.address - place) % _ALIGNMENT  # a place is aligned as its address is
            places.append(place)
            place += buffer.array.nbytes + _GUARD
        super().__init__(place)
        for buffer, start in zip(self.buffers, places, strict=True):
            part = slice(start, start + buffer.array.nbytes)
            self.bytes[part] = buffer.array.reshape(-1).view(np.uint8)
            self.state[part] = WRITTEN if buffer.written else ALLOCATED
        self._starts = np.array([buffer.address for buffer in self.buffers], np.int64)
        self._sizes = np.array([buffer.array.nbytes for buffer in self.buffers], np.int64)
        self._shift = np.array(places, np.int64) - self._starts

    def places(self, addresses: NDArray[np.int64]) -> Places:
        """Where addresses lie; an address in no buffer gets a place whose state is OUTSIDE."""
        if not len(self._starts):
            return np.full(len(addresses), -1)
        nearest = np.maximum(np.searchsorted(self._starts, addresses, side="right") - 1, 0)
        past = addresses - self._starts[nearest]
        near = (past >= -_GUARD) & (past < self._sizes[nearest] + _GUARD - _ALIGNMENT)
        return np.where(near, addresses + self._shift[nearest], -1)

    def nearest_buffer(self, address: int) -> str:
        """Where an address lies, in words."""
        for buffer in self.buffers:
            past = address - buffer.address
            if -_GUARD <= past < buffer.array.nbytes + _GUARD:
                return f"byte {past} of buffer {buffer.name}, which has {buffer.array.nbytes}"
        return "in no buffer"

    def copy_back(self) -> None:
        """Writes every buffer back into its array."""
        for buffer in self.buffers:
            start = int(self.places(np.array([buffer.address]))[0]) if buffer.array.nbytes else 0
            flat = buffer.array.reshape(-1).view(np.uint8)
            flat[:] = self.bytes[start : start + buffer.array.nbytes]


def place_buffers(arrays: dict[str, NDArray[np.generic]]) -> list[Buffer]:
    """Gives arrays addresses as cudaMalloc would: aligned, apart from each other."""
    buffers, address = [], _FIRST_ADDRESS
    for name, array in arrays.items():
        buffers.append(Buffer(array, address, name))
        address += -(-(array.nbytes + 2 * _GUARD) // _ALIGNMENT) * _ALIGNMENT
    return buffers


class Parameters(Memory):
    """The arguments of a launch: one block of bytes that every thread may read. Addresses begin at 0."""

    def __init__(self, arguments: Mapping[str, NDArray[np.uint8]]) -> None:
        self.addresses: dict[str, int] = {}
        end = 0
        for name, argument in arguments.items():
            self.addresses[name] = end
            end += -(-len(argument) // 16) * 16
        super().__init__(end)
        for name, argument in arguments.items():
            start = self.addresses[name]
            self.bytes[start : start + len(argument)] = argument
            self.state[start : start + len(argument)] = WRITTEN


class SharedMemory(Memory):
    """Shared memory of some blocks, one behind the other. Addresses of a block begin at 0."""

    def __init__(self, kernel: Kernel, dynamic_bytes: int, blocks: int) -> None:
        self.addresses, own = _lay_out(kernel.shared, dynamic_bytes)
        self.block_bytes = -(-own // _BANKS_BYTES) * _BANKS_BYTES + _BANKS_BYTES
        super().__init__(self.block_bytes * blocks)
        states = self.state.reshape(blocks, self.block_bytes)
        for variable in kernel.shared:
            start = self.addresses[variable.name]
            states[:, start : start + (variable.size or dynamic_bytes)] = ALLOCATED

    def places(self, addresses: NDArray[np.int64], blocks: NDArray[np.int64]) -> Places:
        """Where addresses of blocks lie; an address that no block has gets a place outside."""
        inside = (addresses >= 0) & (addresses < self.block_bytes)
        return np.where(inside, addresses + blocks * self.block_bytes, -1)


def _lay_out(variables: Sequence[SharedVariable], dynamic_bytes: int) -> tuple[dict[str, int], int]:
    """Addresses of the variables and the bytes of a block; ``extern`` ones share what lies behind the rest."""
    addresses, end = {}, 0
    for variable in (v for v in variables if v.size):
        if variable.align > _BANKS_BYTES:
            raise LaunchError(f"shared variable {variable.name} is aligned to {variable.align} bytes")
        addresses[variable.name] = end
        end += -(-(variable.size + _RED_ZONE) // _BANKS_BYTES) * _BANKS_BYTES
    addresses.update({variable.name: end for variable in variables if not variable.size})
    return addresses, end + dynamic_bytes
