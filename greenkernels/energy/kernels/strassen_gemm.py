"""Counts of the sgemm and strassen_gemm kernels: what `csrc/cpu/sgemm` and `csrc/cpu/strassen_gemm` really compute.

A product of [m, k] and [n, k] costs 2 m n k operations, n rounded up to 16; sums start from the bias, which costs none.
With levels of Strassen's algorithm there are 7^levels of products of blocks, and a block's sum costs an addition for
each term but the first, on the side of the activations, and of the weight unless it is packed; results are added to
the output by the multiply-adds that carry their sign, 2 operations for each block after the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ...ops.gemm_packing import padded_columns
from ...ops.strassen_levels import choose_levels
from ...ops.strassen_packing import block, packed_size
from .. import reuse
from ..counts import Counts, Uncounted, dtype_name, tensor_bytes
from ..layer_rules.pointwise import FUSED
from ..ops import Op, op_rule
from ..reuse import Stream

if TYPE_CHECKING:
    from ...nn import StrassenLinear

TERMS = 12  # blocks in the seven sums of a level, on each side of the product, and of its results


def product_flops(m: int, n: int, k: int, levels: int = 0, packed: bool = True) -> int:
    """Operations of one product without its epilogue."""
    rows, columns, depth = (block(size, levels) for size in (m, n, k))
    products = 7**levels
    flops = products * 2 * rows * padded_columns(columns) * depth
    sums = TERMS**levels - products  # additions of blocks
    flops += sums * (rows * depth + (0 if packed else columns * depth))
    return flops + 2 * (TERMS**levels - 4**levels) * rows * columns if levels else flops


def streams_of(m: int, n: int, k: int, levels: int, size: int) -> tuple[Stream, ...]:
    """Those of the products of blocks, and of the operands and the output, which every level passes over 3 times."""
    blocks = [block(size_, levels) for size_ in (m, n, k)]
    found = [s._replace(bytes=s.bytes * 7**levels) for s in reuse.product(*blocks, size)]
    packed_rows = min(blocks[0], reuse.ROWS) * min(blocks[2], reuse.DEPTH) * size
    found.append(Stream(packed_rows, 2, packed_rows, scratch=True))
    passes = (TERMS // 4) ** levels
    whole = (m * k + m * n) * size
    return (*found, Stream(m * k * size, passes, whole), Stream(m * n * size, passes, whole))


def count_module(module: StrassenLinear, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's product is not counted by this.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    (shape,) = (tuple(shape) for shape in input_shapes)
    if not shape or shape[-1] != module.in_features:
        raise Uncounted(f"input must be [..., {module.in_features}], got {list(shape)}")
    m, n, k = math.prod(shape[:-1]), module.out_features, module.in_features
    dtype, element = dtype_name(module.weight.dtype), module.weight.element_size()
    levels = module.levels
    if levels == "auto":
        levels = choose_levels(m, n, k, module.weight.dtype, module.weight.device)
    is_packed = module.levels != "auto" or levels == 0
    flops = product_flops(m, n, k, levels, is_packed) + m * n * FUSED.get(module.activation, 0)
    stored = packed_size(n, k, levels) if is_packed else n * k
    weights = stored * (8 if dtype == "float64" else 4) + tensor_bytes(module.bias)
    compute = "float64" if dtype == "float64" else "float32"
    streams = streams_of(m, n, k, levels, 8 if dtype == "float64" else 4)
    return Counts(flops, m * k * element + weights, m * n * element, weights, compute, streams)


def _work(op: Op, flops: int) -> Counts:
    return replace(op.work(flops), dtype="float64" if op.dtype == "float64" else "float32")


@op_rule("greenkernels::sgemm", "greenkernels::sgemm_packed")
def count_sgemm(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else torch's product."""
    return _count(op, 0)


@op_rule("greenkernels::strassen_gemm", "greenkernels::strassen_gemm_packed")
def count_strassen(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else torch's product."""
    return _count(op, op.arguments["levels"])


def _count(op: Op, levels: int) -> Counts:
    names = op.arguments
    (m, k), n = names["a"].shape, op.outputs[0].shape[1]
    epilogue = FUSED.get(names["activation"], 0)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["a"]):
        return op.work(op.elements * (2 * k + (names["bias"] is not None) + epilogue))
    work = _work(op, product_flops(m, n, k, levels, "packed" in names) + op.elements * epilogue)
    return replace(work, streams=streams_of(m, n, k, levels, 8 if work.dtype == "float64" else 4))


@op_rule("greenkernels::sgemm_batched")
def count_batched(op: Op) -> Counts:
    """A product for each item."""
    items, m, k = op.arguments["a"].shape
    n = op.outputs[0].shape[2]
    if not _library.compiled("sgemm_batched", op.arguments["a"]):
        return op.work(op.elements * 2 * k)
    return _work(op, items * product_flops(m, n, k))


@op_rule("greenkernels::sgemm_pack")
def count_sgemm_pack(op: Op) -> Counts:
    """A copy in another order: no operations."""
    return op.work(0)


@op_rule("greenkernels::strassen_gemm_pack")
def count_strassen_pack(op: Op) -> Counts:
    """The sums of blocks of the weight."""
    levels = op.arguments["levels"]
    n, k = (block(size, levels) for size in op.arguments["b"].shape)
    return op.work((TERMS**levels - 7**levels) * n * k)
