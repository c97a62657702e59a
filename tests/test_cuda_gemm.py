"""What holds of every dense product on CUDA in float32: of sgemm, and of sgemm_tf32x3 by tensor cores."""

from __future__ import annotations

import pytest
import torch
from cuda_gemm_cases import ACTIVATIONS, BOUNDS, EPS, LAYOUTS, SHAPES, activated, operand, product

each_op = pytest.mark.parametrize("op", BOUNDS)


@each_op
@pytest.mark.parametrize("b_layout", LAYOUTS)
@pytest.mark.parametrize("a_layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_float64(gpu, op: str, shape: tuple[int, ...], a_layout: str, b_layout: str) -> None:
    batch, m, n, k = shape
    a, b = gpu.place(operand((batch, m, k), a_layout)), gpu.place(operand((batch, n, k), b_layout))
    out = gpu.run(f"{op}_batched", a, b)
    assert out.shape == (batch, m, n)
    if gpu.reports is not None:
        assert len(gpu.reports) == (1 if batch * m * n else 0)
    assert ((out.cpu() - product(a, b)).abs() <= BOUNDS[op](a, b)).all()


@each_op
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(gpu, op: str, dtype: torch.dtype) -> None:
    a, b = (gpu.place(torch.randn(rows, 24).to(dtype)) for rows in (7, 9))
    out = gpu.run(op, a, b, None, None, None)
    assert out.dtype == dtype
    single = gpu.run(op, a.float(), b.float(), None, None, None)
    assert torch.equal(out, single.to(dtype))


@each_op
@pytest.mark.parametrize("offset", [1, 2])
def test_pointers_that_allow_no_vectors(gpu, op: str, offset: int) -> None:
    """Sizes that 16-byte accesses fit, at an address that they do not."""
    a, b = (gpu.place(torch.randn(32, 18)[:, offset : offset + 16]) for _ in range(2))
    memory = gpu.place(torch.full((32, 36), torch.nan))
    out = memory[:, offset : offset + 32]
    gpu.run(f"{op}.out", a, b, None, None, None, 0.0, out=out)
    assert ((out.cpu() - product(a, b)).abs() <= BOUNDS[op](a, b)).all()
    assert memory[:, :offset].isnan().all()  # nothing beside it is written
    assert memory[:, offset + 32 :].isnan().all()


@each_op
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_epilogue(gpu, op: str, activation: str | None) -> None:
    a, b = gpu.place(torch.randn(6, 5)), gpu.place(torch.randn(9, 5))
    bias, old = torch.randn(9), torch.randn(6, 9)
    slopes = {"leaky_relu": torch.tensor([0.1]), "prelu": torch.rand(9)}.get(activation)
    param = None if slopes is None else gpu.place(slopes)
    out = gpu.place(old.clone())
    gpu.run(f"{op}.out", a, b, gpu.place(bias), activation, param, 0.5, out=out)
    exact = product(a, b) + bias + 0.5 * old.double()
    wanted = activated(activation, exact, slopes)
    # No activation grows faster than 1.2 v (hardswish and silu are the steepest). Its own error is that of eight
    # roundings of terms no larger than v, and 1.
    allowed = 1.2 * BOUNDS[op](a, b, bias.abs() + old.abs()) + 8 * EPS[torch.float32] * (1 + exact.abs())
    assert ((out.cpu() - wanted).abs() <= allowed).all()
