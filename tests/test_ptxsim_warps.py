"""Warp instructions of the PTX simulator: shuffles, votes, matrix loads and products."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_programs import evaluate, kernel, samples

from greenkernels import ptxsim

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("mode", "argument", "clamp", "source"),
    [
        ("idx", 5, 31, lambda lane: 5),
        ("idx", 3, 0x1800 | 31, lambda lane: lane // 8 * 8 + 3),  # segments of 8 lanes
        ("bfly", 6, 31, lambda lane: lane ^ 6),
        ("down", 4, 31, lambda lane: lane + 4 if lane + 4 < 32 else lane),
        ("up", 3, 0, lambda lane: lane - 3 if lane >= 3 else lane),
    ],
)
def test_shuffles(mode: str, argument: int, clamp: int, source) -> None:
    a = samples("u4", size=64)
    wanted = [a[thread // 32 * 32 + source(thread % 32)] for thread in range(64)]
    lines = f"shfl.sync.{mode}.b32 %o|%p0, %i0, {argument}, {clamp}, -1;"
    np.testing.assert_array_equal(evaluate(lines, [a], "u4"), wanted)


def test_a_shuffle_says_which_lanes_had_a_source() -> None:
    a = samples("u4", size=32)
    result = evaluate("shfl.sync.down.b32 %x0|%p0, %i0, 4, 31, -1; selp.b32 %o, 1, 0, %p0;", [a], "u4")
    np.testing.assert_array_equal(result, np.arange(32) < 28)


def test_votes() -> None:
    a = np.where(np.arange(96) < 64, np.arange(96) % 3, 7).astype(np.uint32)  # the last warp agrees
    yes = (a > 0).reshape(3, 32)
    head = "setp.gt.u32 %p0, %i0, 0; "
    ballot = evaluate(head + "vote.sync.ballot.b32 %o, %p0, -1;", [a], "u4")
    bits = (yes * (np.uint64(1) << np.arange(32, dtype=np.uint64))).sum(axis=1)
    np.testing.assert_array_equal(ballot, bits.repeat(32))
    for how, wanted in (("all", yes.all(axis=1)), ("any", yes.any(axis=1))):
        result = evaluate(head + f"vote.sync.{how}.pred %p1, %p0, -1; selp.b32 %o, 1, 0, %p1;", [a], "u4")
        np.testing.assert_array_equal(result, wanted.repeat(32))


def test_lanes_wait_for_each_other_at_a_warp_operation() -> None:
    """Half of the warp takes a longer way to the shuffle, on the far side of it in the program."""
    a = samples("u4", size=32)
    lines = """
    mov.u32 %x0, %laneid;
    setp.lt.u32 %p0, %x0, 16;
    @%p0 bra FAR;
    JOIN:
    shfl.sync.bfly.b32 %o|%p1, %i0, 16, 31, -1;
    bra DONE;
    FAR:
    add.u32 %i0, %i0, 1;
    bra JOIN;
    DONE:
    """
    wanted = np.concatenate([a[16:], a[:16] + np.uint32(1)])
    np.testing.assert_array_equal(evaluate(lines, [a], "u4"), wanted)


def test_a_lane_that_never_comes_is_reported() -> None:
    lines = """
    mov.u32 %x0, %laneid;
    mov.b32 %o, 0;
    setp.lt.u32 %p0, %x0, 12;
    @%p0 bra SKIP;
    shfl.sync.idx.b32 %o|%p1, %i0, 31, 31, -1;
    SKIP:
    """
    with pytest.raises(ptxsim.DivergentBarrierError, match="20 of 32 lanes reach a warp operation"):
        evaluate(lines, [samples("u4", size=32)], "u4")


def test_a_matrix_product_needs_the_whole_warp() -> None:
    zeros = "{%o, %x1, %x2, %x3}"
    lines = f"mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {zeros}, {{%i0, %i0}}, {{%i0}}, {{%i0, %i0, %i0, %i0}};"
    with pytest.raises(ptxsim.DivergentBarrierError, match="16 of 32 lanes"):
        evaluate(lines, [samples("u4", size=16)], "u4")


def product_of_fragments(shape: str, kinds: str, a, b, c, dtype: str):
    """One mma on fragments that CuTe's layouts give: see the tests that call it."""
    lines = [".reg .pred %p<2>;", ".reg .b32 %a<4>;", ".reg .b32 %b<2>;", ".reg .b32 %c<4>;"]
    lines += [".reg .b32 %t;", ".reg .b64 %q<3>;", "mov.u32 %t, %tid.x;", "mul.wide.u32 %q1, %t, 4;"]
    buffers = [*a, *b, *c]
    names = [
        *(f"%a{i}" for i in range(len(a))),
        *(f"%b{i}" for i in range(len(b))),
        *(f"%c{i}" for i in range(4)),
    ]
    for number, name in enumerate(names):
        lines += [
            f"ld.param.u64 %q0, [p{number}];",
            "add.s64 %q0, %q0, %q1;",
            f"ld.global.b32 {name}, [%q0];",
        ]
    groups = ["{" + ", ".join(names[i:j]) + "}" for i, j in ((0, len(a)), (len(a), -4), (-4, None))]
    lines.append(
        f"mma.sync.aligned.{shape}.row.col.{kinds} {groups[2]}, {groups[0]}, {groups[1]}, {groups[2]};"
    )
    out = [np.zeros(32, dtype) for _ in range(4)]
    for number, name in enumerate(names[-4:], start=len(names)):
        lines += [
            f"ld.param.u64 %q0, [p{number}];",
            "add.s64 %q0, %q0, %q1;",
            f"st.global.b32 [%q0], {name};",
        ]
    lines.append("ret;")
    parameters = ", ".join(f".param .u64 p{number}" for number in range(len(names) + 4))
    ptxsim.launch(kernel("\n".join(lines), parameters), 1, 32, [*buffers, *out]).check()
    return out


LANE = np.arange(32)
GROUP, QUAD = LANE // 4, LANE % 4


def fragments(
    matrix: np.ndarray, rows: list[np.ndarray], first: list[np.ndarray], per: int
) -> list[np.ndarray]:
    """Registers of ``per`` neighbours along the second axis, from element (rows, first) of ``matrix`` on."""
    return [
        np.ascontiguousarray(matrix[row[:, None], start[:, None] + np.arange(per)]).view(np.uint32).ravel()
        for row, start in zip(rows, first, strict=True)
    ]


# The layouts are those of CuTe's MMA_Traits (SM80_16x8x32_S32S8S8S32_TN, SM80_16x8x16_F32F16F16F32_TN,
# SM80_16x8x8_F32TF32TF32F32_TN): lane 4 g + q holds neighbours of row g (of B: column g) from k = per * q on.
@pytest.mark.parametrize(
    ("shape", "kinds", "dtype", "depth"),
    [
        ("m16n8k32", "s32.s8.s8.s32", "i1", 32),
        ("m16n8k32", "s32.u8.s8.s32", "u1", 32),
        ("m16n8k16", "s32.s8.s8.s32", "i1", 16),
        ("m16n8k16", "f32.f16.f16.f32", "f2", 16),
        ("m16n8k8", "f32.tf32.tf32.f32", "f4", 8),
    ],
)
def test_matrix_products(shape: str, kinds: str, dtype: str, depth: int) -> None:
    per = 4 // np.dtype(dtype).itemsize
    if dtype[0] == "f":
        a = RNG.integers(-8, 9, (16, depth)).astype(dtype)  # whole numbers: exact in every type
        b = RNG.integers(-8, 9, (8, depth)).astype(dtype)
    else:
        a = samples(dtype, 1, 16 * depth).reshape(16, depth)
        b = samples("i1", 2, 8 * depth).reshape(8, depth)
    result = "i4" if kinds.startswith("s32") else "f4"
    c = RNG.integers(-99, 99, (16, 8)).astype(result)
    starts = [per * QUAD + 4 * per * step for step in range(depth // (4 * per))]
    a_parts = fragments(a, [GROUP, GROUP + 8] * len(starts), [s for s in starts for _ in range(2)], per)
    b_parts = fragments(b, [GROUP] * len(starts), starts, per)
    places = [(GROUP, 2 * QUAD), (GROUP, 2 * QUAD + 1), (GROUP + 8, 2 * QUAD), (GROUP + 8, 2 * QUAD + 1)]
    out = product_of_fragments(shape, kinds, a_parts, b_parts, [c[place] for place in places], result)
    wanted = c + (a.astype("f8") @ b.astype("f8").T).astype(result)
    for place, part in zip(places, out, strict=True):
        np.testing.assert_array_equal(part, wanted[place])


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_are_loaded_by_rows(transposed: bool) -> None:
    data = np.arange(4 * 64, dtype=np.uint16)  # four matrices of 8 x 8
    out = np.zeros((4, 32), np.uint32)
    lines = [".shared .align 16 .b8 tile[512];", ".reg .b32 %r<6>;", ".reg .b32 %t;", ".reg .b64 %q<4>;"]
    lines += [
        "mov.u32 %t, %tid.x;",
        "ld.param.u64 %q0, [p0];",
        "mul.wide.u32 %q1, %t, 16;",
        "add.s64 %q0, %q0, %q1;",
    ]
    lines += ["ld.global.v4.b32 {%r0, %r1, %r2, %r3}, [%q0];", "mov.u32 %r4, tile;", "shl.b32 %r5, %t, 4;"]
    lines += ["add.u32 %r4, %r4, %r5;", "st.shared.v4.b32 [%r4], {%r0, %r1, %r2, %r3};", "bar.sync 0;"]
    how = ".trans" if transposed else ""
    lines += [f"ldmatrix.sync.aligned.m8n8.x4{how}.shared.b16 {{%r0, %r1, %r2, %r3}}, [%r4];"]
    lines += ["ld.param.u64 %q0, [p1];", "mul.wide.u32 %q1, %t, 4;", "add.s64 %q0, %q0, %q1;"]
    lines += [f"st.global.b32 [%q0+{128 * number}], %r{number};" for number in range(4)]
    report = ptxsim.launch(
        kernel("\n".join([*lines, "ret;"]), ".param .u64 p0, .param .u64 p1"), 1, 32, [data, out]
    )
    report.check()
    matrices = data.reshape(4, 8, 8)
    if transposed:
        matrices = matrices.transpose(0, 2, 1)
    np.testing.assert_array_equal(out, np.ascontiguousarray(matrices).view(np.uint32).reshape(4, 32))
    assert report.statistics.total().traffic["shared load"].ratio == 1
