"""Counts of the depthwise_conv2d kernel: what `csrc/cpu/depthwise_conv2d` really computes.

Every output value costs 2 operations a tap, be it over a padding or not (in channels_last the kernel leaves most of the
former out); the sums start from the bias, which costs none. Channels up to a full vector cost nothing: lanes are there.
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

if TYPE_CHECKING:
    from ...nn import DepthwiseConv2d

LANES = 16  # channels of the packed weight are rounded up to a multiple of this


def count_module(module: DepthwiseConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's convolution is not counted by this.

    Args:
        input_shapes: of ``input`` and, if the call has one, of ``skip``.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    maps, out = conv_maps(module, module.weight, input_shapes)
    weight = module.weight
    taps = math.prod(module.kernel_size)
    epilogue = FUSED.get(module.activation, 0) + (2 if maps[1:] else 0)  # skip_scale * skip is a multiply-add
    dtype, element = dtype_name(weight.dtype), weight.element_size()
    packed = taps * -(-module.out_channels // LANES) * LANES * (8 if dtype == "float64" else 4)
    weights = packed + sum(tensor_bytes(v) for v in (module.bias, module.activation_param))
    flops = out.numel() * (2 * taps + epilogue)
    compute = "float64" if dtype == "float64" else "float32"
    return Counts(
        flops, sum(map(math.prod, maps)) * element + weights, out.numel() * element, weights, compute
    )


@op_rule("greenkernels::depthwise_conv2d", "greenkernels::depthwise_conv2d_packed")
def count_call(op: Op) -> Counts:
    """The operation: the kernel where it is compiled, else the direct convolution that plain torch runs."""
    names = op.arguments
    kernel = names["kernel_size"] if "kernel_size" in names else names["weight"].shape[2:]
    epilogue = FUSED.get(names["activation"], 0) + (2 if names["skip"] is not None else 0)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["input"]):
        return op.work(op.elements * (2 * math.prod(kernel) + (names["bias"] is not None) + epilogue))
    work = op.work(op.elements * (2 * math.prod(kernel) + epilogue))
    return replace(work, dtype="float64" if op.dtype == "float64" else "float32")


@op_rule("greenkernels::depthwise_conv2d_pack")
def count_pack(op: Op) -> Counts:
    """A copy in another order: no operations."""
    return op.work(0)
