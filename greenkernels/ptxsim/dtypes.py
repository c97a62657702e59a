"""PTX's scalar types as numpy types. Registers hold bits: unsigned integers of the register's width."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import UnsupportedPtx

Values = NDArray[np.generic]

_SIGNED = {"s8": np.int8, "s16": np.int16, "s32": np.int32, "s64": np.int64}
_UNSIGNED = {"u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64}
_BITS = {"b8": np.uint8, "b16": np.uint16, "b32": np.uint32, "b64": np.uint64}
_FLOAT = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
DTYPES: dict[str, np.dtype] = {
    name: np.dtype(kind)
    for name, kind in {**_SIGNED, **_UNSIGNED, **_BITS, **_FLOAT, "pred": np.bool_}.items()
}


def dtype_of(name: str) -> np.dtype:
    """The numpy type of a PTX type such as "u32".

    Raises:
        UnsupportedPtx: the simulator has no such type.
    """
    if name not in DTYPES:
        raise UnsupportedPtx(f"not implemented: type .{name}")
    return DTYPES[name]


def bits_of(dtype: np.dtype) -> np.dtype:
    """The unsigned integer type as wide as ``dtype``; bool for predicates."""
    return dtype if dtype == np.bool_ else np.dtype(f"u{dtype.itemsize}")


def narrowed(bits: Values, dtype: np.dtype) -> Values:
    """The low bits of registers as values of ``dtype``, which is not wider than they are."""
    if bits.dtype == dtype:
        return bits
    if bits.dtype.itemsize == dtype.itemsize:
        return bits.view(dtype)
    return bits.astype(bits_of(dtype)).view(dtype)


def widened(values: Values, register: np.dtype) -> Values:
    """``values`` as bits of a register at least as wide: signed integers keep their sign, the rest gets 0."""
    if values.dtype == register:
        return values
    if values.dtype.kind == "f":
        values = values.view(bits_of(values.dtype))
    return values.view(register) if values.dtype.itemsize == register.itemsize else values.astype(register)


def literal(text: str, dtype: np.dtype) -> Values:
    """A PTX literal (``12``, ``-1``, ``0x1FU``, ``0f3F800000``, ``0d...``) as one value of ``dtype``, shape [1]."""
    if text[:2] in ("0f", "0F"):
        value = np.array([int(text[2:], 16)], np.uint32)
        return value.view(np.float32) if dtype.kind == "f" else value.view(bits_of(dtype))
    if text[:2] in ("0d", "0D"):
        value = np.array([int(text[2:], 16)], np.uint64)
        return value.view(np.float64) if dtype.kind == "f" else value.view(bits_of(dtype))
    number = int(text.rstrip("U"), 0)
    if dtype == np.bool_:
        return np.array([number != 0])
    width = 8 * dtype.itemsize
    return np.array([number & ((1 << width) - 1)], bits_of(dtype)).view(dtype)
