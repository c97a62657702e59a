"""Loads, stores, atomics and copies: every instruction that touches memory."""

from __future__ import annotations

import numpy as np

from ..dtypes import Values, dtype_of
from ..errors import UnsupportedPtx
from ..execution import Access, Execution
from ..program import Address, Instruction, Operand, Vector
from ..wave import Lanes
from .registry import executes

_TYPES = "b8 s8 u8 b16 s16 u16 f16 b32 s32 u32 f32 b64 s64 u64 f64"
_SPACES = "global shared shared::cta"
_VECTORS = "v2 v4"
# What tells caches and the compiler something, and changes no value here.
_HINTS = "nc ca cg cs cv lu wb wt weak volatile relaxed cta gpu L1::no_allocate L1::evict_first L1::evict_last L2::128B"


def _items(operand: Operand) -> tuple[Operand, ...]:
    return operand.items if isinstance(operand, Vector) else (operand,)


def _address(operand: Operand, instruction: Instruction) -> Address:
    if not isinstance(operand, Address):
        raise UnsupportedPtx(f"not implemented: {instruction.text}")
    return operand


@executes("ld", f"{_TYPES} {_SPACES} {_VECTORS} {_HINTS} param")
def load(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    items, dtype = _items(instruction.operands[0]), dtype_of(instruction.type)
    source = _address(instruction.operands[1], instruction)
    space, addresses = execution.space_of(instruction, execution.addresses(source, lanes))
    access = Access(instruction, space, len(items) * dtype.itemsize)
    columns = execution.load(access, addresses, dtype, lanes).T
    for item, column in zip(items, columns, strict=True):
        execution.wave.write(item, column, lanes)


@executes("st", f"{_TYPES} {_SPACES} {_VECTORS} {_HINTS}")
def store(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    items, dtype = _items(instruction.operands[1]), dtype_of(instruction.type)
    target = _address(instruction.operands[0], instruction)
    space, addresses = execution.space_of(instruction, execution.addresses(target, lanes))
    access = Access(instruction, space, len(items) * dtype.itemsize, writes=True)
    columns = [execution.wave.read_all(item, instruction.type, lanes) for item in items]
    execution.store(access, addresses, np.stack(columns, axis=1), lanes)


_ATOMIC = {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or}


@executes("atom red", f"{_SPACES} {' '.join(_ATOMIC)} exch relaxed cta gpu b32 s32 u32 u64 f32 f64")
def atomic(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    """One lane after the other, in the order of threads; atomics do not race with each other."""
    returns = instruction.opcode == "atom"
    target, source = instruction.operands[1:] if returns else instruction.operands
    dtype = dtype_of(instruction.type)
    space, addresses = execution.space_of(
        instruction, execution.addresses(_address(target, instruction), lanes)
    )
    access = Access(instruction, space, dtype.itemsize)
    memory, places = execution.checked(access, addresses, lanes, watch=False)
    words, index = memory.bytes.view(dtype), places // dtype.itemsize
    values = execution.wave.read_all(source, instruction.type, lanes)
    combine = next((_ATOMIC[part] for part in instruction.modifiers if part in _ATOMIC), None)
    old = np.empty(len(lanes), dtype)
    for lane, place in enumerate(index):
        old[lane] = words[place]
        words[place] = values[lane] if combine is None else combine(old[lane], values[lane])
    if returns:
        execution.wave.write(instruction.operands[0], old, lanes)


@executes("cp", "async ca cg shared global commit_group wait_group wait_all L2::128B L2::64B L2::256B")
def copy(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    if "commit_group" in instruction.modifiers:
        return execution.copies.commit(lanes)
    if "wait_all" in instruction.modifiers:
        return execution.copies.wait(lanes, None)
    if "wait_group" in instruction.modifiers:
        most_open = execution.wave.read(instruction.operands[0], "s32", lanes)
        return execution.copies.wait(lanes, int(most_open[0]))
    return _start_copy(execution, instruction, lanes)


def _start_copy(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave, operands = execution.wave, instruction.operands
    if not 3 <= len(operands) <= 4:
        raise UnsupportedPtx(f"not implemented: {instruction.text}")
    size = int(wave.read(operands[2], "s64", lanes)[0])
    count = np.full(len(lanes), size)
    if len(operands) == 4:
        count = np.minimum(wave.read_all(operands[3], "u32", lanes).astype(np.int64), size)
    written = execution.addresses(_address(operands[0], instruction), lanes)
    _, target = execution.checked(Access(instruction, "shared", size, True), written, lanes, watch=False)
    addresses = execution.addresses(_address(operands[1], instruction), lanes)
    places = np.zeros(len(lanes), np.int64)
    reads = count > 0
    if reads.any():
        readers = wave.lanes(lanes.threads[reads])
        _check_partial(instruction, count[reads], size)
        access = Access(instruction, "global", size)
        _, places[reads] = execution.checked(access, addresses[reads], readers)
    execution.copies.issue(instruction, lanes, places, count, target, size)


def _check_partial(instruction: Instruction, count: Values, size: int) -> None:
    """Copies of fewer bytes than their size are bounds-checked for all of them: refused until one is needed."""
    if (count != size).any():
        raise UnsupportedPtx(f"not implemented: a copy of neither 0 nor {size} bytes: {instruction.text}")


@executes("ldmatrix", "sync aligned m8n8 x1 x2 x4 trans shared shared::cta b16")
def load_matrices(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    """Lane 8 j + r holds the address of row r of matrix j; lane l gets two elements of row l / 4 of each."""
    items = _items(instruction.operands[0])
    addresses = execution.addresses(_address(instruction.operands[1], instruction), lanes)
    rows = execution.wave.lane_of[lanes.index] < 8 * len(items)
    readers = execution.wave.lanes(lanes.threads[rows])
    access = Access(instruction, "shared", 16)
    half = np.dtype(np.uint16)
    loaded = execution.load(access, addresses[rows], half, readers)
    matrices = loaded.reshape(-1, len(items), 8, 8)  # [warp, matrix, row, column]
    if "trans" in instruction.modifiers:
        matrices = matrices.transpose(0, 1, 3, 2)
    for number, item in enumerate(items):
        pairs = np.ascontiguousarray(matrices[:, number]).view(np.uint32)  # [warp, row, pair]
        execution.wave.write(item, pairs.reshape(-1), lanes)
