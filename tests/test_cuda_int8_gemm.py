"""int8_gemm on CUDA: nvcc's code of csrc/cuda, launcher included, run on the PTX simulator against int64."""

from __future__ import annotations

import numpy as np
import pytest
from test_cuda_sgemm import activated

from greenkernels import _nvcc
from greenkernels.ptxsim import kernels
from greenkernels.ptxsim.device import Device, LauncherError
from greenkernels.ptxsim.stems.int8_gemm import int8_gemm

pytestmark = pytest.mark.skipif(_nvcc.find_nvcc() is None, reason="no nvcc")

UNIT = np.finfo(np.float32).eps / 2  # largest relative error of one rounding

# (m, n, k): one element; no rows, no columns, no products; k of a part of a slice, of one, of three and more (a ring
# of three is then used again), with 16-byte copies and without; ragged; one whole tile; a tile plus one, either way
SHAPES = [
    (1, 1, 1),
    (0, 5, 16),
    (4, 0, 16),
    (5, 7, 0),
    (3, 5, 16),
    (9, 11, 64),
    (31, 33, 27),
    (17, 70, 208),
    (2, 3, 259),
    (128, 128, 192),
    (129, 64, 48),
    (20, 130, 80),
]


@pytest.fixture(scope="module")
def device() -> Device:
    return Device(kernels.compiled())


def operands(m: int, n: int, k: int, dtype: type[np.integer]) -> tuple[np.ndarray, np.ndarray]:
    """a [m, k] and b [n, k] over their whole ranges."""
    rng, limits = np.random.default_rng(m + 3 * n + 7 * k), np.iinfo(dtype)
    a = rng.integers(limits.min, limits.max + 1, (m, k), dtype=dtype)
    return a, rng.integers(-128, 128, (n, k), dtype=np.int8)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_exact(device: Device, shape: tuple[int, int, int], dtype: type[np.integer]) -> None:
    a, b = operands(*shape, dtype)
    out = np.full((shape[0], shape[1]), -1, np.int32)
    reports = int8_gemm(device, a, b, out)
    assert len(reports) == (1 if out.size else 0)
    np.testing.assert_array_equal(out, a.astype("i8") @ b.T.astype("i8"))


@pytest.mark.parametrize("points", [1, 6])
def test_zero_points_are_taken_off_exactly(device: Device, points: int) -> None:
    a, b = operands(6, 9, 32, np.uint8)
    zero_point = np.random.default_rng(1).integers(0, 256, points, dtype=np.int32)
    out = np.zeros((6, 9), np.int32)
    int8_gemm(device, a, b, out, zero_point=zero_point)
    shifted = a.astype("i8") - (zero_point[:, None] if points > 1 else zero_point)
    np.testing.assert_array_equal(out, shifted @ b.T.astype("i8"))


@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "prelu", "hardswish"])
@pytest.mark.parametrize("scales", ["one", "rows"])
def test_epilogue(device: Device, activation: str, scales: str) -> None:
    a, b = operands(6, 9, 16, np.int8)
    rng = np.random.default_rng(2)
    rows = rng.random(6 if scales == "rows" else 1, dtype=np.float32) / 1000
    columns, bias = rng.random(9, dtype=np.float32), rng.standard_normal(9, dtype=np.float32)
    slopes = rng.random(9, dtype=np.float32) if activation == "prelu" else None
    out = np.full((6, 9), np.nan, np.float32)
    options = {"row_scale": rows, "col_scale": columns, "bias": bias}
    int8_gemm(device, a, b, out, activation=activation, activation_param=slopes, **options)
    scale = rows[:, None].astype("f8") * columns
    scaled = scale * (a.astype("f8") @ b.T.astype("f8"))
    wanted = activated(activation, scaled + bias, 0.0 if slopes is None else slopes.astype("f8"))
    # The product of the scales, its product with the exact sum, and the bias: three roundings. No activation grows
    # faster than 1.2 v, and each rounds at most eight times, terms no larger than v and 1.
    size = np.abs(scaled) + np.abs(bias)
    assert (np.abs(out - wanted) <= UNIT * (1.2 * 3 * size + 8 * (1 + size)) * (1 + 1e-3)).all()


def test_pointers_that_allow_no_vectors(device: Device) -> None:
    memory, b = operands(1, 20, 32 * 20 + 1, np.int8)[0], operands(1, 20, 32, np.int8)[1]
    a = memory[0, 1:].reshape(20, 32)
    out = np.full(20 * 20 + 1, -1, np.int32)
    int8_gemm(device, a, b, out[1:].reshape(20, 20))
    np.testing.assert_array_equal(out[1:].reshape(20, 20), a.astype("i8") @ b.T.astype("i8"))
    assert out[0] == -1


def test_what_the_contract_leaves_out_is_refused(device: Device) -> None:
    a, b = np.zeros((1, 2**16 + 16), np.int8), np.zeros((1, 2**16 + 16), np.int8)
    with pytest.raises(LauncherError) as refused:
        int8_gemm(device, a, b, np.zeros((1, 1), np.int32))
    assert refused.value.status == 1  # cudaErrorInvalidValue


def test_hot_lines_waste_nothing(device: Device) -> None:
    """On whole tiles: no bank conflict, every sector that is moved is used, one mma for 16 x 8 x 32 products."""
    a, b = operands(128, 128, 256, np.int8)
    scale, out = np.ones(128, np.float32), np.zeros((128, 128), np.float32)
    (report,) = int8_gemm(device, a, b, out, row_scale=scale, col_scale=scale)
    traffic = report.statistics.total().traffic
    assert {kind: one.ratio for kind, one in traffic.items()} == dict.fromkeys(traffic, 1)
    assert len(traffic) == 4
    by_opcode = report.statistics.by_opcode()
    assert by_opcode["mma"].issued == 128 * 128 * 256 // (16 * 8 * 32)
    # A warp's slice of 64 x 32 x 64: four loads of rows and two of columns for each 32 of depth.
    assert by_opcode["ldmatrix"].issued == by_opcode["mma"].issued * 6 // 16
