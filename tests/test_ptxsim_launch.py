"""Parsing and launching: names, arguments, limits, memory, atomics, barriers, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_programs import kernel, module

from greenkernels import ptxsim

POINTERS = ".param .u64 p0, .param .u64 p1"
HEAD = ".reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<8>; .reg .b64 %q<8>; mov.u32 %r0, %tid.x;\n"
POINT = "ld.param.u64 %q0, [p0]; ld.param.u64 %q1, [p1]; mul.wide.u32 %q2, %r0, 4; add.s64 %q3, %q1, %q2;\n"


def launch(lines: str, arguments: list, *, grid=1, block=32, parameters: str = POINTERS, shared: int = 0):
    text = module(HEAD + lines + "\nret;", parameters)
    head, mark, tail = text.partition(".visible .entry")
    text = f"{head}.extern .shared .align 16 .b8 dynamic[];\n{mark}{tail}"
    report = ptxsim.launch(
        ptxsim.parse(text).find("kernel"), grid, block, arguments, dynamic_shared_bytes=shared
    )
    report.check()
    return report


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("wgmma.fence.sync.aligned;", "wgmma.fence.sync.aligned"),
        ("add.sat.s32 %r1, %r0, 1;", r"\.sat.*add\.sat\.s32 %r1"),
        ("bar.red.popc.u32 %r1, 0, %p0;", "bar.red"),
        ("call.uni f, (%r0);", "call"),
        ("mov.u32 %r1, %clock;", "%clock"),
    ],
)
def test_what_is_not_implemented_is_named(line: str, named: str) -> None:
    with pytest.raises(ptxsim.UnsupportedPtx, match=f"not implemented.*{named}"):
        launch(line, [np.zeros(1), np.zeros(1)])


@pytest.mark.parametrize(
    "declaration", [".const .align 4 .b8 table[4] = {1, 2, 3, 4};", ".global .u32 counter;"]
)
def test_variables_outside_of_shared_memory_are_refused(declaration: str) -> None:
    with pytest.raises(ptxsim.UnsupportedPtx, match="not implemented: "):
        ptxsim.parse(".version 8.0\n.target sm_80\n" + declaration + "\n")


def test_a_kernel_is_found_by_part_of_its_name() -> None:
    parsed = ptxsim.parse(module("ret;", "") + module("ret;", "").replace("kernel", "kernel_of_another"))
    assert parsed.find("another").name == "kernel_of_another"
    with pytest.raises(KeyError, match="2 kernels have 'kernel' in their name"):
        parsed.find("kernel")


def test_scalars_and_structures_are_passed_by_value() -> None:
    out = np.zeros(4, np.uint32)
    structure = np.array([7, 8, 9], np.uint32).tobytes() + np.float32(1.5).tobytes()
    lines = """
    ld.param.u64 %q0, [out];
    ld.param.u32 %r1, [size];
    ld.param.v2.u32 {%r2, %r3}, [box+8];
    mov.b64 %q2, box;
    ld.param.f32 %r4, [%q2+12];
    ld.param.u32 %r3, [%q2];
    st.global.v4.b32 [%q0], {%r1, %r2, %r3, %r4};
    """
    parameters = ".param .u64 .ptr .global .align 4 out, .param .u32 size, .param .align 4 .b8 box[16]"
    launch(lines, [out, 5, structure], parameters=parameters, block=1)
    np.testing.assert_array_equal(out, [5, 9, 7, np.float32(1.5).view(np.uint32)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": 1025}, "at most"),
        ({"block": (32, 64)}, "a block must have at most 1024 threads, got 2048"),
        ({"block": (1, 1, 65)}, r"block must be at most \(1024, 1024, 64\)"),
        ({"grid": (1, 65536)}, "grid must be at most"),
        ({"grid": (0, 1)}, "at least 1 in each axis"),
        ({"shared": 100 << 10}, "shared memory must be at most 101376 bytes, got 102400"),
        ({"arguments": [np.zeros(1)]}, "takes 2 arguments, got 1"),
        ({"arguments": [np.zeros(1), np.float32(1)]}, "argument p1 must have 8 bytes, got 4"),
    ],
)
def test_launches_over_a_limit_are_refused(changes: dict, message: str) -> None:
    arguments = changes.pop("arguments", [np.zeros(1), np.zeros(1)])
    with pytest.raises(ptxsim.LaunchError, match=message):
        launch("", arguments, **changes)


def test_launch_bounds_are_a_limit() -> None:
    text = module("ret;", "").replace("()", "()\n.maxntid 64, 1, 1\n")
    with pytest.raises(ptxsim.LaunchError, match="at most 64 threads, got 65"):
        ptxsim.launch(ptxsim.parse(text).find("kernel"), 1, 65, [])


def test_arrays_must_be_writable() -> None:
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="C-contiguous and writable"):
        launch("", [frozen, np.zeros(1)])


@pytest.mark.parametrize(("name", "dtype"), [("u8", "u1"), ("s8", "i1"), ("u16", "u2"), ("s16", "i2")])
def test_narrow_loads_grow_with_their_sign(name: str, dtype: str) -> None:
    data, out = np.arange(-16, 16).astype(dtype), np.zeros(32, np.int32)
    size = np.dtype(dtype).itemsize
    lines = f"mul.wide.u32 %q4, %r0, {size}; add.s64 %q4, %q0, %q4; ld.global.{name} %r1, [%q4];"
    launch(POINT + lines + "st.global.s32 [%q3], %r1;", [data, out])
    np.testing.assert_array_equal(out, data)


def test_dynamic_shared_memory_and_its_end() -> None:
    out = np.zeros(32, np.uint32)
    lines = (
        POINT
        + """
    mov.u32 %r1, dynamic; shl.b32 %r2, %r0, 2; add.u32 %r2, %r1, %r2; st.shared.u32 [%r2], %r0;
    bar.sync 0; xor.b32 %r3, %r0, 31; shl.b32 %r3, %r3, 2; add.u32 %r3, %r1, %r3;
    ld.shared.u32 %r4, [%r3]; st.global.u32 [%q3], %r4;
    """
    )
    launch(lines, [np.zeros(1), out], shared=128)
    np.testing.assert_array_equal(out, np.arange(32) ^ 31)
    with pytest.raises(ptxsim.OutOfBoundsError, match="shared store of 4 bytes"):
        launch(lines, [np.zeros(1), out], shared=124)


def test_generic_addresses_reach_both_memories() -> None:
    data, out = np.arange(32, dtype=np.uint32), np.zeros(32, np.uint32)
    lines = (
        POINT
        + """
    add.s64 %q4, %q0, %q2; ld.u32 %r1, [%q4];
    mov.u32 %r2, dynamic; cvt.u64.u32 %q5, %r2; cvta.shared.u64 %q5, %q5; add.s64 %q5, %q5, %q2;
    st.u32 [%q5], %r1; ld.u32 %r3, [%q5]; cvta.to.shared.u64 %q6, %q5; cvt.u32.u64 %r4, %q6;
    ld.shared.u32 %r5, [%r4]; add.u32 %r5, %r5, %r3; st.global.u32 [%q3], %r5;
    """
    )
    launch(lines, [data, out], shared=128)
    np.testing.assert_array_equal(out, 2 * data)


def test_atomics_lose_nothing() -> None:
    counters, tickets = np.zeros(2, np.uint32), np.zeros(64, np.uint32)
    lines = (
        POINT
        + "atom.global.add.u32 %r1, [%q0], 1; red.global.max.u32 [%q0+4], %r0; st.global.u32 [%q3], %r1;"
    )
    launch(lines, [counters, tickets], block=64)
    np.testing.assert_array_equal(counters, [64, 63])
    np.testing.assert_array_equal(np.sort(tickets), np.arange(64))


def test_copies_pad_with_zeros() -> None:
    data, out = np.arange(32, dtype=np.uint32) + 1, np.full(32, 9, np.uint32)
    lines = (
        POINT
        + """
    add.s64 %q4, %q0, %q2; mov.u32 %r1, dynamic; shl.b32 %r2, %r0, 2; add.u32 %r1, %r1, %r2;
    setp.lt.u32 %p0, %r0, 20; selp.b32 %r3, 4, 0, %p0; selp.b64 %q4, %q4, %q0, %p0;
    cp.async.ca.shared.global [%r1], [%q4], 4, %r3; cp.async.commit_group; cp.async.wait_group 0;
    ld.shared.u32 %r4, [%r1]; st.global.u32 [%q3], %r4;
    """
    )
    launch(lines, [data, out], shared=128)
    np.testing.assert_array_equal(out, np.where(np.arange(32) < 20, data, 0))


def test_named_barriers_join_some_of_the_warps() -> None:
    """Warp 0 arrives and goes on, warps 1 and 2 wait for it at barrier 1."""
    lines = """
    setp.lt.u32 %p0, %r0, 32; @%p0 bra FIRST;
    bar.sync 1, 96; bra DONE;
    FIRST: bar.arrive 1, 96;
    DONE: bar.sync 0;
    """
    launch(lines, [np.zeros(1), np.zeros(1)], block=96)


def test_a_barrier_that_some_warps_skip_is_a_deadlock_only_for_a_count() -> None:
    skip = "setp.lt.u32 %p0, %r0, 32; @%p0 bra DONE; {} DONE:"
    launch(skip.format("bar.sync 0;"), [np.zeros(1), np.zeros(1)], block=64)
    with pytest.raises(ptxsim.DeadlockError, match="32 threads of a block wait"):
        launch(skip.format("bar.sync 1, 64;"), [np.zeros(1), np.zeros(1)], block=64)


def test_a_warp_barrier_orders_its_warp_alone() -> None:
    swap = """
    mov.u32 %r1, dynamic; shl.b32 %r2, %r0, 2; add.u32 %r2, %r1, %r2; st.shared.u32 [%r2], %r0; {barrier}
    xor.b32 %r3, %r0, {partner}; shl.b32 %r3, %r3, 2; add.u32 %r3, %r1, %r3; ld.shared.u32 %r4, [%r3];
    """
    arguments = [np.zeros(1), np.zeros(1)]
    launch(swap.format(barrier="bar.warp.sync -1;", partner=1), arguments, block=64, shared=256)
    for barrier, partner in (("", 1), ("bar.warp.sync -1;", 32)):
        with pytest.raises(ptxsim.RaceError, match="read after write in shared memory: block 0"):
            launch(swap.format(barrier=barrier, partner=partner), arguments, block=64, shared=256)


def test_blocks_are_never_ordered() -> None:
    """Each block writes a word and reads, behind a barrier, that of its neighbour."""
    out = np.zeros(2, np.uint32)
    lines = """
    ld.param.u64 %q0, [p0]; mov.u32 %r1, %ctaid.x; mul.wide.u32 %q1, %r1, 4; add.s64 %q2, %q0, %q1;
    st.global.u32 [%q2], %r1; bar.sync 0; xor.b32 %r2, %r1, {partner}; mul.wide.u32 %q3, %r2, 4;
    add.s64 %q3, %q0, %q3; ld.global.u32 %r3, [%q3];
    """
    launch(lines.format(partner=0), [out, np.zeros(1)], grid=2, block=1)
    with pytest.raises(ptxsim.RaceError, match="in global memory: block"):
        launch(lines.format(partner=1), [out, np.zeros(1)], grid=2, block=1)


def test_a_trap_says_where() -> None:
    with pytest.raises(ptxsim.PtxError, match="trap, block 0, thread 31"):
        launch("setp.eq.u32 %p0, %r0, 31; @%p0 trap;", [np.zeros(1), np.zeros(1)])


def test_opcodes_are_listed() -> None:
    assert "f32" in ptxsim.opcodes()["fma"]
    assert kernel("ret;", "").static_shared_bytes == 0
