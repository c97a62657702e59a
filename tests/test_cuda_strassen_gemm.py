"""strassen_gemm on CUDA: torch ops, launchers and what nvcc compiled, against float64 and against the CPU op."""

from __future__ import annotations

import pytest
import torch
from cuda_gemm_cases import EPS, activated, operand, product
from torch import Tensor

LEVELS = (1, 2, 3)


def factor(levels: int, k: int) -> int:
    """e(levels, k) of csrc/api/strassen_gemm.h."""
    return 12 * factor(levels - 1, k // 2) + 23 * k if levels else k * (k + 1)


def bound(a: Tensor, b: Tensor, levels: int, *added: Tensor) -> float:
    """Of the error of any element, with a rounding for each term that is added behind the products."""
    k = -(-a.shape[-1] // 2**levels) * 2**levels
    largest = float(a.abs().max() * b.abs().max()) if a.numel() and b.numel() else 0.0
    # Each addition rounds a sum of no more than all magnitudes: k products, and what is added.
    sums = k * largest + sum(float(one.abs().max()) for one in added)
    terms = factor(levels, k) * largest + (len(added) + 1) * sums
    return terms * EPS[a.dtype] * (1 + 1e-3)  # and the terms of second order


def integers(*shape: int) -> Tensor:
    """So small that every sum and product of a test is exact: a wrong block or sign cannot hide in a tolerance."""
    return torch.randint(-4, 5, shape).float()


def strassen(gpu, a: Tensor, b: Tensor, levels: int, *, packed: bool, bias=None, activation=None, param=None):
    if not packed:
        return gpu.run("strassen_gemm", a, b, bias, levels, activation, param)
    weight = gpu.run("strassen_gemm_pack", b, levels)
    return gpu.run("strassen_gemm_packed", a, weight, bias, b.shape[0], levels, activation, param)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("levels", "shape"),
    [
        *((levels, (33, 70, 37)) for levels in LEVELS),
        *((levels, (1, 1, 1)) for levels in (1, 2)),
        *(
            (1, (5, 3, 515)),
            (1, (67, 129, 22)),
            (2, (67, 129, 22)),
        ),  # two slices of the depth; more than a tile
    ],
    ids=str,
)
def test_small_integers_are_exact(gpu, levels: int, shape: tuple[int, ...], packed: bool) -> None:
    m, n, k = shape
    a, b = gpu.place(integers(m, k)), gpu.place(integers(n, k))
    out = strassen(gpu, a, b, levels, packed=packed)
    assert torch.equal(out.cpu().double(), product(a, b))


@pytest.mark.parametrize("layouts", [("rows", "columns"), ("columns", "rows"), ("columns", "columns")])
@pytest.mark.parametrize("levels", [1, 2])
def test_matches_float64_in_every_layout(gpu, levels: int, layouts: tuple[str, str]) -> None:
    a, b = (gpu.place(operand((1, rows, 45), lay)[0]) for rows, lay in zip((38, 71), layouts, strict=True))
    out = strassen(gpu, a, b, levels, packed=False)
    assert (out.cpu() - product(a, b)).abs().max() <= bound(a, b, levels)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(0, 5, 3), (4, 0, 3), (5, 7, 0)], ids=str)
def test_nothing_to_multiply(gpu, shape: tuple[int, ...], packed: bool) -> None:
    m, n, k = shape
    a, b, bias = gpu.place(torch.randn(m, k)), gpu.place(torch.randn(n, k)), torch.randn(n)
    out = strassen(gpu, a, b, 1, packed=packed, bias=gpu.place(bias))
    assert torch.equal(out.cpu(), bias.expand(m, n))


@pytest.mark.parametrize("packed", [False, True])
def test_no_level_is_sgemm(gpu, packed: bool) -> None:
    a, b = gpu.place(torch.randn(18, 40)), gpu.place(torch.randn(35, 40))
    out = strassen(gpu, a, b, 0, packed=packed)
    assert (out.cpu() - product(a, b)).abs().max() <= bound(a, b, 0)


@pytest.mark.parametrize(
    ("levels", "activation"),
    [*((levels, name) for levels in (1, 2) for name in (None, "relu", "gelu", "prelu")), (3, "prelu")],
)
def test_epilogue(gpu, levels: int, activation: str | None) -> None:
    a, b, bias = torch.randn(9, 14), torch.randn(21, 14), torch.randn(21)
    slopes = torch.rand(21) if activation == "prelu" else None
    param = None if slopes is None else gpu.place(slopes)
    out = gpu.run(
        "strassen_gemm", gpu.place(a), gpu.place(b), gpu.place(bias), levels, activation, param
    )  # fmt: skip
    exact = product(a, b) + bias
    # No activation here is steeper than 1.2; its own error is that of eight roundings of terms up to v, and 1.
    allowed = 1.2 * bound(a, b, levels, bias) + 8 * EPS[torch.float32] * (1 + exact.abs())
    assert ((out.cpu() - activated(activation, exact, slopes)).abs() <= allowed).all()


@pytest.mark.parametrize("levels", LEVELS)
def test_packs_as_the_cpu_does(gpu, levels: int) -> None:
    for n, k in ((1, 1), (33, 70), (24, 515) if levels < 3 else (9, 17)):
        b = integers(n, k)
        expected = torch.ops.greenkernels.strassen_gemm_pack(b, levels)
        assert torch.equal(gpu.run("strassen_gemm_pack", gpu.place(b), levels).cpu(), expected)
        turned = gpu.place(b.T.contiguous().T)
        assert torch.equal(gpu.run("strassen_gemm_pack", turned, levels).cpu(), expected)


@pytest.mark.parametrize("packed", [False, True])
def test_float64_is_computed_in_float64(gpu, packed: bool) -> None:
    a, b = (gpu.place(torch.randn(rows, 21, dtype=torch.float64)) for rows in (19, 34))
    for levels in (1, 2):
        out = strassen(gpu, a, b, levels, packed=packed)
        assert (out.cpu() - product(a, b)).abs().max() <= 2 * bound(
            a, b, levels
        )  # the product is rounded too


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(gpu, dtype: torch.dtype) -> None:
    a, b = (gpu.place(torch.randn(rows, 24).to(dtype)) for rows in (7, 9))
    out = strassen(gpu, a, b, 1, packed=False)
    single = strassen(gpu, a.float(), b.float(), 1, packed=False)
    assert torch.equal(out, single.to(dtype))


def test_a_packed_weight_may_lie_at_any_address(gpu) -> None:
    a, b = gpu.place(integers(6, 20)), gpu.place(integers(10, 20))
    weight = gpu.run("strassen_gemm_pack", b, 1).cpu()
    moved = gpu.place(torch.cat([torch.zeros(1), weight]))[1:]
    out = gpu.run("strassen_gemm_packed", a, moved, None, 10, 1, None, None)
    assert torch.equal(out.cpu().double(), product(a, b))


def test_bands_of_rows_one_after_the_other(gpu) -> None:
    """A scratch memory that holds a few rows: the weight is packed once, and the rest is done for each band."""
    a, b = gpu.place(integers(261, 1300)), gpu.place(integers(6, 1300))
    with gpu.small():
        out = strassen(gpu, a, b, 1, packed=False)
    if gpu.reports is not None:
        names = [report.kernel.name for report in gpu.reports]
        assert [sum(part in name for name in names) for part in ("pack", "product", "combine")] == [3, 2, 2]
    assert torch.equal(out.cpu().double(), product(a, b))


def test_wrong_calls_are_refused(gpu) -> None:
    a, b = gpu.place(torch.ones(4, 8)), gpu.place(torch.ones(6, 8))
    with pytest.raises(RuntimeError, match="levels must be 0 to 3, got 4"):
        strassen(gpu, a, b, 4, packed=False)
    with pytest.raises(RuntimeError, match="packed must have 448 elements for n = 6"):
        gpu.run("strassen_gemm_packed", a, gpu.place(torch.zeros(5)), None, 6, 1, None, None)


def launches(gpu, sizes: tuple[int, int, int], levels: int, layout: str = "rows") -> dict[str, object]:
    """Reports of a call by what is made."""
    m, n, k = sizes
    a, b = (gpu.place(operand((1, rows, k), layout)[0]) for rows in (m, n))
    with gpu.small():
        strassen(gpu, a, b, levels, packed=False)
    assert len(gpu.reports) == 4
    return dict(zip(("b", "a", "product", "combine"), gpu.reports, strict=True))


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize(("levels", "side"), [(1, 128), (2, 256), (1, 256)])
def test_hot_lines_waste_nothing(gpu, levels: int, side: int, layout: str) -> None:
    """On whole tiles: no bank conflict anywhere, and every sector that is moved is used, in all four launches."""
    if gpu.reports is None:
        return
    found = launches(gpu, (side, side, 64 << levels - 1), levels, layout)
    assert f"ILi{16 if side >> levels == 128 else 8}E" in found["product"].kernel.name
    for name, report in found.items():
        traffic = report.statistics.total().traffic
        assert {kind: one.ratio for kind, one in traffic.items()} == dict.fromkeys(traffic, 1), name


@pytest.mark.parametrize("levels", [1, 2])
def test_counts_scale_as_the_sizes_do(gpu, levels: int) -> None:
    """Two sizes by one rule: 7^levels products of blocks, each operand read once, sums written and read once."""
    if gpu.reports is None:
        return
    products, blocks = 7**levels, 4**levels
    for sizes in ((64, 64, 16), (64, 64, 32)) if levels == 2 else ((128, 128, 16), (256, 128, 32)):
        m, n, k = (size << levels for size in sizes)
        count = {name: one.statistics for name, one in launches(gpu, (m, n, k), levels).items()}
        assert count["product"].by_opcode()["fma"].issued == products * m * n * k // 8**levels // 32
        moved = {
            name: {kind: one.bytes for kind, one in statistics.total().traffic.items()}
            for name, statistics in count.items()
        }
        for name, rows in (("a", m), ("b", n)):
            assert moved[name]["global load"] == 4 * rows * k
            assert moved[name]["global store"] == 4 * rows * k * products // blocks
        sums = 4 * m * n * products // blocks
        assert moved["product"]["global store"] == moved["combine"]["global load"] == sums
        assert moved["combine"]["global store"] == 4 * m * n


def test_a_product_issues_what_sgemm_does(gpu) -> None:
    """A tile of packed sums, 256 deep: no more than 1.03 times the instructions of one of plain operands."""
    if gpu.reports is None:
        return
    product = launches(gpu, (256, 256, 512), 1)["product"].statistics
    per_product = product.total().issued / product.by_opcode()["fma"].issued
    with gpu.small():
        gpu.run("sgemm", *(operand((1, 128, 256), "columns")[0] for _ in "ab"), None, None, None)
    plain = gpu.reports[0].statistics
    assert per_product <= 1.03 * plain.total().issued / plain.by_opcode()["fma"].issued
