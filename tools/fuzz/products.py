"""Cases of the matrix products: each function draws one and gives the call with what it must compute."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from inputs import KINDS, LAYOUTS, Case, finite, laid, rounding_bound, sizes, values
from int8_cases import EPS, integers, numpy_sums
from test_codebook_gemm import exact as codebook_exact
from test_codebook_gemm import weights as codebook_weights
from test_int4_gemm import exact as int4_exact
from test_int4_gemm import weights as int4_weights
from torch import Tensor

from greenkernels import ops

FLOATS = ("float32", "float16", "bfloat16")
Maker = Callable[[random.Random, str, str, torch.dtype], Case]


def _operands(
    choose: random.Random, size: str, layout: str, dtype: torch.dtype, weight_dtype: torch.dtype | None = None
) -> tuple[str, Tensor, Tensor, Tensor | None]:
    kind = choose.choice(KINDS)
    m, n, k = sizes(choose, size, 3)
    a = laid(values(choose, (m, k), kind, dtype), layout)
    weight_kind = kind if kind in ("integers", "scaled") else "uniform"
    b = laid(values(choose, (n, k), weight_kind, weight_dtype or dtype), choose.choice(LAYOUTS[:4]))
    bias_dtype = torch.float32 if weight_dtype else dtype
    bias = values(choose, (n,), weight_kind, bias_dtype) if choose.random() < 0.5 else None
    return kind, a, b, bias


def _product(
    kind: str, run: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, bias: Tensor | None, growth: float = 0.0
) -> Case:
    """``a @ b^T + bias``; ``growth``, if any: how many times as large as terms of one output rounding may be."""
    shift = 0 if bias is None else bias.double()
    expected = a.double() @ b.double().mT + shift
    terms = finite(a).double().abs() @ b.double().abs().mT + (0 if bias is None else shift.abs())
    if growth and terms.numel():
        terms = growth * terms.max().expand_as(terms)
    exact = kind == "integers"
    least = b.abs().max().item() if b.numel() else 0.0
    bound = 0.0 if exact else rounding_bound(terms, a.shape[1], least, a.dtype)
    return Case(run, a, expected, bound, spreads=bool(growth), like=a.dtype)


def sgemm(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kind, a, b, bias = _operands(choose, size, layout, dtype)
    if choose.random() < 0.5:
        packed = ops.sgemm_pack(b)
        return _product(kind, lambda x: ops.sgemm_packed(x, packed, bias, n=b.shape[0]), a, b, bias)
    return _product(kind, lambda x: ops.sgemm(x, b, bias), a, b, bias)


def matmul(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kind, a, b, _ = _operands(choose, size, layout, dtype)
    return _product(kind, lambda x: ops.matmul(x, b.mT), a, b, None)


def strassen_gemm(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kind, a, b, bias = _operands(choose, size, layout, dtype)
    levels = choose.randint(0, 3)
    growth = 4.0**levels if levels else 0.0
    if choose.random() < 0.5:
        packed = ops.strassen_gemm_pack(b, levels)
        run = lambda x: ops.strassen_gemm_packed(x, packed, bias, n=b.shape[0], levels=levels)  # noqa: E731
    else:
        run = lambda x: ops.strassen_gemm(x, b, bias, levels=levels)  # noqa: E731
    return _product(kind, run, a, b, bias, growth)


def half_gemm(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kind, a, b, bias = _operands(choose, size, layout, torch.float32, dtype)
    if choose.random() < 0.5:
        packed = ops.half_gemm_pack(b)
        return _product(kind, lambda x: ops.half_gemm_packed(x, packed, n=b.shape[0], bias=bias), a, b, bias)
    return _product(kind, lambda x: ops.half_gemm(x, b, bias=bias), a, b, bias)


def csr_matmul(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    kind, a, b, bias = _operands(choose, size, layout, dtype)
    kept = torch.rand(b.shape, generator=torch.Generator().manual_seed(choose.getrandbits(48)))
    b = torch.where(kept < choose.choice([0.0, 0.05, 0.3, 1.0]), b, torch.zeros((), dtype=dtype))
    csr = b.to_sparse_csr()
    parts = csr.crow_indices(), csr.col_indices(), csr.values()
    case = _product(kind, lambda x: ops.csr_matmul(*parts, x, bias=bias), a, b, bias)
    if kind == "nonfinite" and b.numel():  # what is not stored multiplies nothing
        each = torch.where(b != 0, a.double()[:, None] * b.double(), 0.0)
        case.expected = each.sum(2) + (0 if bias is None else bias.double())
        shift = 0 if bias is None else bias.double().abs()
        case.bound = rounding_bound(each.abs().sum(2) + shift, a.shape[1], 1.0, dtype)
    return case


def int8_gemm(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    m, n, k = sizes(choose, size, 3)
    a = laid(integers((m, k), dtype, choose.getrandbits(32)), layout)
    b = laid(integers((n, k), torch.int8, choose.getrandbits(32)), choose.choice(LAYOUTS[:4]))
    if choose.random() < 0.2:  # the ends of the ranges
        a, b = torch.full_like(a, torch.iinfo(dtype).max), torch.full_like(b, -128)
    zero = torch.tensor([choose.randint(0, 127)], dtype=torch.int32) if choose.random() < 0.5 else None
    sums = torch.from_numpy(numpy_sums(a, b, zero))
    if choose.random() < 0.5:
        packed = ops.int8_gemm_pack(b)
        run = lambda x: ops.int8_gemm_packed(x, packed, n=n, a_zero_point=zero)  # noqa: E731
    else:
        run = lambda x: ops.int8_gemm(x, b, a_zero_point=zero)  # noqa: E731
    return Case(run, a, sums, 0.0, like=torch.int32)


def _few_bits(choose: random.Random, size: str, layout: str, name: str) -> Case:
    m, n, k = sizes(choose, size, 3)
    group = choose.choice([32, 64, 128])
    kind = choose.choice(["uniform", "integers"])
    a = laid(values(choose, (m, k), kind, torch.float32), layout)
    seed = choose.getrandbits(32)
    if name == "int4":
        weight = int4_weights(n, k, group, seed)
        (want, terms), op = int4_exact(a, *weight, group), ops.int4_gemm
    else:
        weight = codebook_weights(n, k, group, choose.choice([2, 4]), seed)
        (want, terms), op = codebook_exact(a, *weight, group), ops.codebook_gemm
    # As in their tests: sums of rows and of groups, once a group each; the zero point, the scale of the row.
    bound = (2 * weight[-1].shape[1] + 4) * EPS / 2 * torch.from_numpy(terms)
    return Case(lambda x: op(x, *weight, group=group), a, torch.from_numpy(want), bound)


def int4_gemm(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    return _few_bits(choose, size, layout, "int4")


def codebook_gemm(choose: random.Random, size: str, layout: str, dtype: torch.dtype) -> Case:
    return _few_bits(choose, size, layout, "codebook")


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "sgemm": (sgemm, FLOATS),
    "matmul": (matmul, FLOATS),
    "strassen_gemm": (strassen_gemm, FLOATS),
    "half_gemm": (half_gemm, ("float16", "bfloat16")),
    "csr_matmul": (csr_matmul, ("float32", "float64")),
    "int8_gemm": (int8_gemm, ("uint8", "int8")),
    "int4_gemm": (int4_gemm, ("float32",)),
    "codebook_gemm": (codebook_gemm, ("float32",)),
}
