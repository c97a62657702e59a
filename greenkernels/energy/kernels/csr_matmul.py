"""Counts of the csr_matmul kernel: what `csrc/cpu/csr_matmul` really computes.

A nonzero costs 2 operations for each row of x; from 3 rows on they are rounded up to 16. The bias, be it zero, is one
more for each output. Sums that a row keeps side by side are added up once a block of columns, which is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...ops import _library
from ...ops.csr_packing import layout, layout_batch, packed_bytes
from ..counts import Counts, Uncounted, dtype_name, tensor_bytes
from ..ops import Op, op_rule
from ..reuse import Stream, strips

if TYPE_CHECKING:
    from ...nn import SparseLinear

LANES = 16  # rows of x that one step multiplies, exist they or not


def flops_of(rows: int, shape: tuple[int, int], nnz: int, batch: int) -> int:
    """Operations of a product of ``rows`` rows of x with a weight ``[n, k]`` that was packed for ``batch`` of them."""
    gathers = layout(*shape, nnz, batch).k_block == 0
    computed = rows if gathers else -(-rows // LANES) * LANES
    return 2 * nnz * computed + rows * shape[0]


def streams_of(rows: int, shape: tuple[int, int], nnz: int, batch: int, size: int) -> tuple[Stream, ...]:
    """Strips of x, past each of which the packed weight streams; a few rows are gathered without any."""
    n, k = shape
    found = layout(n, k, nnz, batch)
    if found.k_block == 0:
        return ()
    return strips(rows, k * size, packed_bytes(n, k, nnz, batch, size), -(-n // max(1, found.row_tile)))


def count_module(module: SparseLinear, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's product is not counted.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    (shape,) = (tuple(shape) for shape in input_shapes)
    n, k, nnz = module.out_features, module.in_features, module.values.numel()
    if not shape or shape[-1] != k:
        raise Uncounted(f"input must be [..., {k}], got {list(shape)}")
    rows, element = math.prod(shape[:-1]), module.values.element_size()
    batch, dtype = layout_batch(rows, k), dtype_name(module.values.dtype)
    compute = "float64" if dtype == "float64" else "float32"
    packed = packed_bytes(n, k, nnz, batch, 8 if compute == "float64" else 4)
    weights = packed + tensor_bytes(module.bias)
    flops = flops_of(rows, (n, k), nnz, batch)
    streams = streams_of(rows, (n, k), nnz, batch, 8 if compute == "float64" else 4)
    return Counts(flops, rows * k * element + weights, rows * n * element, weights, compute, streams)


def _work(op: Op, rows: int, shape: tuple[int, int], nnz: int, batch: int) -> Counts:
    double = op.dtype == "float64"
    streams = streams_of(rows, shape, nnz, batch, 8 if double else 4)
    work = op.work(flops_of(rows, shape, nnz, batch))
    return replace(work, dtype="float64" if double else "float32", streams=streams)


def _rows(x: torch.Tensor) -> int:
    return math.prod(x.shape[:-1])


@op_rule("greenkernels::csr_matmul_packed")
def count_packed(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the products that plain torch gathers."""
    names = op.arguments
    shape = names["out_features"], names["x"].shape[-1]
    rows, nnz = _rows(names["x"]), names["nnz"]
    if not _library.compiled("csr_matmul_packed", names["x"]):
        return op.work(2 * nnz * rows + (names["bias"] is not None) * op.elements)
    return _work(op, rows, shape, nnz, names["batch"])


@op_rule("greenkernels::csr_matmul")
def count_call(op: Op) -> Counts:
    """As packed; the packing moves values and computes nothing."""
    names = op.arguments
    rows, nnz = _rows(names["x"]), names["values"].numel()
    if not _library.compiled("csr_matmul", names["x"]):
        return op.work(2 * nnz * rows + (names["bias"] is not None) * op.elements)
    shape = names["crow_indices"].numel() - 1, names["x"].shape[-1]
    return _work(op, rows, shape, nnz, rows)


@op_rule("greenkernels::csr_matmul_values_grad")
def count_values_grad(op: Op) -> Counts:
    """A dot product of as many terms as x has rows for each nonzero."""
    return op.work(2 * op.elements * -(-_rows(op.arguments["x"]) // LANES) * LANES)


@op_rule(
    "greenkernels::csr_matmul_pack", "greenkernels::csr_matmul_transpose", "greenkernels::csr_matmul_unpack"
)
def count_order(op: Op) -> Counts:
    """Copies in another order: no operations."""
    return op.work(0)
