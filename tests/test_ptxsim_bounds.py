"""Bounds on the time of simulated launches: by hand for counts of whole tiles, and growing as the work does."""

from __future__ import annotations

from importlib import import_module
from math import prod

import pytest

pytest.importorskip("numpy")

from greenkernels.ptxsim import bounds
from greenkernels.ptxsim.stems import int8_gemm, sgemm


def reports_of(gpu, stem, sizes: tuple[int, ...]):
    problem = stem.problem(sizes)
    gpu.run(problem.op, *(gpu.place(arg) if hasattr(arg, "shape") else arg for arg in problem.args))
    if gpu.reports is None:
        pytest.skip("nothing is counted on hardware")
    return list(gpu.reports)


def test_a_float_product_is_bound_by_its_multiply_adds(gpu) -> None:
    """128^2 x 32 products: each block's multiply-adds on a multiprocessor, two warps in a clock."""
    a100 = bounds.GPUS["A100"]
    reports = reports_of(gpu, sgemm, (128, 128, 32))
    clocks = bounds.clocks(reports[0].statistics, a100)
    assert clocks["multiply-adds"] == 128 * 128 * 32 / 32 / 2
    assert clocks["matrix products"] == 0
    blocks = prod(reports[0].shape.grid)
    assert bounds.least_time_s(reports, a100) == pytest.approx(max(clocks.values()) / blocks / a100.clock_hz)


def test_an_integer_product_counts_for_the_tensor_cores(gpu) -> None:
    (report,) = reports_of(gpu, int8_gemm, (128, 128, 64))
    clocks = bounds.clocks(report.statistics, bounds.GPUS["A100"])
    assert clocks["matrix products"] == 128 * 128 * 64 / 2048


def test_counts_grow_as_the_work_does(gpu) -> None:
    """Four times the tiles, each as deep: four times of everything, on as many multiprocessors."""
    a100 = bounds.GPUS["A100"]
    small, large = (reports_of(gpu, sgemm, (size, size, 16)) for size in (128, 256))
    one, four = (bounds.clocks(reports[0].statistics, a100) for reports in (small, large))
    assert four == {part: 4 * value for part, value in one.items()}
    assert bounds.least_time_s(large, a100) == pytest.approx(bounds.least_time_s(small, a100))


@pytest.mark.parametrize(
    ("stem", "sizes"),
    [
        ("csr_matmul", (256, 32, 256)),
        ("depthwise_conv2d", (1, 64, 8, 32, 3)),
        ("direct_conv2d", (1, 32, 64, 12, 32, 1)),
        ("int8_gemm", (128, 128, 256)),
        ("sgemm_tf32x3", (128, 128, 64)),
        ("strassen_gemm", (256, 256, 32, 1)),
        ("winograd_conv2d", (1, 16, 64, 4, 64)),
    ],
)
def test_twice_the_batch_counts_twice(gpu, stem: str, sizes: tuple[int, ...]) -> None:
    """In whole tiles, so that nothing is cut off: each launch does twice as much, or as much if it packs the weight."""
    module, a100 = import_module(f"greenkernels.ptxsim.stems.{stem}"), bounds.GPUS["A100"]
    once, twice = (reports_of(gpu, module, (batch * sizes[0], *sizes[1:])) for batch in (1, 2))
    products = 0
    for small, large in zip(once, twice, strict=True):
        one, two = (bounds.clocks(report.statistics, a100) for report in (small, large))
        assert two in ({part: 2 * value for part, value in one.items()}, one), small.kernel.name
        products += two != one and one["multiply-adds"] + one["matrix products"] > 0
    assert products == 1
