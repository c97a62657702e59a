"""Counts of the codebook_gemm kernel: what `csrc/cpu/codebook_gemm` really computes.

Every output costs 2 operations a product of 8-bit integers, which is what the instructions multiply once the table was
read; output columns are computed in panels of 32 and the depth in whole groups, exist they or not. Reading the table
and the float side are not counted among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ...ops.codebook_packing import PANEL, bits_of, group_count, packed_bytes
from ..counts import Counts, Uncounted, tensor_bytes
from ..ops import Op, op_rule
from ..reuse import Stream
from .int4_gemm import product_flops

if TYPE_CHECKING:
    from ...nn import CodebookLinear


def streams_of(m: int, n: int, k: int, group: int, bits: int) -> tuple[Stream, ...]:
    """All rows are quantized first; each panel of the weight then passes them."""
    rows, panels = m * group_count(k, group) * group, -(-n // PANEL)
    return (Stream(rows, 1 + panels, rows + packed_bytes(PANEL, k, group, bits), scratch=True),)


def count_module(module: CodebookLinear, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers, on a float32 input; a fallback is not counted by this.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    (shape,) = input_shapes
    if not shape or shape[-1] != module.in_features:
        raise Uncounted(f"input must be [..., {module.in_features}], got {list(shape)}")
    m, n, k = math.prod(shape[:-1]), module.out_features, module.in_features
    weights = packed_bytes(n, k, module.group, module.bits)
    weights += sum(tensor_bytes(v) for v in (module.bias, module.activation_param))
    streams = streams_of(m, n, k, module.group, module.bits)
    flops = product_flops(m, n, k, module.group)
    return Counts(flops, 4 * m * k + weights, 4 * m * n, weights, "int8", streams)


@op_rule("greenkernels::codebook_gemm", "greenkernels::codebook_gemm_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the float64 product that plain torch runs."""
    names = op.arguments
    n, k, group = op.outputs[0].shape[-1], names["a"].shape[-1], names["group"]
    m = op.elements // max(1, n)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["a"]):
        return replace(op.work(2 * m * n * k), dtype="float64")
    bits = names["bits"] if "bits" in names else bits_of(names["table"])
    work = op.work(product_flops(m, n, k, group))
    return replace(work, dtype="int8", streams=streams_of(m, n, k, group, bits))


@op_rule("greenkernels::codebook_gemm_pack")
def count_pack(op: Op) -> Counts:
    """The sums of the rows; the rest is a copy in another order."""
    return replace(op.work(op.arguments["b"].numel()), dtype="int8")
