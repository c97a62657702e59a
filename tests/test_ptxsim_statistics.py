"""What the PTX simulator counts: instructions, bank conflicts, sectors, by instruction and source line."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_programs import kernel, module

from greenkernels import ptxsim

HEAD = """
.reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %q<4>; .shared .align 16 .b8 tile[8192];
.loc 1 10 1
mov.u32 %r0, %tid.x; ld.param.u64 %q0, [p0];
"""
FILE = '\n.file 1 "folder/kernel.cu"\n'


def run(lines: str, data: np.ndarray, threads: int = 32) -> ptxsim.Statistics:
    report = ptxsim.launch(kernel(HEAD + lines + "\nret;", ".param .u64 p0"), 1, threads, [data])
    report.check()
    return report.statistics


@pytest.mark.parametrize(("stride", "ways"), [(4, 1), (8, 2), (16, 4), (128, 32), (132, 1), (0, None)])
def test_bank_conflicts_of_words(stride: int, ways: int | None) -> None:
    """Lane i touches byte stride * i: the ways of the conflict are gcd(stride / 4, 32)."""
    lines = f"mul.lo.u32 %r1, %r0, {stride}; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2;"
    if ways is None:  # all lanes read one word: a broadcast. One lane writes it first
        lines += (
            "setp.eq.u32 %p0, %r0, 0; @%p0 st.shared.b32 [%r1], %r0; bar.sync 0; ld.shared.b32 %r3, [%r1];"
        )
        traffic = run(lines, np.zeros(1)).total().traffic["shared load"]
    else:
        traffic = run(lines + "st.shared.b32 [%r1], %r0;", np.zeros(1)).total().traffic["shared store"]
    assert (traffic.requests, traffic.bytes) == (1, 128)
    assert (traffic.units, traffic.ideal) == (ways or 1, 1)


@pytest.mark.parametrize(
    ("size", "stride", "units", "ideal"), [(8, 8, 2, 2), (16, 16, 4, 4), (16, 64, 16, 4), (16, 80, 4, 4)]
)
def test_bank_conflicts_of_vectors(size: int, stride: int, units: int, ideal: int) -> None:
    """Wide accesses go half or a quarter of a warp at a time. Rows of 64 bytes meet in 16 banks, of 80 in none."""
    items = "{" + ", ".join(["%r0"] * (size // 4)) + "}"
    lines = f"mul.lo.u32 %r1, %r0, {stride}; mov.u32 %r2, tile; add.u32 %r1, %r1, %r2;"
    traffic = (
        run(lines + f"st.shared.v{size // 4}.b32 [%r1], {items};", np.zeros(1))
        .total()
        .traffic["shared store"]
    )
    assert (traffic.units, traffic.ideal) == (units, ideal)


@pytest.mark.parametrize(
    ("stride", "size", "units", "ideal"),
    [(4, 4, 4, 4), (16, 4, 16, 4), (32, 4, 32, 4), (16, 16, 16, 16), (0, 4, 1, 1)],
)
def test_sectors(stride: int, size: int, units: int, ideal: int) -> None:
    target = "%r1" if size == 4 else "{%r1, %r2, %r3, %r4}"
    vector = "" if size == 4 else ".v4"
    lines = f"mul.wide.u32 %q1, %r0, {stride}; add.s64 %q0, %q0, %q1; ld.global{vector}.b32 {target}, [%q0];"
    traffic = run(lines, np.zeros(1024, np.uint8)).total().traffic["global load"]
    assert (traffic.requests, traffic.bytes, traffic.units, traffic.ideal) == (1, 32 * size, units, ideal)


def test_instructions_are_counted_by_thread_and_by_warp() -> None:
    lines = """
    .loc 1 20 1
    setp.lt.u32 %p0, %r0, 40;
    @%p0 add.u32 %r1, %r0, 1;
    .loc 1 21 3, function_name $x, inlined_at 1 7 9
    add.u32 %r1, %r1, 1;
    """
    text = HEAD + lines + "\nret;"
    found = ptxsim.parse(module(text, ".param .u64 p0") + FILE).find("kernel")
    statistics = ptxsim.launch(found, (2, 1), 64, [np.zeros(1)]).statistics
    by_line = {str(line): counts for line, counts in statistics.by_line().items()}
    assert set(by_line) == {"kernel.cu:7", "kernel.cu:10", "kernel.cu:20"}
    assert (by_line["kernel.cu:20"].threads, by_line["kernel.cu:20"].issued) == (2 * (64 + 40), 2 * 4)
    assert by_line["kernel.cu:7"].issued == 2 * (2 + 2)  # the inlined line counts for its caller; ret too
    assert statistics.by_opcode()["add"].threads == 2 * (40 + 64)
    assert statistics.total().issued == sum(counts.issued for counts in by_line.values())


def test_no_accesses_have_no_ratio() -> None:
    assert ptxsim.Traffic().ratio is None


def test_waves_add_up() -> None:
    """4096 threads are simulated at once: more blocks than that give the counts of one, times their number."""
    lines = "mul.wide.u32 %q1, %r0, 4; add.s64 %q0, %q0, %q1; ld.global.b32 %r1, [%q0];"
    one = run(lines, np.zeros(256, np.uint32), threads=256).total()
    many = ptxsim.launch(
        kernel(HEAD + lines + "\nret;", ".param .u64 p0"), (5, 7), 256, [np.zeros(256, np.uint32)]
    ).statistics.total()
    assert many.issued == 35 * one.issued
    assert many.traffic["global load"].units == 35 * one.traffic["global load"].units
