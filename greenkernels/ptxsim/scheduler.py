"""Which threads execute next: branches, barriers, convergence, deadlocks.

Of all threads that can go on, those with the lowest program counter advance together, up to the next branch,
barrier or place where others wait. So threads that a branch parted meet again behind it. This is one
schedule of many that a GPU may choose; what depends on the choice is the race detector's to find.
"""

from __future__ import annotations

import numpy as np

from .errors import DeadlockError, DivergentBarrierError, PtxError, RunawayError, UnsupportedPtx
from .execution import Execution
from .instructions import handler_of
from .program import Instruction, Literal, Register, Symbol
from .wave import WARP, Lanes

_NO_BARRIER = -1
_BRANCHES, _EXITS = ("bra",), ("ret", "exit")
# What a warp does as one, and where the mask of its lanes stands; None: all lanes must be there.
_WARP_OPERATIONS = {"shfl": -1, "vote": -1, "mma": None, "ldmatrix": None}


class Scheduler:
    """Runs one wave to its end.

    Args:
        execution: the wave.
        most_steps: after so many steps (an instruction of some threads) the kernel counts as endless.

    Raises:
        UnsupportedPtx: the kernel has an instruction that the simulator does not know, executed or not.
    """

    def __init__(self, execution: Execution, most_steps: int) -> None:
        self._execution = execution
        self._wave = execution.wave
        self._code = execution.wave.kernel.code
        self._handlers = [None if _is_control(one) else handler_of(one) for one in self._code]
        self._steps_left = most_steps
        size = len(execution.wave)
        self._counter = np.zeros(size, np.int64)
        self._live = np.ones(size, bool)
        self._parked = np.zeros(size, bool)  # at a warp operation, until the other lanes come
        self._barrier = np.full(size, _NO_BARRIER)  # that a thread waits at
        self._arrived: dict[int, np.ndarray] = {}  # barrier -> threads of each block that went on: bar.arrive
        self._expected: dict[int, int] = {}  # barrier -> threads that it is for, where the kernel says so

    def run(self) -> None:
        """Executes until every thread has ended.

        Raises:
            PtxError: a detector found something.
        """
        with np.errstate(all="ignore"):  # a GPU wraps and divides by zero without a word
            while self._live.any():
                ready = self._live & ~self._parked & (self._barrier == _NO_BARRIER)
                if not ready.any():
                    self._raise_stuck()
                counters = self._counter[ready]
                first = int(counters.min())
                behind = counters[counters != first]
                stop = int(behind.min()) if len(behind) else len(self._code)
                threads = np.nonzero(ready & (self._counter == first))[0]
                self._advance(self._wave.lanes(threads), first, stop)

    def _advance(self, lanes: Lanes, index: int, stop: int) -> None:
        """Executes from ``index`` on, until control flow parts or may join."""
        labels = self._wave.kernel.label_indices
        while index < len(self._code):
            instruction = self._code[index]
            handler = self._handlers[index]
            if handler is not None and _mask_operand(instruction) is not _NO_WARP_OPERATION:
                lanes = self._gathered(instruction, lanes, index)
                if not len(lanes):
                    return
            chosen = self._chosen(instruction, lanes)
            self._execution.statistics.count(instruction, lanes, len(chosen))
            self._steps_left -= 1
            if self._steps_left < 0:
                raise RunawayError(f"too many steps, at {instruction.source}: {instruction.text}")
            self._counter[lanes.index] = index + 1
            if handler is None:
                return self._control(instruction, chosen)
            if len(chosen):
                handler(self._execution, instruction, chosen)
            index += 1
            if index in labels or index >= stop:
                return None
        return self._exit(lanes)

    def _chosen(self, instruction: Instruction, lanes: Lanes) -> Lanes:
        """The lanes whose guard holds."""
        if instruction.guard is None:
            return lanes
        holds = self._wave.read(instruction.guard, "pred", lanes)
        return lanes if holds.all() else Lanes(lanes.threads[holds], self._wave.warp_of)

    def _control(self, instruction: Instruction, chosen: Lanes) -> None:
        if instruction.opcode in _BRANCHES:
            target = instruction.operands[0]
            assert isinstance(target, Symbol)
            self._counter[chosen.index] = self._wave.kernel.labels[target.name]
        elif instruction.opcode in _EXITS:
            self._exit(chosen)
        elif instruction.opcode == "trap":
            if len(chosen):
                thread = self._wave.describe(int(chosen.threads[0]))
                raise PtxError(f"trap, {thread}, at {instruction.source}: {instruction.text}")
        else:
            self._reach_barrier(instruction, chosen)

    def _exit(self, lanes: Lanes) -> None:
        self._live[lanes.index] = False
        self._release()

    def _reach_barrier(self, instruction: Instruction, lanes: Lanes) -> None:
        numbers = [self._wave.read(operand, "u32", lanes) for operand in instruction.operands]
        if not len(lanes):
            return
        if not all(isinstance(operand, Literal) for operand in instruction.operands):
            raise UnsupportedPtx(f"not implemented: {instruction.text}")
        barrier = int(numbers[0][0])
        if len(numbers) > 1:
            self._expected[barrier] = int(numbers[1][0])
        if "arrive" in instruction.modifiers:
            arrived = self._arrived.setdefault(barrier, np.zeros(self._wave.blocks, np.int64))
            arrived += np.bincount(self._wave.block_of[lanes.index], minlength=self._wave.blocks)
        else:
            self._barrier[lanes.index] = barrier
        self._release()

    def _release(self) -> None:
        """Opens every barrier that all its threads have reached."""
        wave = self._wave
        for barrier in np.unique(self._barrier[self._barrier != _NO_BARRIER]):
            waiting = self._barrier == barrier
            count = np.bincount(wave.block_of[waiting], minlength=wave.blocks)
            arrived = self._arrived.get(int(barrier), np.zeros(wave.blocks, np.int64))
            live = np.bincount(wave.block_of[self._live], minlength=wave.blocks)
            expected = self._expected.get(int(barrier), live)
            full = (count > 0) & (count + arrived >= expected)
            if not full.any():
                continue
            through = waiting & full[wave.block_of]
            self._check_convergence(through)
            self._barrier[through] = _NO_BARRIER
            arrived[full] = 0
            self._execution.order.block_epoch[wave.first_block + np.nonzero(full)[0]] += 1

    def _check_convergence(self, through: np.ndarray) -> None:
        """``bar.sync`` is for whole warps: all their lanes, at one instruction."""
        wave = self._wave
        warps = wave.warp_of[through]
        lanes = np.bincount(warps, minlength=wave.warps)
        partial = (lanes > 0) & (lanes != wave.warp_lanes)
        lowest = np.full(wave.warps, len(self._code))
        np.minimum.at(lowest, warps, self._counter[through])
        apart = np.zeros(wave.warps, bool)
        apart[warps[self._counter[through] != lowest[warps]]] = True
        bad = np.nonzero(partial | apart)[0]
        if not len(bad):
            return
        warp = int(bad[0])
        one = int(np.nonzero(through & (wave.warp_of == warp))[0][0])
        instruction = self._code[self._counter[one] - 1]
        what = "at different barriers" if apart[warp] else f"{lanes[warp]} of {wave.warp_lanes[warp]} of them"
        raise DivergentBarrierError(
            f"lanes of a warp reach a barrier apart ({what}): "
            f"{wave.describe(one)}, at {instruction.source}: {instruction.text}"
        )

    def _gathered(self, instruction: Instruction, lanes: Lanes, index: int) -> Lanes:
        """The lanes of warps that are complete at a warp operation; the others are parked."""
        wave = self._wave
        here = np.zeros(len(wave), bool)
        here[lanes.index] = True
        here |= self._parked & (self._counter == index)
        lanes = wave.lanes(np.nonzero(here)[0])
        chosen = self._chosen(instruction, lanes)
        present = np.bincount(chosen.warps, minlength=wave.warps)
        needed = np.where(present > 0, WARP, 0)
        mask = _mask_operand(instruction)
        if mask is not None:
            members = wave.read_all(instruction.operands[mask], "u32", chosen)
            exists = (np.uint64(1) << wave.warp_lanes[chosen.warps].astype(np.uint64)) - np.uint64(1)
            wanted = (members & exists.astype(np.uint32)).view(np.uint8).reshape(-1, 4)
            needed[chosen.warps] = np.unpackbits(wanted, axis=1).sum(axis=1)
        complete = (present == needed)[lanes.warps]
        self._counter[lanes.index] = index
        self._parked[lanes.threads[~complete]] = True
        self._parked[lanes.threads[complete]] = False
        return lanes if complete.all() else wave.lanes(lanes.threads[complete])

    def _raise_stuck(self) -> None:
        parked = np.nonzero(self._parked & self._live)[0]
        if len(parked):
            one = int(parked[0])
            instruction = self._code[self._counter[one]]
            lanes = int((self._wave.warp_of[parked] == self._wave.warp_of[one]).sum())
            raise DivergentBarrierError(
                f"{lanes} of {WARP} lanes reach a warp operation that needs more: "
                f"{self._wave.describe(one)}, at {instruction.source}: {instruction.text}"
            )
        waiting = np.nonzero(self._barrier != _NO_BARRIER)[0]
        one = int(waiting[0])
        barrier, block = self._barrier[one], self._wave.block_of[one]
        count = int((self._wave.block_of[waiting] == block).sum())
        instruction = self._code[self._counter[one] - 1]
        raise DeadlockError(
            f"deadlock: {count} threads of a block wait at barriers that no other thread will reach; "
            f"{self._wave.describe(one)} at barrier {barrier}, at {instruction.source}: {instruction.text}"
        )


_NO_WARP_OPERATION = object()


def _mask_operand(instruction: Instruction) -> object:
    """Where a warp operation has its mask; None: nowhere, it is for the whole warp."""
    if instruction.opcode == "bar" and "warp" in instruction.modifiers:
        return 0
    return _WARP_OPERATIONS.get(instruction.opcode, _NO_WARP_OPERATION)


def _is_control(instruction: Instruction) -> bool:
    """Whether the scheduler executes it itself.

    Raises:
        UnsupportedPtx: it is a form of a branch or barrier that the scheduler does not know.
    """
    opcode, modifiers = instruction.opcode, instruction.modifiers
    if opcode in _BRANCHES:
        known = modifiers in ((), ("uni",)) and not isinstance(instruction.operands[0], Register)
    elif opcode in (*_EXITS, "trap"):
        known = modifiers in ((), ("uni",))
    elif opcode in ("bar", "barrier") and "warp" not in modifiers:
        known = set(modifiers) <= {"sync", "arrive", "cta", "aligned"} and bool(modifiers)
    else:
        return False
    if not known:
        raise UnsupportedPtx(f"not implemented, at {instruction.source}: {instruction.text}")
    return True
