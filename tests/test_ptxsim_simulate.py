"""``greenkernels simulate``: tables, JSON, and what it says when something is missing."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from greenkernels import _nvcc, cli
from greenkernels.ptxsim import kernels

NEEDS_NVCC = pytest.mark.skipif(_nvcc.find_nvcc() is None, reason="no nvcc")


def simulate(*arguments: str):
    return CliRunner().invoke(cli.build_app(["simulate"]), ["simulate", *arguments])


@NEEDS_NVCC
def test_prints_what_a_kernel_did() -> None:
    result = simulate("sgemm", "--size", "5x6x9", "--lines", "3")
    assert result.exit_code == 0, result.output
    assert "thread instructions per multiply-add" in result.output
    assert "no race" in result.output
    assert re.search(r"A100 +│ >= [0-9.e-]+ us", result.output)
    assert re.search(r"total +│ [0-9.e-]+ uJ \[[0-9.e-]+, [0-9.e-]+\]", result.output)


@NEEDS_NVCC
@pytest.mark.parametrize(
    ("stem", "size"),
    [
        ("csr_matmul", "3x9x40"),
        ("depthwise_conv2d", "1x5x6x7x3"),
        ("direct_conv2d", "1x3x5x6x7x3"),
        ("int8_gemm", "5x6x9"),
        ("sgemm_tf32x3", "5x6x9"),
        ("strassen_gemm", "6x5x7x1"),
        ("winograd_conv2d", "1x3x5x6x7"),
    ],
)
def test_every_kernel_that_it_names_runs(stem: str, size: str) -> None:
    result = simulate(stem, "--size", size, "--lines", "0")
    assert result.exit_code == 0, result.output
    assert float(re.search(r"error against float64: ([0-9.e-]+)\.", result.output)[1]) < 2e-3


@NEEDS_NVCC
@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
def test_maps_have_the_layout_asked_for(layout: str) -> None:
    result = simulate("depthwise_conv2d", "--size", "1x4x4x8x3", "--layout", layout, "--json", "--no-races")
    (launch,) = json.loads(result.output)["launches"]
    assert f"Lb{int(layout == 'nchw')}" in launch["kernel"]


@NEEDS_NVCC
def test_prints_json() -> None:
    result = simulate("sgemm", "--size", "4x4x8", "--json", "--no-races")
    found = json.loads(result.output)
    (launch,) = found["launches"]
    assert found["multiply_adds"] == 4 * 4 * 8
    assert found["error"] < 1e-6
    assert found["least_time_s"]["A100"] > 0
    total = found["joules"]["total"]
    assert total["kind"] == "simulated"
    assert 0 < total["low"] < total["value"] < total["high"]
    assert launch["total"]["issued"] == sum(line["issued"] for line in launch["lines"].values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rocket"], "STEM must be one of .*sgemm"),
        pytest.param(["sgemm", "--size", "axb"], "--size must be MxNxK, got axb", marks=NEEDS_NVCC),
        pytest.param(
            ["sgemm", "--layout", "nchw"],
            "--layout must be left out, got nchw: sgemm has no maps",
            marks=NEEDS_NVCC,
        ),
        pytest.param(["sgemm", "--size", "4x4"], "sizes must be MxNxK, got 2 of them", marks=NEEDS_NVCC),
    ],
)
def test_says_what_is_wrong(arguments: list[str], message: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 1
    assert re.search(message, result.output)


def test_says_that_there_is_no_nvcc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", "no-such-folder")
    kernels.compiled.cache_clear()
    result = simulate("sgemm")
    assert result.exit_code == 1
    assert "no nvcc, which compiles the CUDA kernels. Put nvcc on PATH, or set CUDA_HOME" in result.output
