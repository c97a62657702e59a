"""Logic, shifts and the instructions that cut and paste bits."""

from __future__ import annotations

import numpy as np

from ..dtypes import Values
from ..errors import UnsupportedPtx
from ..execution import Execution
from ..program import Instruction, Literal
from ..wave import Lanes
from .arithmetic import inputs
from .registry import BITS, INTEGERS, executes

_LOGIC = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}


@executes("and or xor", f"{BITS} pred")
def logic(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a, b = inputs(execution, instruction, lanes)
    execution.wave.write(instruction.operands[0], _LOGIC[instruction.opcode](a, b), lanes)


@executes("not", f"{BITS} pred")
def invert(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    (a,) = inputs(execution, instruction, lanes)
    execution.wave.write(instruction.operands[0], ~a, lanes)


@executes("shl shr", f"{BITS} {INTEGERS}")
def shift(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a = execution.wave.read(instruction.operands[1], instruction.type, lanes)
    distance = execution.wave.read(instruction.operands[2], "u32", lanes)
    bits = 8 * a.dtype.itemsize
    near = np.minimum(distance, bits - 1).astype(a.dtype)
    if instruction.opcode == "shl":
        result = np.where(distance >= bits, a.dtype.type(0), a << near)
    elif a.dtype.kind == "i":
        result = a >> near  # further shifts give the sign bits that the longest one gives
    else:
        result = np.where(distance >= bits, a.dtype.type(0), a >> near)
    execution.wave.write(instruction.operands[0], result, lanes)


@executes("shf", "l r wrap clamp b32")
def funnel_shift(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    low, high, distance = (values.astype(np.uint64) for values in inputs(execution, instruction, lanes))
    limit = np.uint64(31) if "wrap" in instruction.modifiers else np.uint64(32)
    distance = distance & limit if "wrap" in instruction.modifiers else np.minimum(distance, limit)
    both = (high << np.uint64(32)) | low
    result = (both << distance) >> np.uint64(32) if "l" in instruction.modifiers else both >> distance
    execution.wave.write(instruction.operands[0], result.astype(np.uint32), lanes)


@executes("bfe", "s32 s64 u32 u64")
def extract_field(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave = execution.wave
    a = wave.read(instruction.operands[1], instruction.type, lanes)
    start, length = (wave.read(o, "u32", lanes).astype(np.int64) & 255 for o in instruction.operands[2:])
    bits = 8 * a.dtype.itemsize
    start, length = np.minimum(start, bits), np.minimum(length, bits)
    shape = np.broadcast_shapes(a.shape, start.shape, length.shape)
    # What lies beyond the top bit is a copy of the sign bit, or 0.
    wide = a.astype(np.int64) if a.dtype.kind == "i" else a.astype(np.uint64)
    field = wide >> np.minimum(start, bits - 1).astype(wide.dtype)
    if a.dtype.kind == "u":
        field = np.where(start >= bits, wide.dtype.type(0), field)
    spare = (64 - length).astype(wide.dtype)
    cut = (field << np.minimum(spare, 63).astype(wide.dtype)) >> np.minimum(spare, 63).astype(wide.dtype)
    result = np.where(length == 0, wide.dtype.type(0), cut)
    wave.write(instruction.operands[0], np.broadcast_to(result, shape).astype(a.dtype), lanes)


@executes("bfi", "b32 b64")
def insert_field(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave = execution.wave
    field, base = (wave.read(operand, instruction.type, lanes) for operand in instruction.operands[1:3])
    start, length = (wave.read(o, "u32", lanes).astype(np.uint64) & 255 for o in instruction.operands[3:])
    bits = np.uint64(8 * base.dtype.itemsize)
    ones = np.where(length >= 64, ~np.uint64(0), (np.uint64(1) << np.minimum(length, 63)) - np.uint64(1))
    inside = start < bits
    near = np.minimum(start, bits - np.uint64(1))
    mask = np.where(inside, ones << near, np.uint64(0))
    moved = field.astype(np.uint64) << near
    result = (base.astype(np.uint64) & ~mask) | (moved & mask)
    wave.write(instruction.operands[0], result.astype(base.dtype), lanes)


@executes("prmt", "b32")
def permute_bytes(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    low, high, selector = (values.astype(np.uint64) for values in inputs(execution, instruction, lanes))
    eight = (high << np.uint64(32)) | low
    result = np.zeros(np.broadcast_shapes(eight.shape, selector.shape), np.uint64)
    for byte in range(4):
        choice = (selector >> np.uint64(4 * byte)) & np.uint64(15)
        value = (eight >> ((choice & np.uint64(7)) * np.uint64(8))) & np.uint64(255)
        sign = np.where(value >= 128, np.uint64(255), np.uint64(0))
        result |= np.where(choice >= 8, sign, value) << np.uint64(8 * byte)
    execution.wave.write(instruction.operands[0], result.astype(np.uint32), lanes)


@executes("lop3", "b32")
def logic_of_three(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    table = instruction.operands[4]
    if not isinstance(table, Literal):
        raise UnsupportedPtx(f"not implemented: {instruction.text}")
    a, b, c = (execution.wave.read(operand, "b32", lanes) for operand in instruction.operands[1:4])
    result: Values = np.zeros(np.broadcast_shapes(a.shape, b.shape, c.shape), np.uint32)
    for row in range(8):
        if int(table.text, 0) >> row & 1:
            result |= (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
    execution.wave.write(instruction.operands[0], result, lanes)


@executes("popc clz brev", "b32 b64")
def survey(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a = execution.wave.read_all(instruction.operands[1], instruction.type, lanes)
    bits = np.unpackbits(a.view(np.uint8).reshape(len(a), -1), axis=1, bitorder="little")
    if instruction.opcode == "popc":
        result = bits.sum(axis=1, dtype=np.uint32)
    elif instruction.opcode == "clz":
        leading = bits[:, ::-1].argmax(axis=1)
        result = np.where(bits.any(axis=1), leading, bits.shape[1]).astype(np.uint32)
    else:
        result = np.packbits(bits[:, ::-1], axis=1, bitorder="little").view(a.dtype).ravel()
    execution.wave.write(instruction.operands[0], result, lanes)
