"""Counts of the separable_conv2d kernel: the sums of its layers, without the maps between them.

These stay in scratch memory, so neither their writes nor their reads are counted; rows of the first map that two pieces
compute, where it is cut (`csrc/cpu/separable_conv2d/plan.h`), are counted once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ...ops.direct_conv2d_checks import out_size
from ...ops.separable_conv2d_op import Call, parts
from ..counts import Counts, Uncounted, tensor_bytes
from ..layer_rules.pointwise import FUSED
from ..ops import Op, op_rule
from .direct_conv2d import computed_channels

if TYPE_CHECKING:
    from ...nn import SeparableConv2d
    from ...nn.separable_call import RunsInOneCall


def count_call_of(shape: Sequence[int], call: Call) -> Counts:
    """Counts of a call on an input of this shape, output channels of the 1x1 layers rounded up as their kernel does."""
    batch, in_c, h, w = shape
    hidden, out_c = call.hidden_channels, call.out_channels
    out_h, out_w = out_map(shape, call)
    inputs, outputs = batch * h * w, batch * out_h * out_w  # pixels
    flops = outputs * hidden * (2 * math.prod(call.kernel_size) + FUSED.get(call.depthwise_activation, 0))
    flops += outputs * (2 * hidden * computed_channels(out_c, 1) + out_c * FUSED.get(call.activation, 0))
    if call.expand is not None:
        flops += inputs * 2 * in_c * computed_channels(hidden, 1)
        flops += inputs * hidden * FUSED.get(call.expand_activation, 0)
    skipped = outputs * out_c if call.skip is not None else 0
    weights = sum(tensor_bytes(tensor) for tensor in call[:6])
    read = 4 * (inputs * in_c + skipped) + weights
    return Counts(flops + 2 * skipped, read, 4 * outputs * out_c, weights)


def count_module(module: SeparableConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; the layers one after the other are not counted by this.

    Args:
        input_shapes: of ``input``.

    Raises:
        Uncounted: a shape that the module does not take, or no compiled kernel to pack its weights.
    """
    (shape,) = input_shapes
    return count_block(module, *((shape, shape) if module.residual else (shape,)))


def count_block(module: RunsInOneCall, *input_shapes: Sequence[int]) -> Counts:
    """The same of any module that runs a block in one call; ``input_shapes`` of ``input`` and of ``skip``, if any."""
    shape = tuple(input_shapes[0])
    shape = (1, *shape) if len(shape) == 3 else shape
    expand, depthwise, project = module._layers()
    in_channels = (depthwise if expand is None else expand).in_channels
    if len(shape) != 4 or shape[1] != in_channels:
        raise Uncounted(f"input must be [batch, {in_channels}, h, w], got {list(shape)}")
    arguments = module.packed_arguments()
    if arguments is None:
        raise Uncounted("the layers run one after the other here, each with counts of its own")
    skip = None
    if len(input_shapes) == 2:
        skip = project.weight.new_empty(tuple(input_shapes[1]), device="meta")
    return count_call_of(shape, Call(*arguments, skip, 1.0))


@op_rule("greenkernels::separable_conv2d_packed")
def count_call(op: Op) -> Counts:
    """The operation where its kernel is compiled."""
    if not _library.compiled("separable_conv2d_packed", op.arguments["input"]):
        raise Uncounted("without its kernel this is a chain of other operations")
    call = Call(*(op.arguments[name] for name in Call._fields))
    counts = count_call_of(op.arguments["input"].shape, call)
    return replace(op.work(counts.flops), dtype="float32")


@op_rule("greenkernels::separable_conv2d_blocks")
def count_blocks(op: Op) -> Counts:
    """Its blocks and layers, with the maps between them, where their kernel is compiled."""
    x, names = op.arguments["input"], op.arguments
    if not _library.compiled("separable_conv2d_blocks", x):
        raise Uncounted("without its kernel this is a chain of other operations")
    shape, flops, between = list(x.shape), 0, -4 * op.elements
    for call, adds, is_layer in parts(names["tensors"], names["numbers"]):
        skip = x.new_empty(shape, device="meta") if adds else None
        flops += (
            _layer_flops(shape, call) if is_layer else count_call_of(shape, call._replace(skip=skip)).flops
        )
        shape = [shape[0], call.out_channels, *out_map(shape, call)]
        between += 4 * math.prod(shape)
    work = op.work(flops)
    read, written = work.bytes_read + between, work.bytes_written + between
    return replace(work, bytes_read=read, bytes_written=written, dtype="float32", maps=())


def out_map(shape: Sequence[int], call: Call) -> list[int]:
    """Height and width behind the filter of a block or a layer."""
    extent = [call.dilation[d] * (call.kernel_size[d] - 1) + 1 for d in (0, 1)]
    return [out_size(shape[2 + d], call.padding[d], extent[d], call.stride[d]) for d in (0, 1)]


def _layer_flops(shape: Sequence[int], call: Call) -> int:
    """Of a layer on direct_conv2d, whose groups stand for hidden channels."""
    outputs = shape[0] * math.prod(out_map(shape, call))
    depth = shape[1] // call.hidden_channels * math.prod(call.kernel_size)
    products = 2 * depth * computed_channels(call.out_channels, call.hidden_channels)
    return outputs * (products + call.out_channels * FUSED.get(call.activation, 0))
