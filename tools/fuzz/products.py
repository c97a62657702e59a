"""Problems of the matrix products: each function draws one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from inputs import KINDS, LAYOUTS, finite, laid, sizes, values
from int8_cases import EPS, integers, numpy_quantized, numpy_quantizer
from test_codebook_gemm import exact as codebook_exact
from test_codebook_gemm import weights as codebook_weights
from test_int4_gemm import exact as int4_exact
from test_int4_gemm import weights as int4_weights
from torch import Tensor
from verdicts import Bound, Call, Problem, rounding_bound

from greenkernels import ops

FLOATS = ("float32", "float16", "bfloat16", "float64")
HALVES = FLOATS[:3]  # computed in float32
Maker = Callable[[random.Random, str, torch.dtype], Problem]


def operands(
    choose: random.Random, size: str, dtype: torch.dtype, weight_dtype: torch.dtype | None = None
) -> tuple[str, Tensor, Tensor, Tensor | None]:
    """The kind of the values, ``a [m, k]``, ``b [n, k]`` in a layout of its own, and a bias or none."""
    kind = choose.choice(KINDS)
    m, n, k = sizes(choose, size, 3)
    a = values(choose, (m, k), kind, dtype)
    weight_kind = kind if kind in ("integers", "scaled") else "uniform"
    b = laid(values(choose, (n, k), weight_kind, weight_dtype or dtype), choose.choice(LAYOUTS[:4]))
    bias_dtype = torch.float32 if weight_dtype else dtype
    bias = values(choose, (n,), weight_kind, bias_dtype) if choose.random() < 0.5 else None
    return kind, a, b, bias


def product(
    kind: str, calls: tuple[Call, ...], a: Tensor, b: Tensor, bias: Tensor | None, growth: float = 0.0
) -> Problem:
    """``a @ b^T + bias``; ``growth``, if any: how many times as large as terms of one output rounding may be."""
    weight, shift = b.double(), 0 if bias is None else bias.double()
    sizes, size = weight.abs().mT, 0 if bias is None else bias.double().abs()
    least = b.abs().max().item() if b.numel() else 0.0

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        expected = x.double() @ weight.mT + shift
        if kind == "integers":
            return expected, 0.0
        terms = finite(x).double().abs() @ sizes + size
        if growth and terms.numel():
            terms = growth * terms.max().expand_as(terms)
        return expected, rounding_bound(terms, a.shape[1], least, a.dtype)

    return Problem(a, calls, exact, like=a.dtype, spreads=bool(growth))


def sgemm(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, a, b, bias = operands(choose, size, dtype)
    packed, n = ops.sgemm_pack(b), b.shape[0]

    def into(x: Tensor) -> Tensor:
        out = torch.full((*x.shape[:-1], n), torch.nan, dtype=dtype)
        return ops.sgemm(x, b, bias, out=out)

    calls = (lambda x: ops.sgemm(x, b, bias), lambda x: ops.sgemm_packed(x, packed, bias, n=n), into)
    return product(kind, calls, a, b, bias)


def matmul(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, a, b, _ = operands(choose, size, dtype)
    calls = (lambda x: ops.matmul(x, b.mT), lambda x: ops.matmul(x[None], b.mT[None])[0])
    return product(kind, calls, a, b, None)


def strassen_gemm(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, a, b, bias = operands(choose, size, dtype)
    levels = choose.randint(0, 3)
    packed = ops.strassen_gemm_pack(b, levels)
    calls = (
        lambda x: ops.strassen_gemm(x, b, bias, levels=levels),
        lambda x: ops.strassen_gemm_packed(x, packed, bias, n=b.shape[0], levels=levels),
    )
    return product(kind, calls, a, b, bias, 4.0**levels if levels else 0.0)


def half_gemm(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, a, b, bias = operands(choose, size, torch.float32, dtype)
    packed = ops.half_gemm_pack(b)
    calls = (
        lambda x: ops.half_gemm(x, b, bias=bias),
        lambda x: ops.half_gemm_packed(x, packed, n=b.shape[0], bias=bias),
    )
    return product(kind, calls, a, b, bias)


def sparse(choose: random.Random, b: Tensor) -> Tensor:
    """``b`` with few, some or all of its elements left."""
    kept = torch.rand(b.shape, generator=torch.Generator().manual_seed(choose.getrandbits(48)))
    return torch.where(kept < choose.choice([0.0, 0.05, 0.3, 1.0]), b, torch.zeros((), dtype=b.dtype))


def sparse_product(kind: str, calls: tuple[Call, ...], a: Tensor, b: Tensor, bias: Tensor | None) -> Problem:
    """``product`` where what is 0 in ``b`` is not stored and multiplies nothing, not even what is not finite."""
    problem = product(kind, calls, a, b, bias)
    if kind != "nonfinite":
        return problem
    dense, (above, below) = problem.exact, ((b > 0).double().mT, (b < 0).double().mT)

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        expected, _ = dense(torch.where(x.isfinite(), x, torch.zeros((), dtype=x.dtype)))
        plus, minus, nan = ((x == torch.inf).double(), (x == -torch.inf).double(), x.isnan().double())
        up, down = plus @ above + minus @ below, plus @ below + minus @ above
        lost = (nan @ (above + below) > 0) | ((up > 0) & (down > 0))
        expected = torch.where(up > 0, torch.inf, torch.where(down > 0, -torch.inf, expected))
        return torch.where(lost, torch.nan, expected), dense(x)[1]

    problem.exact = exact
    return problem


def csr_matmul(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, a, b, bias = operands(choose, size, dtype)
    b = sparse(choose, b)
    csr = b.to_sparse_csr()
    parts, (n, k) = (csr.crow_indices(), csr.col_indices(), csr.values()), b.shape
    batch = choose.choice([1, 4, 64, 256])  # rows that the layout is chosen for; others are right too
    packed = ops.csr_matmul_pack(*parts, k, batch=batch)
    about = {"out_features": n, "nnz": parts[2].numel(), "batch": batch}
    calls = (
        lambda x: ops.csr_matmul(*parts, x, bias=bias),
        lambda x: ops.csr_matmul_packed(x, packed, bias, **about),
    )
    return sparse_product(kind, calls, a, b, bias)


def float_rows(choose: random.Random, m: int, k: int, dtype: torch.dtype) -> Tensor:
    """Rows to quantize: some of small integers, some of very different size."""
    kind = choose.choice(["uniform", "integers", "scaled", "nonfinite"])
    rows = values(choose, (m, k), kind, dtype)
    if kind == "uniform":
        rows = rows * (10.0 ** torch.arange(m).remainder(5).sub(2)).unsqueeze(1).to(dtype)
    return rows


def quantized_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Integers of rows as the contract makes them, less their zero points, and the scales ``[m, 1]``; float64."""
    scale, zero = numpy_quantizer(x.numpy())
    q = numpy_quantized(x.numpy(), scale, zero)
    return torch.from_numpy((q - zero[:, None]).astype("float64")), torch.from_numpy(scale).double()[:, None]


def rows_of(x: Tensor, result: Tensor) -> Tensor:
    """A result of quantized rows, where one that is not finite comes out as NaN."""
    bad = ~x.isfinite().all(1, keepdim=True)
    return result.masked_fill(bad, torch.nan) if bad.any() else result


def int8_gemm(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    m, n, k = sizes(choose, size, 3)
    b = laid(integers((n, k), torch.int8, choose.getrandbits(32)), choose.choice(LAYOUTS[:4]))
    if dtype.is_floating_point:
        return int8_of_floats(choose, float_rows(choose, m, k, dtype), b)
    a = integers((m, k), dtype, choose.getrandbits(32))
    if choose.random() < 0.2:  # the ends of the ranges
        a, b = torch.full_like(a, torch.iinfo(dtype).max), torch.full_like(b, -128)
    zero = torch.tensor([choose.randint(0, 127)], dtype=torch.int32) if choose.random() < 0.5 else None
    packed = ops.int8_gemm_pack(b)
    calls = (
        lambda x: ops.int8_gemm(x, b, a_zero_point=zero),
        lambda x: ops.int8_gemm_packed(x, packed, n=n, a_zero_point=zero),
    )

    def exact(x: Tensor) -> tuple[Tensor, Bound]:  # float64 holds these sums
        return (x.double() - (0 if zero is None else zero)) @ b.double().mT, 0.0

    return Problem(a, calls, exact, like=torch.int32)


def int8_of_floats(choose: random.Random, a: Tensor, b: Tensor) -> Problem:
    """Rows that the kernel quantizes, scales and a bias."""
    n = b.shape[0]
    column = values(choose, (n,), "uniform", torch.float32) + 1.5
    bias = values(choose, (n,), "uniform", torch.float32) if choose.random() < 0.5 else None
    packed = ops.int8_gemm_pack(b)
    calls = (
        lambda x: ops.int8_gemm(x, b, None, column, bias=bias),
        lambda x: ops.int8_gemm_packed(x, packed, None, column, n=n, bias=bias),
    )
    return Problem(a, calls, lambda x: scaled_sums(x, b, column, bias), like=a.dtype)


def scaled_sums(x: Tensor, b: Tensor, column: Tensor, bias: Tensor | None) -> tuple[Tensor, Bound]:
    """``x``, quantized by rows, times integers ``b`` and their scales. Rounded: the sum, two scales, their product
    with it, the addition."""
    q, scale = quantized_rows(finite(x).float())
    result = q @ b.double().mT * scale * column.double()
    shift = 0 if bias is None else bias.double()
    return rows_of(x, result + shift), 4 * EPS / 2 * (result.abs() + (0 if bias is None else shift.abs()))


def few_bits(
    a: Tensor, calls: tuple[Call, ...], oracle: Any, weight: tuple[Tensor, ...], group: int, bias: Any = None
) -> Problem:
    """Quantized rows times a weight of few bits.

    As in the tests of these ops: sums of rows and of groups, once a group each; the zero point, the scale of the row,
    the bias.
    """
    roundings = 2 * weight[-1].shape[1] + 4
    shift = torch.zeros(()) if bias is None else bias.double()

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        want, terms = oracle(finite(x).float(), *weight, group)
        terms = torch.from_numpy(terms) + shift.abs()
        return rows_of(x, torch.from_numpy(want) + shift), roundings * EPS / 2 * terms

    return Problem(a, calls, exact, like=a.dtype)


def _few_bits_op(choose: random.Random, size: str, dtype: torch.dtype, name: str) -> Problem:
    m, n, k = sizes(choose, size, 3)
    group, seed = choose.choice([32, 64, 128]), choose.getrandbits(32)
    a = float_rows(choose, m, k, dtype)
    bias = values(choose, (n,), "uniform", torch.float32) if choose.random() < 0.5 else None
    about: dict[str, Any] = {"n": n, "group": group, "bias": bias}
    if name == "int4":
        weight, oracle = int4_weights(n, k, group, seed), int4_exact
        op, pack, packed_op = ops.int4_gemm, ops.int4_gemm_pack, ops.int4_gemm_packed
    else:
        about["bits"] = choose.choice([2, 4])
        weight, oracle = codebook_weights(n, k, group, about["bits"], seed), codebook_exact
        op, pack, packed_op = ops.codebook_gemm, ops.codebook_gemm_pack, ops.codebook_gemm_packed
    packed = pack(*weight, group=group)
    calls = (
        lambda x: op(x, *weight, group=group, bias=bias),
        lambda x: packed_op(x, packed, **about),
    )
    return few_bits(a, calls, oracle, weight, group, bias)


def int4_gemm(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    return _few_bits_op(choose, size, dtype, "int4")


def codebook_gemm(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    return _few_bits_op(choose, size, dtype, "codebook")


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "sgemm": (sgemm, FLOATS),
    "matmul": (matmul, FLOATS),
    "strassen_gemm": (strassen_gemm, FLOATS),
    "half_gemm": (half_gemm, ("float16", "bfloat16")),
    "csr_matmul": (csr_matmul, FLOATS),
    "int8_gemm": (int8_gemm, ("uint8", "int8", *HALVES)),
    "int4_gemm": (int4_gemm, HALVES),
    "codebook_gemm": (codebook_gemm, HALVES),
}
