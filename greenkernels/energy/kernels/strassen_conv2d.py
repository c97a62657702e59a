"""Counts of the strassen_conv2d kernel: one product of sgemm or strassen_gemm, a row for every pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ...ops.strassen_packing import packed_size
from ..conv_maps import conv_maps
from ..counts import Counts, dtype_name, tensor_bytes
from ..layer_rules.pointwise import FUSED
from ..ops import Op, op_rule
from .strassen_gemm import TERMS, block, product_flops, streams_of

if TYPE_CHECKING:
    from ...nn import StrassenConv2d


def _epilogue(activation: str | None, skip: bool) -> int:
    return FUSED.get(activation, 0) + (2 if skip else 0)  # skip_scale * skip is a multiply-add


def count_module(module: StrassenConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's convolution is not counted by this.

    Args:
        input_shapes: of ``input`` and, if the call has one, of ``skip``.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    maps, out = conv_maps(module, module.weight, input_shapes)
    n, k = module.out_channels, module.in_channels
    pixels = out.numel() // max(1, n)
    dtype, element = dtype_name(module.weight.dtype), module.weight.element_size()
    compute, size = ("float64", 8) if dtype == "float64" else ("float32", 4)
    weights = packed_size(n, k, module.levels) * size
    weights += sum(tensor_bytes(v) for v in (module.bias, module.activation_param))
    flops = product_flops(pixels, n, k, module.levels)
    flops += out.numel() * _epilogue(module.activation, bool(maps[1:]))
    streams = streams_of(pixels, n, k, module.levels, size)
    read = sum(map(math.prod, maps)) * element + weights
    return Counts(flops, read, out.numel() * element, weights, compute, streams)


@op_rule("greenkernels::strassen_conv2d", "greenkernels::strassen_conv2d_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the convolution that plain torch runs."""
    names = op.arguments
    n, k, levels = op.outputs[0].shape[1], names["input"].shape[1], names["levels"]
    epilogue = _epilogue(names["activation"], names["skip"] is not None)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["input"]):
        return op.work(op.elements * (2 * k + (names["bias"] is not None) + epilogue))
    pixels = op.elements // max(1, n)
    compute, size = ("float64", 8) if op.dtype == "float64" else ("float32", 4)
    flops = product_flops(pixels, n, k, levels, "packed" in names) + op.elements * epilogue
    return replace(op.work(flops), dtype=compute, streams=streams_of(pixels, n, k, levels, size))


@op_rule("greenkernels::strassen_conv2d_pack")
def count_pack(op: Op) -> Counts:
    """The sums of blocks of the weight."""
    levels = op.arguments["levels"]
    n, k = (block(size, levels) for size in op.arguments["weight"].shape[:2])
    return op.work((TERMS**levels - 7**levels) * n * k)
