"""Counts of the int8_conv2d kernel: what `csrc/cpu/int8_conv2d` really computes.

Every output pixel costs 2 operations a product in 8 bits, for the output channels of each group rounded up to a panel
of 32; of a depthwise filter for all channels, with the rows of the filter rounded up to 4. Products with a padding are
computed. The float side is not counted among them, as in int8_gemm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...ops import _library
from ...ops.int8_packing import PANEL, depthwise_depth, is_depthwise, packed_filter_bytes
from ..conv_maps import conv_maps
from ..counts import Counts, tensor_bytes
from ..ops import Op, op_rule
from ..reuse import Stream, streamed_weight

if TYPE_CHECKING:
    from ...nn import Int8Conv2d


DEPTH = 64  # products that a gathered row is rounded up to
TAPS = 16  # of a tile of Winograd's F(2x2, 3x3)


def packed_groups(filter_shape: Sequence[int], groups: int) -> tuple[int, int]:
    """Groups of the filter ``[out_c, group_in_c, kernel_h, kernel_w]`` as it is packed, and products of a sum."""
    out_c, group_in_c, *kernel = filter_shape
    if is_depthwise(out_c, group_in_c, kernel, groups):
        return 1, depthwise_depth(kernel)
    return groups, math.prod(filter_shape[1:])


def product_flops(pixels: int, out_c: int, groups: int, depth: int) -> int:
    """Operations of the sums, channels of each group rounded up to a panel."""
    return 2 * pixels * groups * (-(-(out_c // groups) // PANEL) * PANEL) * depth


def streams_of(pixels: int, out_c: int, groups: int, depth: int) -> tuple[Stream, ...]:
    """Pixels are gathered in groups, depth rounded up to 64, and the packed filter streams past them."""
    packed = packed_filter_bytes(out_c, depth, (1, 1), groups)
    panels = groups * -(-(out_c // groups) // PANEL)
    return streamed_weight(pixels, groups * -(-depth // DEPTH) * DEPTH, packed, panels)


def count_module(module: Int8Conv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers, on a float32 input; a fallback is not counted by this.

    Args:
        input_shapes: of ``input`` and, if the call has one, of ``skip``.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    weight = torch.empty(module._weight_shape(), device="meta")
    maps, out = conv_maps(module, weight, input_shapes)
    pixels = out.numel() // max(1, module.out_channels)
    groups, depth = packed_groups(weight.shape, module.groups)
    vectors = (module.packed, module.weight_scale, module.bias, module.activation_param)
    weights = sum(tensor_bytes(v) for v in vectors)
    sizes = (pixels, module.out_channels, groups, depth)
    if module.tile is not None:
        return count_tiles(module, maps, out.shape)
    read, element = 4 * sum(map(math.prod, maps)) + weights, 4 if module.out_scale is None else 1
    written = element * out.numel()
    streams = streams_of(*sizes) if groups == module.groups else ()  # a depthwise filter stays in L1
    return Counts(product_flops(*sizes), read, written, weights, "int8", streams)


def tile_sizes(out_shape: Sequence[int], in_c: int) -> tuple[int, int, int, int]:
    """Of the 16 products of Winograd's tiles as `product_flops` has them: a tile is a pixel of each of 16 groups."""
    batch, out_c, out_h, out_w = out_shape
    return batch * -(-out_h // 2) * -(-out_w // 2), TAPS * out_c, TAPS, in_c


def count_tiles(module: Int8Conv2d, maps: Sequence[Sequence[int]], out_shape: Sequence[int]) -> Counts:
    """Counts of a call with ``tile=2``; the transforms are of the float side."""
    sizes = tile_sizes(out_shape, module.in_channels)
    weights = sum(
        tensor_bytes(v) for v in (module.taps, module.tap_scale, module.bias, module.activation_param)
    )
    read = 4 * sum(map(math.prod, maps)) + weights
    return Counts(product_flops(*sizes), read, 4 * math.prod(out_shape), weights, "int8", streams_of(*sizes))


@op_rule("greenkernels::int8_winograd_conv2d_packed")
def count_tiles_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the float64 products that plain torch runs."""
    x, out = op.arguments["input"], op.outputs[0]
    sizes = tile_sizes(out.shape, x.shape[1])
    if not _library.compiled("int8_winograd_conv2d_packed", x):
        return replace(op.work(2 * TAPS * sizes[0] * x.shape[1] * out.shape[1]), dtype="float64")
    return replace(op.work(product_flops(*sizes)), dtype="int8", streams=streams_of(*sizes))


@op_rule("greenkernels::int8_conv2d", "greenkernels::int8_conv2d_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the float64 convolution that plain torch runs."""
    names = op.arguments
    groups, in_c, out_c = names["groups"], names["input"].shape[1], op.outputs[0].shape[1]
    kernel = names["kernel_size"] if "kernel_size" in names else names["weight"].shape[2:]
    depth, pixels = in_c // groups * math.prod(kernel), op.elements // max(1, out_c)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["input"]):
        return replace(op.work(2 * op.elements * depth), dtype="float64")
    packed, depth = packed_groups((out_c, in_c // groups, *kernel), groups)
    sizes = (pixels, out_c, packed, depth)
    streams = streams_of(*sizes) if packed == groups else ()
    return replace(op.work(product_flops(*sizes)), dtype="int8", streams=streams)


@op_rule("greenkernels::int8_conv2d_pack")
def count_pack(op: Op) -> Counts:
    """The sums of the rows; the rest is a copy in another order."""
    return replace(op.work(op.arguments["weight"].numel()), dtype="int8")
