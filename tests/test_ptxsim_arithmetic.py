"""Arithmetic and bit instructions of the PTX simulator against numpy, at the ends of the ranges too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ptx_programs import evaluate, samples

from greenkernels import ptxsim

MASK = (1 << 64) - 1

# (PTX, type of the operands, what numpy says of them); one operand, two, three by the lambda's arguments
ONE = [
    ("neg.s32 %o, %i0;", "i4", lambda a: -a),
    ("abs.s64 %o, %i0;", "i8", np.abs),
    ("neg.f32 %o, %i0;", "f4", lambda a: -a),
    ("abs.f64 %o, %i0;", "f8", np.abs),
    ("not.b32 %o, %i0;", "u4", np.invert),
    ("popc.b32 %o, %i0;", "u4", lambda a: np.array([bin(x).count("1") for x in a])),
    ("clz.b32 %o, %i0;", "u4", lambda a: np.array([32 - int(x).bit_length() for x in a])),
    ("brev.b32 %o, %i0;", "u4", lambda a: np.array([int(f"{x:032b}"[::-1], 2) for x in a], np.uint32)),
    ("rcp.rn.f32 %o, %i0;", "f4", lambda a: np.float32(1) / a),
    ("sqrt.rn.f32 %o, %i0;", "f4", np.sqrt),
    ("ex2.approx.f32 %o, %i0;", "f4", lambda a: np.exp2(a.astype("f8")).astype("f4")),
    ("tanh.approx.f32 %o, %i0;", "f4", lambda a: np.tanh(a.astype("f8")).astype("f4")),
]
TWO = [
    ("add.s32 %o, %i0, %i1;", "i4", np.add),
    ("sub.u16 %o, %i0, %i1;", "u2", np.subtract),
    ("add.s64 %o, %i0, %i1;", "i8", np.add),
    ("add.f32 %o, %i0, %i1;", "f4", np.add),
    ("sub.rn.f64 %o, %i0, %i1;", "f8", np.subtract),
    ("mul.lo.s32 %o, %i0, %i1;", "i4", np.multiply),
    ("mul.hi.s32 %o, %i0, %i1;", "i4", lambda a, b: (a.astype("i8") * b) >> 32),
    ("mul.hi.u32 %o, %i0, %i1;", "u4", lambda a, b: (a.astype("u8") * b) >> np.uint64(32)),
    ("mul.hi.u64 %o, %i0, %i1;", "u8", lambda a, b: (a.astype(object) * b.astype(object)) >> 64),
    ("mul.hi.s64 %o, %i0, %i1;", "i8", lambda a, b: (a.astype(object) * b.astype(object)) >> 64),
    ("mul.rn.f32 %o, %i0, %i1;", "f4", np.multiply),
    ("div.rn.f32 %o, %i0, %i1;", "f4", np.divide),
    ("min.s32 %o, %i0, %i1;", "i4", np.minimum),
    ("max.u32 %o, %i0, %i1;", "u4", np.maximum),
    ("min.f32 %o, %i0, %i1;", "f4", np.fmin),  # the number, where the other is no number
    ("max.NaN.f32 %o, %i0, %i1;", "f4", np.maximum),
    ("copysign.f32 %o, %i0, %i1;", "f4", lambda a, b: np.copysign(b, a)),
    ("and.b64 %o, %i0, %i1;", "u8", np.bitwise_and),
    ("or.b32 %o, %i0, %i1;", "u4", np.bitwise_or),
    ("xor.b16 %o, %i0, %i1;", "u2", np.bitwise_xor),
]
THREE = [
    ("mad.lo.s32 %o, %i0, %i1, %i2;", "i4", lambda a, b, c: a * b + c),
    (
        "mad.hi.u32 %o, %i0, %i1, %i2;",
        "u4",
        lambda a, b, c: ((a.astype("u8") * b) >> np.uint64(32)).astype("u4") + c,
    ),
    ("fma.rn.f64 %o, %i0, %i1, %i2;", "f8", lambda a, b, c: a * b + c),
    ("fma.rn.f32 %o, %i0, %i1, %i2;", "f4", lambda a, b, c: (a.astype("f8") * b + c).astype("f4")),
    ("lop3.b32 %o, %i0, %i1, %i2, 0x96;", "u4", lambda a, b, c: a ^ b ^ c),
    ("lop3.b32 %o, %i0, %i1, %i2, 0xCA;", "u4", lambda a, b, c: (a & b) | (~a & c)),
]


@pytest.mark.parametrize(("lines", "dtype", "expected"), [*ONE, *TWO, *THREE], ids=lambda x: str(x)[:24])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_matches_numpy(lines: str, dtype: str, expected: Callable[..., np.ndarray]) -> None:
    inputs = [samples(dtype, seed) for seed in range(lines.count("%i"))]
    wanted = np.asarray(expected(*inputs))
    result = evaluate(lines, inputs, dtype)
    np.testing.assert_array_equal(result, wanted.astype(object).astype(dtype) if dtype[0] != "f" else wanted)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "i2"])
def test_division_truncates(dtype: str) -> None:
    a, b = samples(dtype), samples(dtype, 1)
    b[b == 0] = 3
    if dtype[0] == "i":
        b[b == -1] = 7  # the lowest number over -1 does not fit
    name = ("s" if dtype[0] == "i" else "u") + str(8 * int(dtype[1]))
    quotient = np.array(
        [abs(int(x)) // abs(int(y)) * (1 if (x < 0) == (y < 0) else -1) for x, y in zip(a, b, strict=True)]
    )
    np.testing.assert_array_equal(
        evaluate(f"div.{name} %o, %i0, %i1;", [a, b], dtype), quotient.astype(dtype)
    )
    rest = np.array([int(x) - int(q) * int(y) for x, q, y in zip(a, quotient, b, strict=True)])
    np.testing.assert_array_equal(evaluate(f"rem.{name} %o, %i0, %i1;", [a, b], dtype), rest.astype(dtype))


def test_wide_products() -> None:
    a, b = samples("i4"), samples("i4", 1)
    np.testing.assert_array_equal(evaluate("mul.wide.s32 %o, %i0, %i1;", [a, b], "i8"), a.astype("i8") * b)
    c, d = a.view("u4"), b.view("u4")
    np.testing.assert_array_equal(evaluate("mul.wide.u32 %o, %i0, %i1;", [c, d], "u8"), c.astype("u8") * d)
    sums = evaluate("mad.wide.s32 %o, %i0, %i1, -5;", [a, b], "i8")
    np.testing.assert_array_equal(sums, a.astype("i8") * b - 5)


@pytest.mark.parametrize("name", ["s32", "u32", "s64", "b64", "u16"])
@pytest.mark.parametrize("opcode", ["shl", "shr"])
def test_shifts_past_the_width(opcode: str, name: str) -> None:
    bits, signed = int(name[1:]), name[0] == "s"
    dtype = ("i" if signed else "u") + str(bits // 8)
    a, distance = samples(dtype), samples("u4", 1) % np.uint32(2 * bits)
    if opcode == "shl":
        wanted = [(int(x) << int(d)) & ((1 << bits) - 1) for x, d in zip(a, distance, strict=True)]
        name = f"b{bits}"
    else:
        wanted = [int(x) >> int(d) for x, d in zip(a, distance, strict=True)]
    wanted = np.array(wanted, object) & ((1 << bits) - 1)
    result = evaluate(f"{opcode}.{name} %o, %i0, %i1;", [a, distance], dtype)
    np.testing.assert_array_equal(result, wanted.astype(f"u{bits // 8}").view(dtype))


@pytest.mark.parametrize("how", ["l.wrap", "r.wrap", "l.clamp", "r.clamp"])
def test_funnel_shift(how: str) -> None:
    low, high, distance = samples("u4"), samples("u4", 1), samples("u4", 2) % np.uint32(70)
    wanted = []
    for lo, hi, d in zip(low.tolist(), high.tolist(), distance.tolist(), strict=True):
        d = d & 31 if how.endswith("wrap") else min(d, 32)
        both = hi << 32 | lo
        wanted.append((both << d & MASK) >> 32 if how[0] == "l" else both >> d & 0xFFFFFFFF)
    result = evaluate(f"shf.{how}.b32 %o, %i0, %i1, %i2;", [low, high, distance], "u4")
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("name", ["s32", "u32", "s64", "u64"])
def test_fields_are_extracted(name: str) -> None:
    bits, dtype = int(name[1:]), ("i" if name[0] == "s" else "u") + str(int(name[1:]) // 8)
    a = samples(dtype)
    start, length = samples("u4", 1) % np.uint32(bits + 4), samples("u4", 2) % np.uint32(bits + 4)
    wanted = []
    for x, s, n in zip(a.tolist(), start.tolist(), length.tolist(), strict=True):
        field = x >> s & ((1 << n) - 1)  # Python's integers go on with copies of the sign
        negative = n > 0 and name[0] == "s" and field >> (n - 1) & 1
        wanted.append(field - (1 << n) if negative else field)
    result = evaluate(f"bfe.{name} %o, %i0, %i1, %i2;", [a, start, length], dtype)
    np.testing.assert_array_equal(result, np.array(wanted, object).astype(dtype))


@pytest.mark.parametrize("bits", [32, 64])
def test_fields_are_inserted(bits: int) -> None:
    dtype = f"u{bits // 8}"
    field, base = samples(dtype), samples(dtype, 1)
    start, length = samples("u4", 2) % np.uint32(bits + 4), samples("u4", 3) % np.uint32(bits + 4)
    wanted = []
    for f, b, s, n in zip(field.tolist(), base.tolist(), start.tolist(), length.tolist(), strict=True):
        mask = ((1 << n) - 1) << s & ((1 << bits) - 1)
        wanted.append((b & ~mask) | (f << s & mask))
    result = evaluate(f"bfi.b{bits} %o, %i0, %i1, %i2, %i3;", [field, base, start, length], dtype)
    np.testing.assert_array_equal(result, np.array(wanted, object).astype(dtype))


def test_bytes_are_permuted() -> None:
    low, high, selector = samples("u4"), samples("u4", 1), samples("u4", 2)
    eight = np.stack([low, high], axis=1).view(np.uint8)
    wanted = np.zeros((len(low), 4), np.uint8)
    for byte in range(4):
        choice = selector >> np.uint32(4 * byte) & np.uint32(15)
        value = np.take_along_axis(eight, (choice & 7)[:, None].astype(int), axis=1)[:, 0]
        wanted[:, byte] = np.where(choice >= 8, np.where(value >= 128, 255, 0), value)
    result = evaluate("prmt.b32 %o, %i0, %i1, %i2;", [low, high, selector], "u4")
    np.testing.assert_array_equal(result, wanted.view(np.uint32).ravel())


@pytest.mark.parametrize("kinds", ["s32.s32", "u32.u32", "u32.s32"])
def test_dot_of_bytes(kinds: str) -> None:
    a, b, c = samples("u4"), samples("u4", 1), samples("i4", 2)
    types = [np.int8 if kind == "s32" else np.uint8 for kind in kinds.split(".")]
    x, y = (v.view(t).reshape(-1, 4).astype(np.int64) for v, t in zip((a, b), types, strict=True))
    wanted = ((x * y).sum(axis=1) + c).astype(np.int32)
    np.testing.assert_array_equal(evaluate(f"dp4a.{kinds} %o, %i0, %i1, %i2;", [a, b, c], "i4"), wanted)


def test_rounding_down() -> None:
    a = np.array([1.0, 3.0, -3.0, 0.1], np.float32)
    tiny = np.float32(2**-40)  # vanishes next to the product, but for the direction
    for addend in (tiny, -tiny, np.float32(0)):
        exact = a.astype("f8") * a + addend
        result = evaluate("fma.rm.f32 %o, %i0, %i0, %i1;", [a, np.full(4, addend)], "f4")
        assert (result <= exact).all()
        assert (np.nextafter(result, np.float32(np.inf)) > exact).all()


def test_denormals_are_flushed_where_asked_for() -> None:
    a = np.array([1e-40, -1e-40, 2.0, 1e38], np.float32)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(
            evaluate("rcp.approx.ftz.f32 %o, %i0;", [a], "f4"), np.float32([np.inf, -np.inf, 0.5, 0])
        )


def test_a_rounding_that_is_not_implemented_is_named() -> None:
    a = samples("f4")
    with pytest.raises(ptxsim.UnsupportedPtx, match=r"\.rz.*add\.rz\.f32"):
        evaluate("add.rz.f32 %o, %i0, %i0;", [a], "f4")
