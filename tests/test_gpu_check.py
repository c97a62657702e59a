"""tools/gpu_check: its whole path without a GPU, its times on a synthetic clock, and the README's table of its file."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from synthetic_clock import SyntheticClock

import greenkernels
from greenkernels.report import gpu

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "tools/gpu_check").is_dir():
    pytest.skip("needs a checkout", allow_module_level=True)


def timing_module():
    spec = importlib.util.spec_from_file_location("gpu_check_timing", ROOT / "tools/gpu_check/timing.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(greenkernels.__file__).parent.parent)
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": package, "OMP_NUM_THREADS": "1"}
    command = [str(ROOT / "tools/gpu_check.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> dict:
    path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    done = check("--dry-run", "--no-tests", "--out", str(path))
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


def test_a_dry_run_goes_the_whole_way(dry: dict) -> None:
    assert dry["kind"] == "dry run"
    rows = dry["rows"]
    stems = {row["stem"] for row in rows if row["ours"]}
    assert stems == {path.stem for path in (ROOT / "csrc/cuda").glob("*.cu")} - {"cuda_status"} | {"networks"}
    assert all(row["time_s"] > 0 for row in rows if "failed" not in row)
    assert not [row for row in rows if row["ours"] and ("failed" in row or row["wrong"])]
    for stem in stems:
        assert any(not row["ours"] and "failed" not in row for row in rows if row["stem"] == stem)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_says_that_there_is_no_gpu() -> None:
    done = check()
    assert done.returncode == 2
    assert "torch sees no GPU; --dry-run tries the path without one" in done.stderr


def test_windows_hold_as_many_calls_as_they_need() -> None:
    timing, clock = timing_module(), SyntheticClock()
    functions = {"short": lambda: clock.work(1e-4), "long": lambda: clock.work(0.3)}
    found = timing._taken(functions, timing.Timing(window_s=0.05, rounds=5), clock)
    assert clock.now() >= 2 * 5 * 0.05  # as many short calls as fill a window
    assert found["short"]["time_s"] == pytest.approx(1e-4)
    assert found["long"]["time_low_s"] == pytest.approx(0.3) == found["long"]["time_high_s"]


def row(contender: str, time_s: float, ours: bool = False, **about: object) -> dict:
    base = {"stem": "sgemm", "case": "8 x 8 x 8", "energy_j": None, "error": 1e-7, "wrong": False}
    return {**base, "contender": contender, "ours": ours, "time_s": time_s, "eager_s": 2 * time_s, **about}


def measured(*rows: dict, date: str = "2026-11-22T12:00:00", device: str = "Some GPU") -> dict:
    versions = {"torch": "2.13.0", "cuda": "13.0", "greenkernels": "0"}
    about = {"schema": gpu.SCHEMA, "kind": "measured", "date": date, "device": device, "capability": "8.0"}
    return {**about, "versions": versions, "tests": {"status": 0, "summary": "5 passed"}, "rows": list(rows)}


def test_the_table_has_the_fastest_of_both_sides_and_tf32_apart() -> None:
    rows = [row("sgemm", 2e-3, ours=True, energy_j=0.4), row("cuBLAS fp32", 3e-3, energy_j=0.5)]
    rows += [row("cuBLAS TF32", 1e-3), row("slow", 9e-3), {**row("broken", 1.0), "failed": "no such op"}]
    rows += [row("sgemm wrong", 1e-6, ours=True, wrong=True)]
    text = gpu.section([measured(*rows)])
    assert "| sgemm | 8 x 8 x 8 | cuBLAS fp32 3 → 2 | sgemm | 1.50x | 1.50x | 500 → 400 | 1.0e-07 |" in text
    assert "cuBLAS TF32 1 → 2 | sgemm | 0.50x | 0.50x | - |" in text
    assert "wrong" not in text
    assert (
        "**Some GPU** (compute capability 8.0), torch 2.13.0, CUDA 13.0, 2026-11-22. Tests on it: 5 passed. "
        in text
    )


def test_what_was_not_measured_is_a_dash_and_a_note_is_shown() -> None:
    ours, rival = row("sgemm", 2e-3, ours=True, error=None, eager_s=None), row("cuBLAS fp32", 3e-3)
    text = gpu.section([{**measured(ours, rival), "note": "Taken while it rained."}])
    assert "| sgemm | 8 x 8 x 8 | cuBLAS fp32 3 → 2 | sgemm | 1.50x | - | - | - |" in text
    assert "Taken while it rained." in text


def test_the_newest_file_of_a_gpu_counts(tmp_path: Path) -> None:
    for day, time_s in (("01", 4e-3), ("02", 2e-3)):
        data = measured(row("a", time_s, ours=True), row("b", 4e-3), date=f"2026-12-{day}")
        (tmp_path / f"{day}.json").write_text(json.dumps(data))
    text = gpu.section(gpu.load(tmp_path))
    assert "2026-12-02" in text
    assert "2026-12-01" not in text


def test_a_dry_run_is_no_result(tmp_path: Path, dry: dict) -> None:
    (tmp_path / "gpu.json").write_text(json.dumps(dry))
    with pytest.raises(ValueError, match="must be measured, got a dry run"):
        gpu.load(tmp_path)


def test_the_table_waits_for_the_first_file(tmp_path: Path) -> None:
    assert gpu.EMPTY in gpu.section(gpu.load(tmp_path))
    assert gpu.EMPTY in (ROOT / "README.md").read_text() or any((ROOT / "bench/results/gpu").glob("*.json"))
