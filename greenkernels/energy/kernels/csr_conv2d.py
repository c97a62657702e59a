"""Counts of the csr_conv2d kernel: what `csrc/cpu/csr_conv2d.cpp` really computes.

A nonzero costs 2 operations for each output pixel of an image, pixels rounded up to 16; the bias, be it zero, is one
more for each output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...ops import _library
from ...ops.csr_conv2d_op import CONV_BATCH
from ...ops.csr_packing import layout, packed_bytes
from ..conv_maps import conv_maps
from ..counts import Counts, Uncounted, dtype_name, tensor_bytes
from ..ops import Op, op_rule
from ..reuse import Stream, strips

if TYPE_CHECKING:
    from ...nn import SparseConv2d

LANES = 16  # pixels that one step multiplies, exist they or not


def flops_of(out: Sequence[int], nnz: int) -> int:
    """Operations of a call with an output of this shape."""
    pixels = -(-out[2] * out[3] // LANES) * LANES
    return out[0] * 2 * nnz * pixels + math.prod(out)


def streams_of(out: Sequence[int], depth: int, nnz: int) -> tuple[Stream, ...]:
    """Strips of gathered pixels of each image, past each of which the packed filter streams."""
    weight = packed_bytes(out[1], depth, nnz, CONV_BATCH, 4)
    tiles = -(-out[1] // max(1, layout(out[1], depth, nnz, CONV_BATCH).row_tile))
    each = strips(out[2] * out[3], depth * 4, weight, tiles)
    if out[0] == 1 or not each:
        return each
    return (*(s._replace(bytes=s.bytes * out[0]) for s in each), Stream(weight, out[0], weight))


def count_module(module: SparseConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's convolution is not counted.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    weight = torch.empty(module._dense_shape(), device="meta")
    (shape,), output = conv_maps(module, weight, input_shapes)
    out = output.shape
    nnz, element = module.values.numel(), module.values.element_size()
    packed = packed_bytes(module.out_channels, weight[0].numel(), nnz, CONV_BATCH, 4)
    weights = packed + tensor_bytes(module.bias)
    read = math.prod(shape) * element + weights
    if dtype_name(module.values.dtype) == "float64":
        raise Uncounted("float64 runs torch's convolution")
    streams = streams_of(out, weight[0].numel(), nnz)
    return Counts(flops_of(out, nnz), read, math.prod(out) * element, weights, "float32", streams)


@op_rule("greenkernels::csr_conv2d_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the dense convolution that plain torch runs."""
    names, out = op.arguments, tuple(op.outputs[0].shape)
    if not _library.compiled("csr_conv2d_packed", names["input"]):
        depth = names["input"].shape[1] * math.prod(names["kernel_size"])
        return op.work(op.elements * (2 * depth + (names["bias"] is not None)))
    depth = names["input"].shape[1] * math.prod(names["kernel_size"])
    work = op.work(flops_of(out, names["nnz"]))
    return replace(work, dtype="float32", streams=streams_of(out, depth, names["nnz"]))
