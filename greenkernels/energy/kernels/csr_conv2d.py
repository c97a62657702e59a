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
from ...ops.csr_packing import packed_bytes
from ..counts import Counts, Uncounted, dtype_name, tensor_bytes
from ..ops import Op, op_rule

if TYPE_CHECKING:
    from ...nn import SparseConv2d

LANES = 16  # pixels that one step multiplies, exist they or not


def flops_of(out: Sequence[int], nnz: int) -> int:
    """Operations of a call with an output of this shape."""
    pixels = -(-out[2] * out[3] // LANES) * LANES
    return out[0] * 2 * nnz * pixels + math.prod(out)


def count_module(module: SparseConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's convolution is not counted.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    (shape,) = (tuple(shape) for shape in input_shapes)
    shape = (1, *shape) if len(shape) == 3 else shape
    if len(shape) != 4 or shape[1] != module.in_channels:
        raise Uncounted(f"input must be [batch, {module.in_channels}, h, w], got {list(shape)}")
    weight = torch.empty(module._dense_shape(), device="meta")
    try:
        out = module._conv_forward(weight.new_empty(shape), weight, None).shape
    except RuntimeError as error:
        raise Uncounted(str(error).splitlines()[0]) from error
    nnz, element = module.values.numel(), module.values.element_size()
    packed = packed_bytes(module.out_channels, weight[0].numel(), nnz, CONV_BATCH, 4)
    weights = packed + tensor_bytes(module.bias)
    read = math.prod(shape) * element + weights
    if dtype_name(module.values.dtype) == "float64":
        raise Uncounted("float64 runs torch's convolution")
    return Counts(flops_of(out, nnz), read, math.prod(out) * element, weights, "float32")


@op_rule("greenkernels::csr_conv2d_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the dense convolution that plain torch runs."""
    names, out = op.arguments, tuple(op.outputs[0].shape)
    if not _library.compiled("csr_conv2d_packed", names["input"]):
        depth = names["input"].shape[1] * math.prod(names["kernel_size"])
        return op.work(op.elements * (2 * depth + (names["bias"] is not None)))
    return replace(op.work(flops_of(out, names["nnz"])), dtype="float32")
