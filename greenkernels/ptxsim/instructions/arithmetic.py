"""Arithmetic on integers and floats.

Float results are those of numpy, rounded to nearest even. ``fma`` of float32 rounds twice, through float64: in
rare cases the last bit differs from a GPU's. Approximate instructions give the nearest float32 instead.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import Values, dtype_of
from ..errors import UnsupportedPtx
from ..execution import Execution
from ..program import Instruction
from ..wave import Lanes
from .registry import FLOATS, INTEGERS, executes

_WIDE = {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}

_FUNCTIONS = {
    "rcp": lambda x: 1 / x,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "ex2": np.exp2,
    "lg2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}


def inputs(execution: Execution, instruction: Instruction, lanes: Lanes) -> list[Values]:
    """All operands but the first, as values of the instruction's type."""
    read = execution.wave.read
    return [read(operand, instruction.type, lanes) for operand in instruction.operands[1:]]


@executes("add sub", f"{INTEGERS} {FLOATS} rn")
def add(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a, b = inputs(execution, instruction, lanes)
    execution.wave.write(instruction.operands[0], a + b if instruction.opcode == "add" else a - b, lanes)


@executes("fma", f"{FLOATS} rn rm")
def fma(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a, b, c = inputs(execution, instruction, lanes)
    exact = np.multiply(a, b, dtype=np.float64) + c
    result = exact.astype(a.dtype)
    if "rm" in instruction.modifiers:  # down; expf finds a whole number so
        result = np.where(result > exact, np.nextafter(result, result.dtype.type(-np.inf)), result)
    execution.wave.write(instruction.operands[0], result, lanes)


@executes("mul mad", f"{INTEGERS} {FLOATS} rn lo hi wide")
def multiply(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    wave, kind = execution.wave, instruction.type
    a, b = (wave.read(operand, kind, lanes) for operand in instruction.operands[1:3])
    result_kind = kind
    if kind[0] == "f" and instruction.opcode == "mad":
        return fma(execution, instruction, lanes)
    if "wide" in instruction.modifiers:
        result_kind = _WIDE[kind]
        product = np.multiply(a, b, dtype=dtype_of(result_kind))
    elif "hi" in instruction.modifiers:
        product = _high_half(a, b)
    else:
        product = a * b
    if instruction.opcode == "mad":
        product = product + wave.read(instruction.operands[3], result_kind, lanes)
    return wave.write(instruction.operands[0], product, lanes)


def _high_half(a: Values, b: Values) -> Values:
    """The upper half of the exact products, in the type of a."""
    bits = 8 * a.dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{a.dtype.kind}{2 * a.dtype.itemsize}")
        return (np.multiply(a, b, dtype=wide) >> bits).astype(a.dtype)
    exact = np.asarray(a.astype(object) * b.astype(object) >> 64)
    return exact.astype(a.dtype)


@executes("div rem", f"{INTEGERS} {FLOATS} rn approx full")
def divide(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a, b = inputs(execution, instruction, lanes)
    if a.dtype.kind == "f":
        result = a / b
    else:
        # Towards zero. Without a divisor a GPU gives no defined value: numpy's 0 is as good as any.
        remainder = np.fmod(a, b)
        result = remainder if instruction.opcode == "rem" else (a - remainder) // b
    execution.wave.write(instruction.operands[0], result.astype(a.dtype), lanes)


@executes("min max", f"{INTEGERS} {FLOATS} NaN")
def extreme(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a, b = inputs(execution, instruction, lanes)
    smaller = instruction.opcode == "min"
    if a.dtype.kind == "f" and "NaN" not in instruction.modifiers:
        choose = np.fmin if smaller else np.fmax
    else:
        choose = np.minimum if smaller else np.maximum
    execution.wave.write(instruction.operands[0], choose(a, b), lanes)


@executes("neg abs", f"s16 s32 s64 {FLOATS}")
def sign(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    (a,) = inputs(execution, instruction, lanes)
    execution.wave.write(instruction.operands[0], -a if instruction.opcode == "neg" else np.abs(a), lanes)


@executes("copysign", FLOATS)
def copy_sign(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    a, b = inputs(execution, instruction, lanes)
    execution.wave.write(instruction.operands[0], np.copysign(b, a), lanes)


@executes(" ".join(_FUNCTIONS), f"{FLOATS} rn approx ftz")
def function(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    (a,) = inputs(execution, instruction, lanes)
    flush = _without_denormals if "ftz" in instruction.modifiers else np.asarray
    exact = _FUNCTIONS[instruction.opcode](flush(a).astype(np.float64))
    execution.wave.write(instruction.operands[0], flush(exact.astype(a.dtype)), lanes)


def _without_denormals(values: Values) -> Values:
    """Zero of the same sign in place of numbers too small for a full mantissa."""
    return np.where(
        np.abs(values) < np.finfo(values.dtype).tiny, np.copysign(values.dtype.type(0), values), values
    )


@executes("dp4a", "s32 u32")
def dot_of_bytes(execution: Execution, instruction: Instruction, lanes: Lanes) -> None:
    kinds = instruction.modifiers
    if len(kinds) != 2:
        raise UnsupportedPtx(f"not implemented: {instruction.text}")
    read, total = execution.wave.read_all, 0
    vectors = [
        read(operand, "b32", lanes)
        .view(np.int8 if kind == "s32" else np.uint8)
        .reshape(-1, 4)
        .astype(np.int32)
        for operand, kind in zip(instruction.operands[1:3], kinds, strict=True)
    ]
    total = (vectors[0] * vectors[1]).sum(axis=1, dtype=np.int32)
    result = total.view(np.uint32) + read(instruction.operands[3], "b32", lanes)
    execution.wave.write(instruction.operands[0], result, lanes)
