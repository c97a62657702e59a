"""sgemm_tf32x3 on CUDA, against float64: torch op, binding, launcher and what nvcc compiled."""

from __future__ import annotations

import pytest
import torch
from cuda_gemm_cases import EPS, operand, product
from cuda_gemm_cases import tf32x3_bound as bound


# One tile, a part of a second either way, a group of tiles and one more down; k of one slice to five.
@pytest.mark.parametrize(
    "layouts", [("rows", "rows"), ("columns", "columns"), ("rows", "columns"), ("columns", "rows")]
)
@pytest.mark.parametrize("shape", [(2, 128, 128, 16), (1, 244, 124, 80), (1, 1156, 8, 36)], ids=str)
def test_large_tiles(gpu, shape: tuple[int, ...], layouts: tuple[str, str]) -> None:
    batch, m, n, k = shape
    a, b = gpu.place(operand((batch, m, k), layouts[0])), gpu.place(operand((batch, n, k), layouts[1]))
    with gpu.small():
        out = gpu.run("sgemm_tf32x3_batched", a, b)
    if gpu.reports is not None and n > 64:
        assert "Tf32TileILi2ELi4E" in gpu.reports[0].kernel.name
    assert ((out.cpu() - product(a, b)).abs() <= bound(a, b)).all()


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_many_depths_are_added_in_parts(gpu, mean: float) -> None:
    """Two launches and a rest: bias and activation belong to the last, beta to the first."""
    k = 2 * 4096 + 20
    a, b = (gpu.place(torch.randn(rows, k) + mean) for rows in (5, 9))
    bias, old = torch.randn(9), torch.randn(5, 9)
    out = gpu.place(old.clone())
    gpu.run("sgemm_tf32x3.out", a, b, gpu.place(bias), "sigmoid", None, 0.5, out=out)
    if gpu.reports is not None:
        assert len(gpu.reports) == 3
    exact = product(a, b) + bias + 0.5 * old.double()
    allowed = (
        bound(a, b, bias.abs() + old.abs()) / 4 + 8 * EPS[torch.float32]
    )  # a sigmoid is a quarter as steep
    assert ((out.cpu() - exact.sigmoid()).abs() <= allowed).all()


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf, 3.4028e38])
def test_what_is_not_finite_stays_in_its_row(gpu, wrong: float) -> None:
    """And makes it NaN: infinity is split into infinity and NaN, and so is what rounds to it."""
    a, b = torch.randn(17, 20), torch.randn(9, 20)
    a[3, 5] = wrong
    out = gpu.run("sgemm_tf32x3", gpu.place(a), gpu.place(b), None, "relu", None).cpu()
    assert out[3].isnan().all()
    rest = [row for row in range(17) if row != 3]
    exact = product(a[rest], b)
    assert ((out[rest] - exact.relu()).abs() <= bound(a[rest], b)).all()


@pytest.mark.parametrize("exponent", [-140, -120, -112, 100])
def test_sizes_far_from_one(gpu, exponent: int) -> None:
    a, b = torch.randn(16, 24) * 2.0**exponent, torch.randn(8, 24)
    out = gpu.run("sgemm_tf32x3", gpu.place(a), gpu.place(b), None, None, None).cpu()
    lost = 2.0**-136 * b.abs().double().sum(
        1
    )  # of each factor of a at most, and sums that small end at 2^-149
    assert ((out - product(a, b)).abs() <= bound(a, b) + lost + 24 * 2.0**-149).all()


def test_a_batch_may_share_an_operand(gpu) -> None:
    a = gpu.place(operand((3, 4, 8), "rows"))
    b = gpu.place(operand((1, 6, 8), "rows")).expand(3, 6, 8)
    out = gpu.run("sgemm_tf32x3_batched", a, b)
    assert ((out.cpu() - product(a, b)).abs() <= bound(a, b)).all()


def test_float64_is_refused(gpu) -> None:
    a = gpu.place(torch.zeros(3, 4, dtype=torch.float64))
    message = r"sgemm_tf32x3: a must be float16, bfloat16 or float32, got float64"
    with pytest.raises(RuntimeError, match=message):
        gpu.run("sgemm_tf32x3", a, a, None, None, None)


@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "columns"), ("rows", "columns")])
@pytest.mark.parametrize("size", [64, 128])
def test_hot_lines_waste_nothing(gpu, layouts: tuple[str, str], size: int) -> None:
    """On whole tiles of both sizes: no bank conflict anywhere, and every sector that is moved is used."""
    a, b = (gpu.place(operand((1, size, 64), layout)[0]) for layout in layouts)
    with gpu.small():
        gpu.run("sgemm_tf32x3", a, b, None, None, None)
    if gpu.reports is None:
        return
    (report,) = gpu.reports
    total = report.statistics.total()
    assert {kind: traffic.ratio for kind, traffic in total.traffic.items()} == {
        "global load": 1,
        "global store": 1,
        "shared load": 1,
        "shared store": 1,
    }
    # Three of 16 * 8 * 8 multiply-adds each.
    assert report.statistics.by_opcode()["mma"].issued == 3 * size * size * 64 // (16 * 8 * 8)
