"""Counts of the int8_gemm kernel: what `csrc/cpu/int8_gemm` really computes.

Every output costs 2 operations a product in 8 bits; output columns are computed in panels of 32, exist they or not. The
float side is not counted among them: operations of two types have two costs, and a product of depth k has k times as
many of the one as of the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ...ops.int8_packing import PANEL, packed_bytes
from ..counts import Counts, Uncounted, tensor_bytes
from ..ops import Op, op_rule
from ..reuse import Stream, streamed_weight

if TYPE_CHECKING:
    from ...nn import Int8Linear

DEPTH = 64  # products that a packed row is rounded up to


def product_flops(m: int, n: int, k: int) -> int:
    """Operations of the sums, columns rounded up to a panel."""
    return 2 * m * (-(-n // PANEL) * PANEL) * k


def streams_of(m: int, n: int, k: int) -> tuple[Stream, ...]:
    """Rows are packed in groups, depth rounded up to 64, and the packed weight streams past them."""
    return streamed_weight(m, -(-k // DEPTH) * DEPTH, packed_bytes(n, k), -(-n // PANEL))


def count_module(module: Int8Linear, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers, on a float32 input; a fallback is not counted by this.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    (shape,) = input_shapes
    if not shape or shape[-1] != module.in_features:
        raise Uncounted(f"input must be [..., {module.in_features}], got {list(shape)}")
    m, n, k = math.prod(shape[:-1]), module.out_features, module.in_features
    vectors = (module.weight_scale, module.bias, module.activation_param)
    weights = packed_bytes(n, k) + sum(tensor_bytes(v) for v in vectors)
    flops, read = product_flops(m, n, k), 4 * m * k + weights
    written = (4 if module.out_scale is None else 1) * m * n
    return Counts(flops, read, written, weights, "int8", streams_of(m, n, k))


@op_rule("greenkernels::int8_gemm", "greenkernels::int8_gemm_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the float64 product that plain torch runs."""
    names = op.arguments
    n, k = op.outputs[0].shape[-1], names["a"].shape[-1]
    m = op.elements // max(1, n)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["a"]):
        return replace(op.work(2 * m * n * k), dtype="float64")
    return replace(op.work(product_flops(m, n, k)), dtype="int8", streams=streams_of(m, n, k))


@op_rule("greenkernels::int8_gemm_pack")
def count_pack(op: Op) -> Counts:
    """The sums of the rows; the rest is a copy in another order."""
    return replace(op.work(op.arguments["b"].numel()), dtype="int8")
