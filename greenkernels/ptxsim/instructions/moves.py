"""Moves between registers, conversions, comparisons and selections."""

from __future__ import annotations

import numpy as np

from ..dtypes import Values, dtype_of
from ..errors import UnsupportedPtx
from ..execution import Execution
from ..program import Instruction, Vector
from ..wave import SHARED_WINDOW, Lanes
from .registry import BITS, FLOATS, INTEGERS, executes

_ROUND = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


@executes("mov", f"{BITS} {INTEGERS} {FLOATS} pred")
def move(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    target, source = instruction.operands
    wave, kind = execution.wave, instruction.type
    if isinstance(target, Vector):
        whole = wave.read_all(source, kind, lanes)
        part = np.dtype(f"u{whole.dtype.itemsize // len(target.items)}")
        columns = whole.view(part).reshape(len(lanes), -1)
        for item, column in zip(target.items, columns.T, strict=True):
            wave.write(item, column, lanes)
    elif isinstance(source, Vector):
        part_kind = f"b{8 * dtype_of(kind).itemsize // len(source.items)}"
        parts = [wave.read_all(item, part_kind, lanes) for item in source.items]
        wave.write(target, np.stack(parts, axis=1).view(dtype_of(kind)).ravel(), lanes)
    else:
        wave.write(target, wave.read(source, kind, lanes), lanes)


@executes("cvta", "to global shared u64")
def convert_address(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    address = execution.wave.read(instruction.operands[1], "u64", lanes)
    if "shared" in instruction.modifiers:
        window = np.uint64(SHARED_WINDOW)
        address = address - window if "to" in instruction.modifiers else address + window
    execution.wave.write(instruction.operands[0], address, lanes)


@executes("cvt", f"s8 u8 {INTEGERS} f16 {FLOATS} tf32 {' '.join(_ROUND)} rn rz rna sat")
def convert(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    target, source = instruction.modifiers[-2:]
    value = execution.wave.read(instruction.operands[1], source, lanes)
    rounding = next((part for part in instruction.modifiers if part in _ROUND), None)
    if target == "tf32":
        result = _to_tf32(value, instruction)
    elif dtype_of(target).kind == "f":
        if "rz" in instruction.modifiers or (rounding is not None and target != source):
            raise UnsupportedPtx(f"not implemented: {instruction.text}")
        whole = value if rounding is None else _ROUND[rounding](value)
        result = whole.astype(dtype_of(target))
        if "sat" in instruction.modifiers:
            result = np.clip(np.where(np.isnan(result), 0, result), 0, 1).astype(result.dtype)
    elif value.dtype.kind == "f":
        if rounding is None:
            raise UnsupportedPtx(f"not implemented: {instruction.text}")
        result = _to_integer(_ROUND[rounding](value.astype(np.float64)), dtype_of(target))
    elif "sat" in instruction.modifiers:
        limits = np.iinfo(dtype_of(target))
        wide = value.astype(object)
        result = np.minimum(np.maximum(wide, int(limits.min)), int(limits.max)).astype(dtype_of(target))
    else:
        result = value.astype(dtype_of(target))
    execution.wave.write(instruction.operands[0], result, lanes)


def _to_tf32(value: Values, instruction: Instruction) -> Values:
    """Rounded to 10 bits of mantissa, ties away from zero, as bits."""
    if "rna" not in instruction.modifiers:
        raise UnsupportedPtx(f"not implemented: {instruction.text}")
    bits = value.view(np.uint32)
    rounded = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(value), rounded, bits)


def _to_integer(value: Values, dtype: np.dtype) -> Values:
    """Whole float64 values as integers: NaN as 0, and what does not fit as the nearest end of the range."""
    limits = np.iinfo(dtype)
    # 2^63 - 1 is no float64: values from 2^63 on are set apart.
    low, high = value <= float(limits.min), value >= float(limits.max)
    inside = np.where(np.isnan(value) | low | high, 0.0, value)
    result = inside.astype(dtype)
    return np.where(high, dtype.type(limits.max), np.where(low, dtype.type(limits.min), result))


_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
_COMBINE = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
_UNORDERED = {"equ", "neu", "ltu", "leu", "gtu", "geu"}


@executes(
    "setp",
    f"{' '.join(_COMPARE)} {' '.join(_UNORDERED)} num nan {' '.join(_COMBINE)} {BITS} {INTEGERS} {FLOATS}",
)
def compare(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave, how, kind = execution.wave, instruction.modifiers[0], instruction.type
    a, b = (wave.read(operand, kind, lanes) for operand in instruction.operands[1:3])
    result = _compared(how, a, b)
    targets = instruction.operands[0]
    both = targets.items if isinstance(targets, Vector) else (targets,)
    outcomes = [result, ~result]
    if len(instruction.operands) > 3:
        combine = _COMBINE[instruction.modifiers[1]]
        outcomes = [combine(one, wave.read(instruction.operands[3], "pred", lanes)) for one in outcomes]
    for target, outcome in zip(both, outcomes, strict=False):
        wave.write(target, outcome, lanes)


def _compared(how: str, a: Values, b: Values) -> Values:
    """A comparison; those of floats are false with a NaN, unless unordered ones are asked for."""
    unordered = np.isnan(a) | np.isnan(b) if a.dtype.kind == "f" else np.zeros(1, bool)
    if how == "num":
        return ~unordered
    if how == "nan":
        return unordered
    if how in _UNORDERED:
        return _COMPARE[how[:-1]](a, b) | unordered
    return _COMPARE[how](a, b) & ~unordered


@executes("selp", f"{BITS} {INTEGERS} {FLOATS}")
def select(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave, kind = execution.wave, instruction.type
    a, b = (wave.read(operand, kind, lanes) for operand in instruction.operands[1:3])
    chosen = wave.read(instruction.operands[3], "pred", lanes)
    wave.write(instruction.operands[0], np.where(chosen, a, b), lanes)
