"""Kernels with one bug each (ptxsim/seeded_bugs.cu): each detector of the PTX simulator finds its own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from greenkernels import _nvcc, ptxsim
from greenkernels.ptxsim import launching

SOURCE = Path(__file__).parent / "ptxsim/seeded_bugs.cu"
BUGS = re.findall(r"^  (k\w+),$", SOURCE.read_text(), re.MULTILINE)
DEPTH = 32  # four tiles: with fewer than three the overwritten buffer would never be read again


@pytest.fixture(scope="module", params=["committed", "compiled"])
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ptxsim.Module:
    """What is committed, for machines without nvcc; and what the nvcc of this machine makes of the source."""
    path = SOURCE.with_suffix(".ptx")
    if request.param == "compiled":
        nvcc = _nvcc.find_nvcc()
        if nvcc is None:
            pytest.skip("no nvcc")
        path = tmp_path_factory.mktemp("ptx") / path.name
        flags = ["-std=c++17", "-arch=compute_80", "-lineinfo", "-ptx"]
        subprocess.run([nvcc.path, *flags, str(SOURCE), "-o", str(path)], check=True)
    return ptxsim.parse(path.read_text())


def product(
    module: ptxsim.Module, bug: str, depth: int = DEPTH
) -> tuple[ptxsim.Report, np.ndarray, np.ndarray]:
    """Launches two blocks; the report, the result and what it should be."""
    rng = np.random.default_rng(5)
    a, b = (rng.integers(-9, 9, (rows, depth)).astype(np.float32) for rows in (16, 8))
    out = np.full((16, 8), np.nan, np.float32)
    kernel = module.find(f"productIL3Bug{BUGS.index(bug)}E")
    report = ptxsim.launch(kernel, 2, (8, 8), [a, b, out, depth])
    return report, out, a @ b.T


@pytest.mark.parametrize("depth", [8, 16, 24, 32])
def test_the_right_kernel_is_right(module: ptxsim.Module, depth: int) -> None:
    report, out, wanted = product(module, "kNoBug", depth)
    report.check()
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize(
    ("bug", "kind"),
    [
        ("kNoBarrierAfterLoad", "read after write in shared memory"),
        ("kNoBarrierBeforeOverwrite", "write after read in shared memory"),
        ("kBlocksWriteTheSame", "write after write in global memory"),
    ],
)
def test_races_are_found(module: ptxsim.Module, bug: str, kind: str) -> None:
    report, _, _ = product(module, bug)
    assert {f"{race.kind} in {race.space} memory" for race in report.races} == {kind}
    with pytest.raises(ptxsim.RaceError, match=rf"{kind}: block \d, thread \d+ .* at seeded_bugs\.cu:\d+: "):
        report.check()


@pytest.mark.parametrize(
    ("bug", "error", "message"),
    [
        ("kWaitsForTooFewCopies", ptxsim.UninitializedReadError, "never written: shared load"),
        ("kOneTileIsNeverLoaded", ptxsim.UninitializedReadError, "never written: shared load"),
        ("kReadsPastB", ptxsim.OutOfBoundsError, r"byte 1024 of buffer \w+_param_1, which has 1024"),
        (
            "kReadsPastTile",
            ptxsim.OutOfBoundsError,
            r"shared load of 4 bytes at 0x[0-9a-f]+, block 0, thread 56",
        ),
        ("kMisaligned", ptxsim.MisalignedAccessError, "access of 8 bytes"),
        ("kDivergentBarrier", ptxsim.DivergentBarrierError, "lanes of a warp reach a barrier apart"),
        ("kBarrierForMoreThreads", ptxsim.DeadlockError, "64 threads of a block wait"),
        ("kShuffleWithoutHalfTheWarp", ptxsim.DivergentBarrierError, "16 of 32 lanes"),
    ],
)
def test_errors_are_found(module: ptxsim.Module, bug: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as found:
        product(module, bug)
    assert "seeded_bugs.cu:" in str(found.value)


def test_a_loop_without_end_is_found(module: ptxsim.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_MOST_STEPS", 2000)
    with pytest.raises(ptxsim.RunawayError, match="too many steps"):
        product(module, "kNeverEnds")


def test_every_bug_has_its_test(module: ptxsim.Module) -> None:
    text = Path(__file__).read_text()
    assert all(text.count(f'"{bug}"') for bug in BUGS)
    assert len(module.kernels) == len(BUGS)
