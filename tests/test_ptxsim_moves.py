"""Moves, conversions, comparisons and selections of the PTX simulator against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_programs import evaluate, samples


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("u64.u32", "u4", "u8"),
        ("s64.s32", "i4", "i8"),
        ("u32.u64", "u8", "u4"),
        ("s16.s32", "i4", "i2"),
        ("s32.s16", "i2", "i4"),
        ("rn.f32.s32", "i4", "f4"),
        ("rn.f32.u64", "u8", "f4"),
        ("rn.f64.s32", "i4", "f8"),
        ("f64.f32", "f4", "f8"),
        ("rn.f32.f64", "f8", "f4"),
        ("f32.f16", "f2", "f4"),
        ("rn.f16.f32", "f4", "f2"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_conversions(name: str, source: str, target: str) -> None:
    a = samples(source)
    np.testing.assert_array_equal(evaluate(f"cvt.{name} %o, %i0;", [a], target), a.astype(target))


@pytest.mark.parametrize("name", ["s8", "u8"])
def test_bytes_grow_to_registers(name: str) -> None:
    a = samples("i4")
    result = evaluate(f"cvt.{name}.s32 %x0, %i0; mov.b32 %o, %x0;", [a], "i4")
    np.testing.assert_array_equal(result, a.astype("i1" if name == "s8" else "u1"))


@pytest.mark.parametrize(
    ("mode", "round_"), [("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)]
)
@pytest.mark.parametrize(("name", "dtype"), [("s32", "i4"), ("u32", "u4"), ("s64", "i8")])
def test_floats_become_integers_within_the_range(mode: str, round_: np.ufunc, name: str, dtype: str) -> None:
    a, limits = samples("f4"), np.iinfo(dtype)
    wanted = [
        0
        if np.isnan(x)
        else int(min(max(float(round_(np.float64(x))), float(limits.min)), float(limits.max)))
        for x in a
    ]
    wanted = [min(x, int(limits.max)) for x in wanted]
    result = evaluate(f"cvt.{mode}.{name}.f32 %o, %i0;", [a], dtype)
    np.testing.assert_array_equal(result, np.array(wanted, dtype))


@pytest.mark.parametrize(
    ("mode", "round_"), [("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)]
)
def test_floats_become_whole_floats(mode: str, round_: np.ufunc) -> None:
    a = samples("f4")
    np.testing.assert_array_equal(evaluate(f"cvt.{mode}.f32.f32 %o, %i0;", [a], "f4"), round_(a))


def test_saturation() -> None:
    a = samples("i4")
    result = evaluate("cvt.sat.s8.s32 %x0, %i0; mov.b32 %o, %x0;", [a], "i4")
    np.testing.assert_array_equal(result, np.clip(a, -128, 127))


def test_floats_saturate_to_one() -> None:
    a = np.array([-1, 0.25, 3, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(
        evaluate("cvt.sat.f32.f32 %o, %i0;", [a], "f4"), np.float32([0, 0.25, 1, 0, 1])
    )


def test_tf32_rounds_ties_away() -> None:
    one, step = np.float32(1), np.float32(2**-10)
    a = np.array([one, one + step / 2, one + step / 4, -one - step / 2, np.inf, 3.14159], np.float32)
    wanted = np.array([one, one + step, one, -one - step, np.inf, 3.140625], np.float32)
    np.testing.assert_array_equal(evaluate("cvt.rna.tf32.f32 %o, %i0;", [a], "f4"), wanted)


def test_registers_are_packed_and_unpacked() -> None:
    a, b = samples("u4"), samples("u4", 1)
    packed = evaluate("mov.b64 %o, {%i0, %i1};", [a, b], "u8")
    np.testing.assert_array_equal(packed, a | b.astype("u8") << np.uint64(32))
    np.testing.assert_array_equal(evaluate("mov.b64 {%x0, %o}, %i0;", [packed], "u4"), b)


@pytest.mark.parametrize(
    "how", ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu"]
)
def test_comparisons_with_numbers_that_are_none(how: str) -> None:
    a, b = samples("f4"), samples("f4", 1)
    b[::4] = a[::4]
    unordered = np.isnan(a) | np.isnan(b)
    plain = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[how[:2]]
    wanted = plain | unordered if how.endswith("u") else plain & ~unordered
    result = evaluate(f"setp.{how}.f32 %p0, %i0, %i1; selp.b32 %o, 1, 0, %p0;", [a, b], "u4")
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize(
    ("name", "dtype"), [("lt.s32", "i4"), ("lt.u32", "u4"), ("lo.u32", "u4"), ("hs.u64", "u8")]
)
def test_comparisons_of_integers(name: str, dtype: str) -> None:
    a, b = samples(dtype), samples(dtype, 1)
    result = evaluate(f"setp.{name} %p0, %i0, %i1; selp.b32 %o, 1, 0, %p0;", [a, b], "u4")
    np.testing.assert_array_equal(result, a >= b if name[0] == "h" else a < b)


def test_a_comparison_may_combine_and_give_both_outcomes() -> None:
    a, b = samples("i4"), samples("i4", 1)
    lines = """
    setp.gt.s32 %p0, %i0, 0;
    setp.lt.and.s32 %p1|%p2, %i0, %i1, %p0;
    selp.b32 %x0, 1, 0, %p1;
    selp.b32 %x1, 2, 0, %p2;
    setp.eq.or.s32 %p3, %i0, 0, !%p0;
    selp.b32 %x2, 4, 0, %p3;
    or.b32 %o, %x0, %x1;
    or.b32 %o, %o, %x2;
    """
    wanted = ((a < b) & (a > 0)) * 1 + (~(a < b) & (a > 0)) * 2 + ((a == 0) | ~(a > 0)) * 4
    np.testing.assert_array_equal(evaluate(lines, [a, b], "u4"), wanted)


def test_guards_leave_the_other_lanes_alone() -> None:
    a = samples("i4")
    lines = "setp.lt.s32 %p0, %i0, 0; mov.b32 %o, %i0; @%p0 neg.s32 %o, %i0; @!%p0 add.s32 %o, %o, 1;"
    np.testing.assert_array_equal(evaluate(lines, [a], "i4"), np.where(a < 0, -a, a + 1))


def test_special_registers() -> None:
    zero = np.zeros(70, np.uint32)
    thread = np.arange(70)
    np.testing.assert_array_equal(evaluate("mov.u32 %o, %laneid;", [zero], "u4"), thread % 32)
    np.testing.assert_array_equal(evaluate("mov.u32 %o, %ntid.x;", [zero], "u4"), np.full(70, 70))


def test_literals() -> None:
    zero = np.zeros(1, np.uint32)
    assert evaluate("mov.f32 %o, 0f3F800000;", [zero], "f4") == 1
    assert evaluate("mov.f64 %o, 0dC000000000000000;", [zero], "f8") == -2
    assert evaluate("mov.b64 %o, -1;", [zero], "u8") == 2**64 - 1
    assert evaluate("mov.u32 %o, 0x1FU;", [zero], "u4") == 31
