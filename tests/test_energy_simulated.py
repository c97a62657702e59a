"""Energy from the counts of the PTX simulator: recorded ones by hand, and those of a launch."""

from __future__ import annotations

import json

import pytest

from greenkernels.energy import PtxCounts, hardware, simulated
from greenkernels.measure.provenance import Kind, MixedKindsError

# Recorded: a block of 256 threads multiplies a 32 x 32 tile of depth 32 out of shared memory.
RECORDED = PtxCounts(
    {"fma.rn.f32": 32768, "ld.shared.f32": 16384, "st.global.f32": 1024, "add.s32": 256, "bar.sync": 256},
    shared_wavefronts=768,
    global_sectors=128,
)
DOUBLE = """
.version 8.0
.target sm_80
.address_size 64
.visible .entry double_all(.param .u64 data) {
    .reg .b32 %r<3>; .reg .f32 %f<3>; .reg .b64 %rd<3>;
    mov.u32 %r1, %tid.x;
    ld.param.u64 %rd1, [data]; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd1, %rd1, %rd2;
    ld.global.f32 %f1, [%rd1];
    add.f32 %f2, %f1, %f1;
    st.global.f32 [%rd1], %f2;
    ret;
}
"""
H100 = {what: figure.value for what, figure in hardware("h100").figures.items()}


def test_is_the_sum_of_counts_times_costs() -> None:
    found = simulated(RECORDED)
    operations = 32768 * (H100["add float32"] + H100["multiply float32"]) + 256 * H100["add int32"]
    assert found.compute.value == pytest.approx(operations)
    executed = sum(RECORDED.instructions.values())
    memory = (
        executed * 3 * 4 * H100["register byte"]
        + (768 * 128 + 128 * 32) * H100["L1 byte"]
        + 128 * 32 * (H100["L2 byte"] + H100["DRAM byte"])
    )
    assert found.memory.value == pytest.approx(memory)
    assert found.total.kind is Kind.SIMULATED
    assert found.total.low < found.total.value < found.total.high


def test_bytes_that_l2_keeps_do_not_come_from_memory() -> None:
    kept = simulated(RECORDED, memory_bytes=0).memory.value
    assert simulated(RECORDED).memory.value - kept == pytest.approx(128 * 32 * H100["DRAM byte"])


@pytest.mark.parametrize(
    ("instruction", "figures"),
    [
        ("mul.f64", {"multiply float64": 1}),
        ("fma.rn.f16x2", {"add float16": 2, "multiply float16": 2}),
        ("mad.lo.s64", {"add int64": 1, "multiply int64": 1}),
        ("dp4a.s32.s32", {"add int8": 4, "multiply int8": 4}),
        ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", {"add float16": 64, "multiply float16": 64}),
        ("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", {"add int8": 128, "multiply int8": 128}),
        ("setp.lt.s32", {"add int32": 1}),
        ("mov.b32", {}),
    ],
)
def test_operations_of_one_instruction(instruction: str, figures: dict[str, float]) -> None:
    expected = sum(H100[what] * amount for what, amount in figures.items())
    assert simulated(PtxCounts({instruction: 1})).compute.value == pytest.approx(expected)


def test_does_not_mix_with_other_kinds() -> None:
    from greenkernels.energy import Counts, joules

    with pytest.raises(MixedKindsError):
        simulated(RECORDED).total + joules(Counts(1, 1, 1, 0))


def test_counts_survive_json() -> None:
    assert PtxCounts.from_json(json.loads(json.dumps(RECORDED.to_json()))) == RECORDED


def test_refuses_a_table_without_the_level() -> None:
    with pytest.raises(ValueError, match="horowitz-45nm has no figure for 'add float64'"):
        simulated(PtxCounts({"add.f64": 1}), "horowitz-45nm")


def test_takes_the_statistics_of_a_launch() -> None:
    np = pytest.importorskip("numpy")
    from greenkernels import ptxsim

    data = np.ones(64, np.float32)
    report = ptxsim.launch(ptxsim.parse(DOUBLE).find("double_all"), 1, 64, [data])
    counts = PtxCounts.from_statistics(report.statistics)
    assert counts.instructions["add.f32"] == 64
    assert counts.global_sectors == 2 * 64 * 4 // 32  # read and written
    assert simulated(report.statistics).total == simulated(counts).total
