"""sgemm on CUDA: torch op, binding, launcher and what nvcc compiled, against float64 and against the CPU op."""

from __future__ import annotations

import pytest
import torch
from cuda_gemm_cases import operand, product
from cuda_gemm_cases import sgemm_bound as bound


@pytest.mark.parametrize(
    "layouts", [("rows", "rows"), ("columns", "columns"), ("rows", "columns"), ("columns", "rows")]
)
@pytest.mark.parametrize("shape", [(1, 250, 204, 36), (2, 256, 128, 44), (1, 201, 255, 35)], ids=str)
def test_large_tiles(gpu, shape: tuple[int, ...], layouts: tuple[str, str]) -> None:
    batch, m, n, k = shape
    a, b = gpu.place(operand((batch, m, k), layouts[0])), gpu.place(operand((batch, n, k), layouts[1]))
    with gpu.small():
        out = gpu.run("sgemm_batched", a, b)
    if gpu.reports is not None:
        assert "sgemm_kernelILi16E" in gpu.reports[0].kernel.name
    assert ((out.cpu() - product(a, b)).abs() <= bound(a, b)).all()


@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "columns"), ("rows", "columns")])
@pytest.mark.parametrize("shape", [(3, 5, 131), (70, 66, 250), (36, 64, 1024)], ids=str)
def test_depth_in_parts(gpu, shape: tuple[int, int, int], layouts: tuple[str, str]) -> None:
    """Few tiles and many products for each: parts of the depth, added up by a kernel that does the rest."""
    m, n, k = shape
    a, b = (gpu.place(operand((1, rows, k), layout)[0]) for rows, layout in zip((m, n), layouts, strict=True))
    bias, old = torch.randn(n), torch.randn(m, n)
    out = gpu.place(old.clone())
    gpu.run("sgemm.out", a, b, gpu.place(bias), "relu", None, 0.5, out=out)
    if gpu.reports is not None:
        products, total = gpu.reports
        assert products.shape.grid[2] > 1
        assert "sgemm_sum_kernel" in total.kernel.name
    exact = (product(a, b) + bias + 0.5 * old.double()).relu()
    # A sum of each part, and of all: one rounding more for each of at most 16 parts.
    allowed = bound(a, b, bias.abs() + old.abs()) * (k + 19) / (k + 3)
    assert ((out.cpu() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("shape", [(1, 9, 4), (2, 4, 512), (3, 5, 516), (8, 13, 1028), (16, 3, 20)], ids=str)
def test_few_rows(gpu, shape: tuple[int, int, int]) -> None:
    """Depths of a part of a block's step, of one, and of more; columns that leave the last block some to spare."""
    m, n, k = shape
    a, b = gpu.place(operand((2, m, k), "rows")), gpu.place(operand((2, n, k), "rows"))
    out = gpu.run("sgemm_batched", a, b)
    if gpu.reports is not None:
        (report,) = gpu.reports
        assert "sgemm_few_rows_kernel" in report.kernel.name
    assert ((out.cpu() - product(a, b)).abs() <= bound(a, b)).all()


def test_few_rows_do_the_rest_too(gpu) -> None:
    a, b, bias, old = torch.randn(5, 12), torch.randn(9, 12), torch.randn(9), torch.randn(5, 9)
    out = gpu.place(old.clone())
    gpu.run("sgemm.out", gpu.place(a), gpu.place(b), gpu.place(bias), "relu", None, 0.5, out=out)
    exact = (product(a, b) + bias + 0.5 * old.double()).relu()
    assert ((out.cpu() - exact).abs() <= bound(a, b, bias.abs() + old.abs())).all()


def test_parts_of_a_prelu(gpu) -> None:
    a, b, slopes = torch.randn(19, 260), torch.randn(33, 260), torch.rand(33)
    out = gpu.run("sgemm", gpu.place(a), gpu.place(b), None, "prelu", gpu.place(slopes))
    exact = product(a, b)
    exact = torch.where(exact > 0, exact, slopes.double() * exact)
    assert ((out.cpu() - exact).abs() <= bound(a, b) * (260 + 20) / (260 + 3)).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 19, 33), (16, 32, 16), (5, 3, 0)], ids=str)
def test_float64_is_computed_in_float64(gpu, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, b = (gpu.place(operand((1, rows, k), "rows", torch.float64)[0]) for rows in (m, n))
    bias = gpu.place(torch.randn(n, dtype=torch.float64))
    out = gpu.run("sgemm", a, b, bias, "relu", None)
    exact = (product(a, b) + bias.cpu()).relu()  # itself rounded as often: twice the bound
    assert ((out.cpu() - exact).abs() <= 2 * bound(a, b, bias.cpu())).all()


def test_out_may_lie_in_an_input(gpu) -> None:
    a, b = gpu.place(torch.randn(6, 6)), gpu.place(torch.randn(6, 6))
    exact, allowed = product(a, b), bound(a, b)
    gpu.run("sgemm.out", a, b, None, None, None, 0.0, out=a)
    assert ((a.cpu() - exact).abs() <= allowed).all()


def test_a_number_that_is_none_comes_through(gpu) -> None:
    a, b = torch.ones(2, 3), torch.ones(4, 3)
    a[1, 2] = torch.nan
    out = gpu.run("sgemm", gpu.place(a), gpu.place(b), None, "relu", None)
    assert (out[0] == 3).all()
    assert out[1].isnan().all()


def test_a_batch_may_share_an_operand(gpu) -> None:
    a = gpu.place(operand((3, 4, 8), "rows"))
    b = gpu.place(operand((1, 6, 8), "rows")).expand(3, 6, 8)
    out = gpu.run("sgemm_batched", a, b)
    assert ((out.cpu() - product(a, b)).abs() <= bound(a, b)).all()


def test_what_the_kernel_leaves_out_is_refused(gpu) -> None:
    """k of 2^31: nothing is launched, so that no memory is needed for it."""
    a = gpu.place(torch.zeros(1)).as_strided((1, 2**31), (1, 0))
    with pytest.raises(RuntimeError, match=r"sgemm: k must be below 2\^31 on CUDA, got 2147483648"):
        gpu.run("sgemm", a, a, None, None, None)


def test_agrees_with_the_cpu(gpu) -> None:
    """Both round the same exact value, so they differ by at most the sum of both bounds."""
    a, b, bias = torch.randn(37, 41), torch.randn(29, 41), torch.randn(29)
    cpu = torch.ops.greenkernels.sgemm(a, b, bias, "relu", None)
    out = gpu.run("sgemm", gpu.place(a), gpu.place(b), gpu.place(bias), "relu", None)
    assert ((out.cpu() - cpu).abs() <= 2 * bound(a, b, bias)).all()


@pytest.mark.parametrize("rows", [64, 128, 512])
@pytest.mark.parametrize(
    "layouts", [("rows", "rows"), ("columns", "columns"), ("rows", "columns"), ("columns", "rows")]
)
def test_hot_lines_waste_nothing(gpu, layouts: tuple[str, str], rows: int) -> None:
    """On whole tiles: no bank conflict anywhere, and every sector that is moved is used."""
    k = {64: 64, 128: 128, 512: 32}[rows]
    a, b = (
        gpu.place(operand((1, size, k), layout)[0]) for size, layout in zip((rows, 128), layouts, strict=True)
    )
    with gpu.small():
        gpu.run("sgemm", a, b, None, None, None)
    if gpu.reports is None:
        return
    (report,) = gpu.reports
    assert f"sgemm_kernelILi{8 if rows == 64 else 16}E" in report.kernel.name
    total = report.statistics.total()
    assert {kind: traffic.ratio for kind, traffic in total.traffic.items()} == {
        "global load": 1,
        "global store": 1,
        "shared load": 1,
        "shared store": 1,
    }
    multiply_adds = rows * 128 * k // 32  # of 32 lanes each
    assert report.statistics.by_opcode()["fma"].issued == multiply_adds
    if rows == 128:
        assert total.issued <= 1.45 * multiply_adds


def test_parts_waste_nothing(gpu) -> None:
    """On whole tiles: no bank conflict anywhere, and every sector that is moved is used, in both launches."""
    a, b = gpu.place(torch.randn(64, 512)), gpu.place(torch.randn(64, 512))
    bias, out = gpu.place(torch.randn(64)), gpu.place(torch.randn(64, 64))
    gpu.run("sgemm.out", a, b, bias, "relu", None, 0.5, out=out)
    if gpu.reports is None:
        return
    _, total = gpu.reports
    for report in gpu.reports:
        traffic = report.statistics.total().traffic
        assert {kind: one.ratio for kind, one in traffic.items()} == dict.fromkeys(traffic, 1)
    assert "sgemm_sum_kernel" in total.kernel.name
