"""int8_gemm on CUDA: torch op, binding, launcher and what nvcc compiled, against int64 and against the CPU op."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from cuda_gemm_cases import ACTIVATIONS
from torch import Tensor

UNIT = 2.0**-24  # largest relative error of one rounding

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
NOTHING = (None, None, None, None, None, None, None, 0)  # all that may stand behind a and b


def operands(m: int, n: int, k: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """a [m, k] and b [n, k] over their whole ranges."""
    limits = torch.iinfo(dtype)
    a = torch.randint(limits.min, limits.max + 1, (m, k), dtype=dtype)
    return a, torch.randint(-128, 128, (n, k), dtype=torch.int8)


def options(
    row_scale=None,
    col_scale=None,
    zero_point=None,
    bias=None,
    activation=None,
    param=None,
    out_scale=None,
    out_zero=0,
) -> tuple:
    return row_scale, col_scale, zero_point, bias, activation, param, out_scale, out_zero


def run(gpu, a: Tensor, b: Tensor, **wanted) -> Tensor:
    placed = {name: gpu.place(x) if isinstance(x, Tensor) else x for name, x in wanted.items()}
    return gpu.run("int8_gemm", gpu.place(a), gpu.place(b), *options(**placed)).cpu()


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_exact(gpu, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    a, b = operands(*shape, dtype)
    out = run(gpu, a, b)
    if gpu.reports is not None:
        assert len(gpu.reports) == (1 if out.numel() else 0)
    assert torch.equal(out.long(), a.long() @ b.long().T)


@pytest.mark.parametrize("shape", [(257, 130, 208), (130, 257, 16), (512, 128, 64)], ids=str)
def test_large_tiles(gpu, shape: tuple[int, int, int]) -> None:
    a, b = operands(*shape, torch.int8)
    rows, columns = torch.rand(shape[0]), torch.rand(shape[1])
    with gpu.small():
        sums, out = run(gpu, a, b), run(gpu, a, b, row_scale=rows, col_scale=columns)
    if gpu.reports is not None:
        assert gpu.reports[0].shape.block[0] == 256
    exact = a.double() @ b.double().T
    assert torch.equal(sums.double(), exact)
    scaled = rows.double()[:, None] * columns.double() * exact
    assert ((out - scaled).abs() <= 3 * UNIT * scaled.abs() * (1 + 1e-3)).all()


# k of a part of a block's step of 2048, of one, and of more; 1 to 8 rows, of which a kernel has 1, 2, 4 or 8; columns
# that leave the last block some to spare
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
@pytest.mark.parametrize(
    "shape", [(1, 9, 16), (2, 4, 2048), (3, 5, 2064), (5, 2, 4112), (8, 13, 528)], ids=str
)
def test_few_rows(gpu, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    a, b = operands(*shape, dtype)
    out = run(gpu, a, b)
    if gpu.reports is not None:
        (report,) = gpu.reports
        assert "int8_gemm_few_rows_kernel" in report.kernel.name
    assert torch.equal(out.long(), a.long() @ b.long().T)


def test_few_rows_at_the_ends_of_the_range(gpu) -> None:
    """The largest sum there is, of either sign, in the deepest product that the kernel takes."""
    a, b = torch.full((2, 2**16), 255, dtype=torch.uint8), torch.full((3, 2**16), -128, dtype=torch.int8)
    b[1] = 127
    assert torch.equal(run(gpu, a, b).long(), a.long() @ b.long().T)


# (warps of the tile down and across, m, n, k): a part that is shorter than the others, and one that ends within a
# slice; tiles of 32 rows, of 128, and of 128 without copies of 16 bytes; columns that fit vectors of four sums, and not
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    "case", [(1, 4, 9, 132, 1040), (1, 4, 33, 7, 2048), (2, 2, 129, 100, 4112), (2, 2, 3, 12, 1001)], ids=str
)
def test_depth_in_parts(gpu, case: tuple[int, ...], scaled: bool, dtype: torch.dtype) -> None:
    """Few tiles and many products for each: parts of the depth, added up by a kernel that does the rest."""
    down, across, m, n, k = case
    a, b = operands(m, n, k, dtype)
    points = torch.randint(0, 100, (m,), dtype=torch.int32)
    exact = (a.long() - points.long()[:, None]) @ b.long().T
    wanted = {"zero_point": points}
    if scaled:
        wanted |= {"row_scale": torch.rand(m) / 1000, "col_scale": torch.rand(n), "bias": torch.randn(n)}
        wanted |= {"activation": "prelu", "param": torch.rand(n)}
    with gpu.small(8) if m > 128 else nullcontext():
        out = run(gpu, a, b, **wanted)
    if gpu.reports is not None:
        _, products, total = gpu.reports
        assert f"Int8TileILi{down}ELi{across}E" in products.kernel.name
        assert products.shape.grid[2] > 1
        assert "int8_sum_kernel" in total.kernel.name
    if not scaled:
        assert torch.equal(out.long(), exact)
        return
    product = wanted["row_scale"].double()[:, None] * wanted["col_scale"].double() * exact
    value = product + wanted["bias"]
    value = torch.where(value > 0, value, wanted["param"].double() * value)
    # The sum, the scales, their product, and the bias: four roundings; one more of the slope.
    assert ((out - value).abs() <= UNIT * 5 * (product.abs() + wanted["bias"].abs()) * (1 + 1e-3)).all()


def test_parts_into_memory_that_allows_no_vectors(gpu) -> None:
    a, b = operands(20, 12, 1024, torch.int8)
    memory = gpu.place(torch.full((20 * 12 + 2,), -1, dtype=torch.int32))
    gpu.run("int8_gemm.out", gpu.place(a), gpu.place(b), *NOTHING, out=memory[1:-1].view(20, 12))
    got = memory.cpu()
    assert torch.equal(got[1:-1].view(20, 12).long(), a.long() @ b.long().T)
    assert got[0] == got[-1] == -1


def test_sums_of_parts_at_the_ends_of_the_range(gpu) -> None:
    """The largest sums there are, of either sign, that only all parts together come to."""
    a, b = torch.full((9, 2**16), 255, dtype=torch.uint8), torch.full((2, 2**16), -128, dtype=torch.int8)
    b[1] = 127
    assert torch.equal(run(gpu, a, b).long(), a.long() @ b.long().T)


@pytest.mark.parametrize("k", [300, 304])  # without copies of 16 bytes, and with
@pytest.mark.parametrize("points", [1, 6])
def test_zero_points_are_taken_off_exactly(gpu, points: int, k: int) -> None:
    a, b = operands(6, 9, k, torch.uint8)
    zero_point = torch.randint(0, 256, (points,), dtype=torch.int32)
    out = run(gpu, a, b, zero_point=zero_point)
    assert torch.equal(out.long(), (a.long() - zero_point.long()[:, None]) @ b.long().T)


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "prelu", "hardswish"])
@pytest.mark.parametrize("scales", ["one", "rows"])
@pytest.mark.parametrize("m", [6, 10])  # few rows, and a tile
def test_epilogue(gpu, activation: str | None, scales: str, m: int) -> None:
    a, b = operands(m, 9, 16, torch.int8)
    rows = torch.rand(m if scales == "rows" else 1) / 1000
    columns, bias = torch.rand(9), torch.randn(9)
    slopes = torch.rand(9) if activation == "prelu" else None
    out = run(gpu, a, b, row_scale=rows, col_scale=columns, bias=bias, activation=activation, param=slopes)
    scaled = rows.double()[:, None] * columns.double() * (a.double() @ b.double().T)
    wanted = scaled + bias
    if slopes is not None:
        wanted = torch.where(wanted > 0, wanted, slopes.double() * wanted)
    elif activation is not None:
        wanted = ACTIVATIONS[activation](wanted)
    # The product of the scales, its product with the exact sum, and the bias: three roundings. No activation grows
    # faster than 1.2 v, and each rounds at most eight times, terms no larger than v and 1.
    size = scaled.abs() + bias.abs()
    assert ((out - wanted).abs() <= UNIT * (1.2 * 3 * size + 8 * (1 + size)) * (1 + 1e-3)).all()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [300, 304])
def test_floats_are_quantized_as_on_the_cpu(gpu, given: bool, dtype: torch.dtype, k: int) -> None:
    a, b = torch.randn(5, k).to(dtype), operands(1, 7, k, torch.int8)[1]
    a[3] = 0
    wanted = {"col_scale": torch.rand(7), "bias": torch.randn(7)}
    if given:
        wanted |= {"row_scale": torch.rand(5) / 20, "zero_point": torch.full((1,), 100, dtype=torch.int32)}
    cpu = torch.ops.greenkernels.int8_gemm(a, b, *options(**wanted))
    out = run(gpu, a, b, **wanted)
    assert out.dtype == dtype
    # Both have the same integers, so only the roundings of the epilogue differ: three each, and the one to dtype.
    scale = wanted["row_scale"][:, None] if given else a.float().abs().amax(1)[:, None] / 127
    size = scale * wanted["col_scale"] * k * 255 * 128
    step = UNIT * 6 + (torch.finfo(dtype).eps if dtype != torch.float32 else 0)
    assert ((out.float() - cpu.float()).abs() <= step * (cpu.float().abs() + UNIT * size + 1)).all()


def test_a_row_with_a_nan_or_an_infinity_comes_out_as_nan(gpu) -> None:
    a, b = torch.randn(4, 40), operands(1, 3, 40, torch.int8)[1]
    a[1, 7], a[2, 39] = torch.nan, torch.inf
    out = run(gpu, a, b, col_scale=torch.ones(3))
    assert out.isnan().any(1).tolist() == [False, True, True, False]


@pytest.mark.parametrize("activation", [None, "gelu"])
def test_results_as_integers(gpu, activation: str | None) -> None:
    a, b = operands(6, 9, 32, torch.uint8)
    wanted = {
        "row_scale": torch.tensor([0.01]),
        "col_scale": torch.rand(9) / 10,
        "activation": activation,
    }
    values = run(gpu, a, b, **wanted)
    out = run(gpu, a, b, **wanted, out_scale=0.5, out_zero=100)
    assert out.dtype == torch.uint8
    assert torch.equal(out.float(), (torch.round(values * 2) + 100).clamp(0, 255))


def test_pointers_that_allow_no_vectors(gpu) -> None:
    a, b = torch.randint(-128, 128, (20 * 32 + 1,), dtype=torch.int8), operands(1, 20, 32, torch.int8)[1]
    placed = gpu.place(a)[1:].view(20, 32)
    memory = gpu.place(torch.full((20 * 20 + 1,), -1, dtype=torch.int32))
    gpu.run("int8_gemm.out", placed, gpu.place(b), *NOTHING, out=memory[1:].view(20, 20))
    assert torch.equal(memory.cpu()[1:].view(20, 20).long(), a[1:].view(20, 32).long() @ b.long().T)
    assert memory[0] == -1


def test_what_the_kernel_leaves_out_is_refused(gpu) -> None:
    a, b = (torch.zeros(1, 2**16 + 16, dtype=torch.int8) for _ in range(2))
    one = torch.ones(1)
    with pytest.raises(RuntimeError, match="int8_gemm: k must be at most 65536 on CUDA, got 65552"):
        run(gpu, a, b, row_scale=one, col_scale=one)


@pytest.mark.parametrize("rows", [128, 512])
def test_hot_lines_waste_nothing(gpu, rows: int) -> None:
    """On whole tiles: no bank conflict, every sector that is moved is used, one mma for 16 x 8 x 32 products."""
    a, b = operands(rows, 128, 256, torch.int8)
    with gpu.small():
        run(gpu, a, b, row_scale=torch.ones(rows), col_scale=torch.ones(128))
    if gpu.reports is None:
        return
    (report,) = gpu.reports
    traffic = report.statistics.total().traffic
    assert {kind: one.ratio for kind, one in traffic.items()} == dict.fromkeys(traffic, 1)
    assert len(traffic) == 4
    by_opcode = report.statistics.by_opcode()
    assert by_opcode["mma"].issued == rows * 128 * 256 // (16 * 8 * 32)
    # A warp's slice of 64 x 64 x 64: four loads of rows and four of columns for each 32 of depth.
    assert by_opcode["ldmatrix"].issued == by_opcode["mma"].issued * 8 // 32


def test_parts_waste_nothing(gpu) -> None:
    """On whole tiles of 32 x 128: no bank conflict, every sector that is moved is used, in both launches."""
    a, b = operands(32, 256, 1024, torch.int8)
    run(gpu, a, b, row_scale=torch.ones(32), col_scale=torch.ones(256))
    if gpu.reports is None:
        return
    products, total = gpu.reports
    for report in (products, total):
        traffic = report.statistics.total().traffic
        assert {kind: one.ratio for kind, one in traffic.items()} == dict.fromkeys(traffic, 1)
    assert products.statistics.by_opcode()["mma"].issued == 32 * 256 * 1024 // (16 * 8 * 32)
    # b once, a once for each 128 columns.
    assert products.statistics.total().traffic["global load"].bytes == (256 + 2 * 32) * 1024


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_few_rows_read_b_once(gpu, rows: int) -> None:
    """In whole blocks: every sector that is read is used, b once, and a dp4a for four products of a lane."""
    a, b = operands(rows, 16, 4096, torch.int8)
    run(gpu, a, b)
    if gpu.reports is None:
        return
    (report,) = gpu.reports
    loads = report.statistics.total().traffic["global load"]
    # Four columns of a block share what it reads of a: 32 bytes a sector.
    assert (loads.units, loads.ratio) == ((16 + 16 // 4 * rows) * 4096 // 32, 1)
    assert report.statistics.by_opcode()["dp4a"].issued == rows * 16 * 4096 // (4 * 32)
