"""The race detector: remembers for each word who touched it last, and since which barrier.

Two accesses to a word by different threads, one of them a write, are ordered if a barrier of their block lies
between them, or ``bar.warp.sync`` where they belong to one warp. Nothing orders blocks of a launch. A word
that ``cp.async`` is to fill may not be touched until the thread that issued the copy has waited for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .memory import Places
from .program import Instruction
from .wave import WARP, Shape

_NOBODY, _SEVERAL = -1, -2


@dataclass(frozen=True)
class Race:
    """The first conflict of its kind at an instruction.

    Attributes:
        kind: "write after write", "write after read", "read after write", "read of a copy in flight" or "write
            to a copy in flight".
        space: "shared" or "global".
        instruction: the later of the two accesses.
        text: all of it, for people.
    """

    kind: str
    space: str
    instruction: Instruction
    text: str

    def __str__(self) -> str:
        return self.text


class Order:
    """How many barriers each block and each warp of the launch has passed."""

    def __init__(self, shape: Shape) -> None:
        self.block_threads = shape.threads
        self.warps_per_block = -(-shape.threads // WARP)
        self.block_epoch = np.zeros(shape.blocks, np.int32)
        self.warp_epoch = np.zeros(shape.blocks * self.warps_per_block, np.int32)

    def warp_of(self, threads: NDArray[np.int64]) -> NDArray[np.int64]:
        """The warp of each thread, both numbered over the whole grid."""
        return threads // self.block_threads * self.warps_per_block + threads % self.block_threads // WARP


@dataclass(frozen=True)
class _Actors:
    """The threads of an access, numbered over the grid, with the epochs of their blocks and warps."""

    thread: NDArray[np.int64]
    warp: NDArray[np.int64]
    block: NDArray[np.int64]
    block_epoch: NDArray[np.int32]
    warp_epoch: NDArray[np.int32]


class _Trace:
    """Who touched each word last, and when: a thread, warp and block, each _SEVERAL where there were more."""

    def __init__(self, words: int) -> None:
        self.thread = np.full(words, _NOBODY, np.int32)
        self.warp = np.full(words, _NOBODY, np.int32)
        self.block = np.full(words, _NOBODY, np.int32)
        self.block_epoch = np.zeros(words, np.int32)
        self.warp_epoch = np.zeros(words, np.int32)

    def replace(self, words: Places, actors: _Actors) -> None:
        """Forgets who was noted before. Where several actors meet in a word, the last one stays."""
        self.thread[words] = actors.thread
        self.warp[words] = actors.warp
        self.block[words] = actors.block
        self._stamp(words, actors)

    def join(self, words: Places, actors: _Actors) -> None:
        """Adds actors to those that were noted since the last barrier."""
        same_block = self.block[words] == actors.block
        together = (self.thread[words] != _NOBODY) & (
            ~same_block | (self.block_epoch[words] == actors.block_epoch)
        )
        for noted, now in (
            (self.thread, actors.thread),
            (self.warp, actors.warp),
            (self.block, actors.block),
        ):
            merged = np.where(together & (noted[words] != now), _SEVERAL, now)
            noted[words] = merged
            noted[words[noted[words] != merged]] = _SEVERAL  # several lanes of this access share the word
        self._stamp(words, actors)

    def conflicts(self, words: Places, actors: _Actors) -> NDArray[np.bool_]:
        """Which actors touch a word that another thread touched with nothing in between that orders them."""
        noted = self.thread[words]
        conflict = (noted != _NOBODY) & (noted != actors.thread)
        if conflict.any():
            conflict &= (self.block[words] != actors.block) | (self.block_epoch[words] == actors.block_epoch)
            conflict &= (self.warp[words] != actors.warp) | (self.warp_epoch[words] == actors.warp_epoch)
        return conflict

    def _stamp(self, words: Places, actors: _Actors) -> None:
        self.block_epoch[words] = actors.block_epoch
        self.warp_epoch[words] = actors.warp_epoch


class RaceDetector:
    """Watches one memory.

    Args:
        space: "shared" or "global", for messages.
        size: bytes of the memory.
        granule: bytes of a word; 1 where the kernel touches single bytes, else 4.
        order: of the launch.
    """

    def __init__(self, space: str, size: int, granule: int, order: Order) -> None:
        self.found: dict[tuple[str, int], Race] = {}
        self._space = space
        self._granule = granule
        self._order = order
        words = -(-size // granule)
        self._writes = _Trace(words)
        self._reads = _Trace(words)
        self._in_flight = np.zeros(words, bool)
        self._copies = 0  # words in flight

    def read(self, instruction: Instruction, places: Places, size: int, threads: NDArray[np.int64]) -> None:
        """Notes reads of ``size`` bytes; ``threads`` are numbers in the grid."""
        actors = self._actors(threads)
        for words in self._words(places, size):
            if self._copies:
                self._report("read of a copy in flight", instruction, self._in_flight[words], actors)
            conflict = self._writes.conflicts(words, actors)
            self._report("read after write", instruction, conflict, actors, self._writes.thread[words])
            self._reads.join(words, actors)

    def write(self, instruction: Instruction, places: Places, size: int, threads: NDArray[np.int64]) -> None:
        """Notes writes of ``size`` bytes."""
        actors = self._actors(threads)
        for words in self._words(places, size):
            if self._copies:
                self._report("write to a copy in flight", instruction, self._in_flight[words], actors)
            for kind, trace in (("write after write", self._writes), ("write after read", self._reads)):
                self._report(kind, instruction, trace.conflicts(words, actors), actors, trace.thread[words])
            self._writes.replace(words, actors)
            last = self._writes.thread[words]
            self._report("write after write", instruction, last != actors.thread, actors, last)

    def start_copy(
        self, instruction: Instruction, places: Places, size: int, threads: NDArray[np.int64]
    ) -> None:
        """A copy may write these places from now on."""
        self.write(instruction, places, size, threads)
        for words in self._words(places, size):
            self._in_flight[words] = True
            self._copies += len(words)

    def end_copy(
        self, instruction: Instruction, places: Places, size: int, threads: NDArray[np.int64]
    ) -> None:
        """The copy has written; that counts as a write of the waiting thread, now."""
        for words in self._words(places, size):
            self._in_flight[words] = False
            self._copies -= len(words)
        self.write(instruction, places, size, threads)

    def _words(self, places: Places, size: int) -> Iterator[Places]:
        """One word after the other of each access."""
        for word in range(max(1, size // self._granule)):
            yield places // self._granule + word

    def _actors(self, threads: NDArray[np.int64]) -> _Actors:
        order, warp = self._order, self._order.warp_of(threads)
        block = threads // order.block_threads
        return _Actors(threads, warp, block, order.block_epoch[block], order.warp_epoch[warp])

    def _report(
        self,
        kind: str,
        instruction: Instruction,
        conflict: NDArray[np.bool_],
        actors: _Actors,
        others: NDArray[np.int32] | None = None,
    ) -> None:
        if not conflict.any() or (kind, instruction.index) in self.found:
            return
        one = int(conflict.argmax())
        block, thread = divmod(int(actors.thread[one]), self._order.block_threads)
        text = f"{kind} in {self._space} memory: block {block}, thread {thread}"
        if others is not None:
            text += f" against {self._name(int(others[one]))}"
        text += f", at {instruction.source}: {instruction.text}"
        self.found[kind, instruction.index] = Race(kind, self._space, instruction, text)

    def _name(self, thread: int) -> str:
        if thread < 0:
            return "several threads"
        block, number = divmod(thread, self._order.block_threads)
        return f"block {block}, thread {number}"
