"""Counts of the direct_conv2d kernel: what `csrc/cpu/direct_conv2d` really computes.

Every output pixel costs 2 operations a product, for the output channels of each group rounded up to 16; the sums start
from the bias, which costs none. Products with the zeros of a padding are computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ..conv_maps import conv_maps
from ..counts import Counts, dtype_name, tensor_bytes
from ..layer_rules.pointwise import FUSED
from ..ops import Op, op_rule
from ..reuse import Stream, streamed_weight

if TYPE_CHECKING:
    from ...nn import DirectConv2d

LANES = 16  # output channels of half a panel, exist they or not
PANEL = 32  # output channels of a panel of the packed weight


def computed_channels(out_c: int, groups: int) -> int:
    """Output channels that the kernel computes: those of each group rounded up."""
    return groups * -(-(out_c // groups) // LANES) * LANES


def streams_of(pixels: int, depth: int, out_c: int, groups: int, size: int) -> tuple[Stream, ...]:
    """Pixels are gathered in groups, depth rounded up to 16, and the packed weight streams past them."""
    weight = depth * computed_channels(out_c, groups) * size
    panels = groups * -(-(out_c // groups) // PANEL)
    return streamed_weight(pixels, groups * -(-depth // LANES) * LANES * size, weight, panels)


def count_module(module: DirectConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's convolution is not counted by this.

    Args:
        input_shapes: of ``input`` and, if the call has one, of ``skip``.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    maps, out = conv_maps(module, module.weight, input_shapes)
    weight = module.weight
    pixels, depth = out.numel() // max(1, module.out_channels), weight[0].numel()
    channels = computed_channels(module.out_channels, module.groups)
    epilogue = FUSED.get(module.activation, 0) + (2 if maps[1:] else 0)  # skip_scale * skip is a multiply-add
    dtype, element = dtype_name(weight.dtype), weight.element_size()
    packed = depth * channels * (8 if dtype == "float64" else 4)
    weights = packed + sum(tensor_bytes(v) for v in (module.bias, module.activation_param))
    flops = pixels * 2 * depth * channels + out.numel() * epilogue
    compute = "float64" if dtype == "float64" else "float32"
    streams = streams_of(pixels, depth, module.out_channels, module.groups, 8 if compute == "float64" else 4)
    return Counts(
        flops, sum(map(math.prod, maps)) * element + weights, out.numel() * element, weights, compute, streams
    )


@op_rule("greenkernels::direct_conv2d", "greenkernels::direct_conv2d_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the direct convolution that plain torch runs."""
    names = op.arguments
    groups, in_c, out_c = names["groups"], names["input"].shape[1], op.outputs[0].shape[1]
    kernel = names["kernel_size"] if "kernel_size" in names else names["weight"].shape[2:]
    depth = in_c // groups * math.prod(kernel)
    epilogue = FUSED.get(names["activation"], 0) + (2 if names["skip"] is not None else 0)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["input"]):
        return op.work(op.elements * (2 * depth + (names["bias"] is not None) + epilogue))
    pixels = op.elements // max(1, out_c)
    work = op.work(pixels * 2 * depth * computed_channels(out_c, groups) + op.elements * epilogue)
    double = op.dtype == "float64"
    streams = streams_of(pixels, depth, out_c, groups, 8 if double else 4)
    return replace(work, dtype="float64" if double else "float32", streams=streams)


@op_rule("greenkernels::direct_conv2d_pack")
def count_pack(op: Op) -> Counts:
    """A copy in another order: no operations."""
    return op.work(0)
