"""Counts of the half_gemm kernel: what `csrc/cpu/half_gemm` really computes.

Every output costs 2 float32 operations a product; output columns are computed in panels of 32, exist they or not.
Widening is not counted among them. Of the weight 2 bytes an element are read; from more rows on than a block has,
panels are widened into cache once and read from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ...ops.half_packing import PANEL, packed_elements
from ..counts import Counts, Uncounted, tensor_bytes
from ..ops import Op, op_rule
from ..reuse import Stream

if TYPE_CHECKING:
    from ...nn import HalfLinear


def product_flops(m: int, n: int, k: int) -> int:
    """Operations of the sums, columns rounded up to a panel."""
    return 2 * m * (-(-n // PANEL) * PANEL) * k


def streams_of(m: int, n: int, k: int) -> tuple[Stream, ...]:
    """Each panel of the weight passes all rows."""
    panels = -(-n // PANEL)
    return (Stream(4 * m * k, panels, 4 * m * k + 2 * packed_elements(PANEL, k)),)


def count_module(module: HalfLinear, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers, on a float32 input; a fallback is not counted by this.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    (shape,) = input_shapes
    if not shape or shape[-1] != module.in_features:
        raise Uncounted(f"input must be [..., {module.in_features}], got {list(shape)}")
    m, n, k = math.prod(shape[:-1]), module.out_features, module.in_features
    weights = sum(tensor_bytes(v) for v in (module.packed, module.bias, module.activation_param))
    flops = product_flops(m, n, k)
    return Counts(flops, 4 * m * k + weights, 4 * m * n, weights, "float32", streams_of(m, n, k))


@op_rule("greenkernels::half_gemm", "greenkernels::half_gemm_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the product that plain torch runs."""
    n, k = op.outputs[0].shape[-1], op.arguments["a"].shape[-1]
    m = op.elements // max(1, n)
    if not _library.compiled(op.func._schema.name.partition("::")[2], op.arguments["a"]):
        return replace(op.work(2 * m * n * k), dtype="float32")
    work = op.work(product_flops(m, n, k))
    return replace(work, dtype="float32", streams=streams_of(m, n, k))


@op_rule("greenkernels::half_gemm_pack")
def count_pack(op: Op) -> Counts:
    """A copy in another order."""
    return op.work(0)
