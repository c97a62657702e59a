"""What the lanes of a warp do together: shuffles, votes and matrix products.

The scheduler calls these only with whole sets of lanes (see scheduler.py), one warp after the other.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import Values, dtype_of
from ..errors import UnsupportedPtx
from ..execution import Execution
from ..program import Instruction, Operand, Vector
from ..wave import Lanes
from .registry import executes


@executes("shfl", "sync idx up down bfly b32")
def shuffle(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave = execution.wave
    values = wave.read_all(instruction.operands[1], "b32", lanes)
    distance, clamp = (wave.read(o, "u32", lanes).astype(np.int64) for o in instruction.operands[2:4])
    lane = wave.lane_of[lanes.index]
    segment = (clamp >> 8) & 31
    low = lane & segment
    high = low | (clamp & 31 & ~segment)
    mode = instruction.modifiers[1]
    wanted = {
        "idx": low | (distance & ~segment & 31),
        "up": lane - (distance & 31),
        "down": lane + (distance & 31),
        "bfly": lane ^ (distance & 31),
    }[mode]
    valid = wanted >= high if mode == "up" else wanted <= high
    source = lanes.threads - lane + np.where(valid, wanted, lane)
    at = np.searchsorted(lanes.threads, source)
    found = at < len(lanes)
    if not found.all() or (lanes.threads[at] != source).any():
        raise UnsupportedPtx(f"not implemented: a shuffle from a lane that is not active: {instruction.text}")
    target = instruction.operands[0]
    items = target.items if isinstance(target, Vector) else (target,)
    for item, column in zip(items, (values[at], valid), strict=False):
        wave.write(item, column, lanes)


@executes("vote", "sync all any uni ballot pred b32")
def vote(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave = execution.wave
    yes = np.broadcast_to(wave.read(instruction.operands[1], "pred", lanes), len(lanes))
    if "ballot" in instruction.modifiers:
        ballots = np.zeros(wave.warps, np.uint32)
        bit = np.uint32(1) << wave.lane_of[lanes.index].astype(np.uint32)
        np.bitwise_or.at(ballots, lanes.warps, np.where(yes, bit, np.uint32(0)))
        return wave.write(instruction.operands[0], ballots[lanes.warps], lanes)
    count = np.bincount(lanes.warps[yes], minlength=wave.warps)[lanes.warps]
    members = np.bincount(lanes.warps, minlength=wave.warps)[lanes.warps]
    outcome = {"all": count == members, "any": count > 0, "uni": (count == 0) | (count == members)}
    return wave.write(instruction.operands[0], outcome[instruction.modifiers[1]], lanes)


@executes("bar", "warp sync")
def warp_barrier(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    """``bar.warp.sync``; the barriers of a block are the scheduler's."""
    first = execution.wave.first_block * (execution.wave.warps // execution.wave.blocks)
    execution.order.warp_epoch[first + np.unique(lanes.warps)] += 1


@executes("membar fence griddepcontrol", "cta gl gpu sys sc acq_rel proxy async wait launch_dependents")
def fence(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    """Memory here is always up to date. The race detector does not count a fence as order."""


@executes("activemask", "b32")
def active_mask(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    masks = np.zeros(execution.wave.warps, np.uint32)
    bit = np.uint32(1) << execution.wave.lane_of[lanes.index].astype(np.uint32)
    np.bitwise_or.at(masks, lanes.warps, bit)
    execution.wave.write(instruction.operands[0], masks[lanes.warps], lanes)


# Types of the factors, as numpy reads them out of a register.
_MATRIX_TYPES = {"s8": np.int8, "u8": np.uint8, "f16": np.float16, "tf32": np.float32}
_SHAPES = "m16n8k4 m16n8k8 m16n8k16 m16n8k32"


@executes("mma", f"sync aligned {_SHAPES} row col satfinite s32 f32 {' '.join(_MATRIX_TYPES)}")
def multiply_matrices(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    """D = A B + C for each warp, the fragments laid out as the PTX manual says (section "mma").

    Integer sums are exact, modulo 2^32. Float sums are made in float64 and rounded once; a GPU keeps fewer bits.
    """
    shape = next(part for part in instruction.modifiers if part.startswith("m16"))
    d_kind, a_kind, b_kind, c_kind = instruction.modifiers[-4:]
    if "satfinite" in instruction.modifiers or d_kind != c_kind or a_kind not in _MATRIX_TYPES:
        raise UnsupportedPtx(f"not implemented: {instruction.text}")
    depth = int(shape.partition("k")[2])
    target, a, b, c = instruction.operands
    rows = _elements(execution, a, a_kind, lanes)
    columns = _elements(execution, b, b_kind, lanes)
    group, quad = np.arange(32) // 4, np.arange(32) % 4
    per = rows.shape[-1]  # elements in a register
    left = np.zeros((rows.shape[0], 16, depth), rows.dtype)
    right = np.zeros((rows.shape[0], depth, 8), rows.dtype)
    for element in range(per):
        at = quad * per + element
        for number in range(rows.shape[1]):
            left[:, group + number % 2 * 8, at + number // 2 * 4 * per] = rows[:, number, :, element]
        for number in range(columns.shape[1]):
            right[:, at + number * 4 * per, group] = columns[:, number, :, element]
    product = left @ right
    if c_kind == "s32":
        product = product.astype(np.int64)
    read = execution.wave.read_all
    sums = [read(item, c_kind, lanes).reshape(-1, 32) for item in _items(c)]
    for number, (item, addend) in enumerate(zip(_items(target), sums, strict=True)):
        part = product[:, group + number // 2 * 8, quad * 2 + number % 2] + addend
        execution.wave.write(item, part.astype(dtype_of(d_kind)).reshape(-1), lanes)


def _elements(execution: Execution, fragment: Operand, kind: str, lanes: Lanes) -> Values:
    """The elements of a fragment, [warp, register, lane, element], as float64, exactly."""
    registers = [execution.wave.read_all(item, "b32", lanes) for item in _items(fragment)]
    bits = np.stack([register.reshape(-1, 32) for register in registers], axis=1)
    if kind == "tf32":
        bits = bits & np.uint32(0xFFFFE000)  # the tensor core does not look at the other bits
    values = np.ascontiguousarray(bits).view(_MATRIX_TYPES[kind]).reshape(*bits.shape, -1)
    return values.astype(np.float64)


def _items(operand: Operand) -> tuple[Operand, ...]:
    return operand.items if isinstance(operand, Vector) else (operand,)
