"""csr_matmul on CUDA: torch op, binding, launchers and what nvcc compiled, against float64 and the CPU op."""

from __future__ import annotations

import pytest
import torch
from csr_cases import SHAPES, expected, make
from torch import Tensor

# Besides those for all devices: strips of 32, 128 and 256 rows of x, one of each and a part; full warps of nonzeros.
CASES = [*SHAPES, (8, 40, 96, 0.4), (9, 12, 64, 1.0), (65, 6, 70, 0.9), (256, 5, 48, 0.7), (300, 3, 33, 1.0)]


def run(gpu, op: str, *args) -> Tensor:
    return gpu.run(op, *(gpu.place(arg) if isinstance(arg, Tensor) else arg for arg in args)).cpu()


@pytest.mark.parametrize("index", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_float64(gpu, case, index: torch.dtype) -> None:
    crow, col, values, x, bias, weight = make(*case)
    out = run(gpu, "csr_matmul", crow.to(index), col.to(index), values, x, bias)
    exact, bound = expected(x, weight, bias)
    assert out.shape == exact.shape
    assert ((out - exact).abs() <= bound).all()


@pytest.mark.parametrize("case", [(3, 20, 40, 0.3), (40, 20, 40, 0.3), (70, 9, 33, 0.9)], ids=str)
def test_float64_is_computed_in_float64(gpu, case) -> None:
    crow, col, values, x, _, weight = make(*case, torch.float64)
    exact, bound = expected(x, weight, None)
    assert ((run(gpu, "csr_matmul", crow, col, values, x, None) - exact).abs() <= 2 * bound).all()


@pytest.mark.parametrize(
    "case", [(3, 20, 40, 0.3), (40, 70, 33, 0.3), (130, 5, 40, 1.0), (0, 4, 8, 0.5)], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradient_of_the_values(gpu, case, dtype: torch.dtype) -> None:
    crow, col, _, x, _, weight = make(*case, dtype)
    grad = torch.randn(case[0], case[1], dtype=dtype)
    out = run(gpu, "csr_matmul_values_grad", crow, col, grad, x)
    # At a nonzero it is the dot product of a column of grad and one of x, of m terms: of any sign, so as in csr_cases.
    at = weight != 0
    exact = (grad.double().T @ x.double())[at]
    size = (grad.double().square().T @ x.double().square())[at].sqrt()
    assert ((out - exact).abs() <= 4 * torch.finfo(dtype).eps * (case[0] + 2) ** 0.5 * size).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_rounded_once(gpu, dtype: torch.dtype) -> None:
    crow, col, values, x, bias, _ = make(5, 7, 30, 0.4)
    halves = [tensor.to(dtype) for tensor in (values, x, bias)]
    out = run(gpu, "csr_matmul", crow, col, *halves)
    assert torch.equal(out, run(gpu, "csr_matmul", crow, col, *(h.float() for h in halves)).to(dtype))


@pytest.mark.parametrize("m", [4, 40])
def test_x_may_have_any_rank_and_layout(gpu, m: int) -> None:
    crow, col, values, x, bias, _ = make(m, 7, 30, 0.4)
    wanted = run(gpu, "csr_matmul", crow, col, values, x, bias)
    assert torch.equal(
        run(gpu, "csr_matmul", crow, col, values, x[0], bias)[None],
        run(gpu, "csr_matmul", crow, col, values, x[:1], bias),
    )
    turned = x.view(2, m // 2, 30).mT.contiguous().mT
    assert torch.equal(run(gpu, "csr_matmul", crow, col, values, turned, bias), wanted.view(2, m // 2, 7))


def test_agrees_with_the_cpu(gpu) -> None:
    crow, col, values, x, bias, weight = make(33, 67, 130, 0.3)
    cpu = torch.ops.greenkernels.csr_matmul(crow, col, values, x, bias)
    _, bound = expected(x, weight, bias)
    assert ((run(gpu, "csr_matmul", crow, col, values, x, bias) - cpu).abs() <= 2 * bound).all()


def test_what_the_op_refuses(gpu) -> None:
    crow, col, values, x, _, _ = make(5, 7, 30, 0.4)
    with pytest.raises(RuntimeError, match="csr_matmul: col_indices must have"):
        run(gpu, "csr_matmul", crow, col[:-1], values, x, None)


@pytest.mark.parametrize("index", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("m", [3, 40])
def test_wrong_indices_touch_nothing_else(gpu, m: int, index: torch.dtype) -> None:
    """What they take part in is NaN; the rest is right, and the simulator saw no address beyond the arrays."""
    crow, col, values, x, bias, weight = make(m, 7, 30, 0.4)
    exact, bound = expected(x, weight, bias)
    wrong = {int(crow[1]): 30, int(crow[3]): -1, int(crow[5]) - 1: 1 << 30}  # one each in rows 1, 3 and 4
    for at, column in wrong.items():
        col[at] = column
    out = run(gpu, "csr_matmul", crow.to(index), col.to(index), values, x, bias)
    right = torch.tensor([0, 2, 5, 6])
    assert ((out - exact).abs() <= bound)[:, right].all()
    assert out[:, [1, 3, 4]].isnan().all()
    grads = run(gpu, "csr_matmul_values_grad", crow.to(index), col.to(index), torch.randn(m, 7), x)
    assert grads.isnan().nonzero().flatten().tolist() == sorted(wrong)
    crow[0], crow[7] = -(1 << 30), 1 << 30
    out = run(gpu, "csr_matmul", crow.to(index), col.to(index), values, x, bias)
    assert ((out - exact).abs() <= bound)[:, right].all()


@pytest.mark.parametrize("m", [3, 40])
def test_rows_that_end_before_they_begin_are_empty(gpu, m: int) -> None:
    """Also where the lower 32 bits of their length, 2^32 and more below 0, are those of a positive number."""
    crow, col, values, x, bias, weight = make(m, 7, 30, 0.4)
    exact, bound = expected(x, weight, bias)
    crow[1], crow[3], crow[5] = (1 << 32) - 5, -(1 << 32) + 5, 1 << 62
    out = run(gpu, "csr_matmul", crow, col, values, x, bias)
    empty = torch.tensor([1, 5])  # rows that begin at crow[1] and crow[5]; the others end or begin elsewhere
    assert (out[:, empty] == bias[empty]).all()
    assert ((out - exact).abs() <= bound)[:, 6].all()


def test_hot_lines_waste_nothing(gpu) -> None:
    """In whole strips: no bank conflict, whole sectors, and a load for four multiply-adds."""
    m, n, k = 256, 4, 256
    crow, col, values, x, _, _ = make(m, n, k, 1.0)
    run(gpu, "csr_matmul", crow.int(), col.int(), values, x, None)
    if gpu.reports is None:
        return
    for report in gpu.reports:
        traffic = report.statistics.total().traffic
        assert {kind: one.ratio for kind, one in traffic.items() if one.units > 64} == {
            kind: 1 for kind, one in traffic.items() if one.units > 64
        }
    (products,) = (report for report in gpu.reports if "many_rows" in report.kernel.name)
    assert products.statistics.by_opcode()["fma"].issued * 32 == m * n * k
    assert products.statistics.total().issued * 32 <= 2 * m * n * k
