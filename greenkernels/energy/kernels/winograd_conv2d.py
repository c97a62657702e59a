"""Counts of the winograd_conv2d kernel: what `csrc/cpu/winograd_conv2d` really computes, waste at edges included.

A tile of m x m outputs costs, with alpha = m + 2:

    input transform    2 alpha b        operations a channel, input channels rounded up to 16
    products           2 alpha^2        a pair of channels, output channels rounded up to 16
    output transform   (alpha + m) a    a channel, output channels rounded up to 16
    bias               m^2              a channel, as above; the kernel adds it, be it zero

b and a are the operations of one-dimensional B^T and A^T as `csrc/cpu/winograd_conv2d/transforms.inl` writes them out;
tiles are ceil(out_h / m) ceil(out_w / m) an image, those that reach past the edge being computed in full.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...ops import _library
from ..counts import Counts, Uncounted, dtype_name, tensor_bytes
from ..layer_rules.pointwise import FUSED
from ..ops import Op, op_rule
from ..reuse import streamed_weight

if TYPE_CHECKING:
    from ...nn import WinogradConv2d

LANES = 16  # channels that one vector step transforms, exist they or not
PANEL = 32  # output channels of a panel of the packed weight
INPUT_1D = {2: 4, 4: 24, 6: 48}  # operations of B^T d
OUTPUT_1D = {2: 4, 4: 16, 6: 30}  # operations of A^T p


def round_up(channels: int) -> int:
    return -(-channels // LANES) * LANES


def tile_flops(tile: int, in_c: int, out_c: int) -> int:
    """Operations of one tile without skip and activation."""
    alpha = tile + 2
    transform_input = round_up(in_c) * 2 * alpha * INPUT_1D[tile]
    products = 2 * alpha * alpha * in_c * round_up(out_c)
    transform_output = round_up(out_c) * ((alpha + tile) * OUTPUT_1D[tile] + tile * tile)
    return transform_input + products + transform_output


def count_winograd_conv2d(
    shape: tuple[int, int, int, int],
    out_c: int,
    padding: tuple[int, int],
    tile: int,
    epilogue: int = 0,
    dtype: str = "float32",
) -> Counts:
    """Counts of one call on ``[batch, in_c, h, w]`` with a packed float32 or float64 weight, without a bias vector.

    Args:
        epilogue: operations an output element for skip and activation.
        dtype: "float64", or any other float: computed, and its weight kept, in float32.
    """
    batch, in_c, h, w = shape
    out_h, out_w = h + 2 * padding[0] - 2, w + 2 * padding[1] - 2
    tiles = batch * -(-out_h // tile) * -(-out_w // tile)
    outputs = batch * out_c * out_h * out_w
    flops = tiles * tile_flops(tile, in_c, out_c) + outputs * epilogue if outputs else 0
    compute = "float64" if dtype == "float64" else "float32"
    element = {"float64": 8, "float32": 4}.get(dtype, 2)
    size, taps = 8 if compute == "float64" else 4, (tile + 2) ** 2
    weight = taps * in_c * round_up(out_c) * size
    staged, products = taps * round_up(in_c) * size, taps * PANEL * size  # of a tile
    streams = streamed_weight(tiles, staged, weight, -(-out_c // PANEL), taps, products)
    read = batch * in_c * h * w * element + weight
    return Counts(flops, read, outputs * element, weight, compute, streams if outputs else ())


def count_module(module: WinogradConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call of the module that its kernel covers; a fallback to torch's convolution is not counted by this.

    Args:
        input_shapes: of ``input`` and, if the call has one, of ``skip``.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    shape, *skip = (tuple(shape) for shape in input_shapes)
    if len(shape) == 3:
        shape = (1, *shape)
    if len(shape) != 4 or shape[1] != module.in_channels:
        raise Uncounted(f"input must be [batch, {module.in_channels}, h, w], got {list(shape)}")
    dtype = dtype_name(module.weight.dtype)
    padded, padding = _padding(module, shape)
    if min(padded[2] + 2 * padding[0], padded[3] + 2 * padding[1]) < 3:
        raise Uncounted(f"an input of {shape[2]} x {shape[3]} is too small for a 3x3 filter")
    epilogue = FUSED.get(module.activation, 0) + (2 if skip else 0)  # skip_scale * skip is a multiply-add
    counts = count_winograd_conv2d(padded, module.out_channels, padding, module.tile, epilogue, dtype)
    element = module.weight.element_size()
    weights = counts.weight_bytes + sum(tensor_bytes(v) for v in (module.bias, module.activation_param))
    maps = sum(math.prod(s) for s in (shape, *skip))  # as given, not as padded
    return replace(counts, bytes_read=maps * element + weights, weight_bytes=weights, maps=())


def _padding(module: WinogradConv2d, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int]]:
    """What the kernel is called with: the input's shape, padded beforehand if not with zeros, and its own padding."""
    padding = {"same": (1, 1), "valid": (0, 0)}.get(module.padding, module.padding)
    if module.padding_mode == "zeros":
        return shape, padding
    batch, in_c, h, w = shape
    return (batch, in_c, h + 2 * padding[0], w + 2 * padding[1]), (0, 0)


@op_rule("greenkernels::winograd_conv2d", "greenkernels::winograd_conv2d_packed")
def count_call(op: Op) -> Counts | tuple[Counts, ...]:
    """The operation: the kernel where it is compiled, else the direct convolution that plain torch runs."""
    names, shape = op.arguments, tuple(op.arguments["input"].shape)
    out_c = op.outputs[0].shape[1]
    epilogue = FUSED.get(names["activation"], 0) + (2 if names["skip"] is not None else 0)
    if not _library.compiled(op.func._schema.name.partition("::")[2], names["input"]):
        return op.work(op.elements * (2 * 9 * shape[1] + (names["bias"] is not None) + epilogue))
    kernel = count_winograd_conv2d(shape, out_c, tuple(names["padding"]), names["tile"], epilogue, op.dtype)
    counts = replace(op.work(kernel.flops), dtype=kernel.dtype, streams=kernel.streams)
    if "weight" not in names:
        return counts
    packing = Counts(
        _pack_flops(shape[1], out_c, names["tile"]), 0, 0, 0, "float64"
    )  # what it makes stays inside
    return (counts, packing) if counts.dtype != packing.dtype else counts + packing


@op_rule("greenkernels::winograd_conv2d_pack")
def count_pack(op: Op) -> Counts:
    out_c, in_c = op.arguments["weight"].shape[:2]
    return replace(op.work(_pack_flops(in_c, out_c, op.arguments["tile"])), dtype="float64")


def _pack_flops(in_c: int, out_c: int, tile: int) -> int:
    """``G g G^T`` in float64 as the kernel has it: 3 alpha, then alpha^2 dot products of 3 (5 operations)."""
    alpha = tile + 2
    return round_up(out_c) * in_c * 5 * alpha * (3 + alpha)
