"""The checks of ``csrc/ops/int8_conv2d.h`` in the same order and words, for fake tensors and for plain torch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .conv2d_checks import Shape, check_pair, dtype_name, fail, shape_text
from .direct_conv2d_checks import check_groups, check_sizes, out_size
from .int8_gemm_checks import DTYPES, INTEGERS
from .int8_packing import MAX_DEPTH, SLICE, packed_filter_bytes
from .quantized_checks import Like, check_activation, check_out_quantizer, check_vector

FLOATS = tuple(dtype for dtype in DTYPES if dtype.is_floating_point)


class Options(NamedTuple):
    """What both variants take beside the filter, in the order of the schemas."""

    input_scale: Tensor | None
    weight_scale: Tensor | None
    input_zero_point: Tensor | None
    bias: Tensor | None
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int
    activation: str | None
    activation_param: Tensor | None
    skip: Tensor | None
    skip_scale: float
    out_scale: float | None
    out_zero_point: int


def out_dtype(x: Tensor, options: Options) -> torch.dtype:
    if options.weight_scale is None:
        return torch.int32
    if options.out_scale is not None:
        return torch.uint8
    return x.dtype if x.is_floating_point() else torch.float32


def _check_input(op: str, x: Tensor) -> None:
    if x.dim() != 4:
        fail(op, f"input must be 4-D, got shape {shape_text(x.shape)}")
    if x.dtype not in DTYPES:
        fail(op, f"input must be uint8, int8, float16, bfloat16 or float32, got {dtype_name(x.dtype)}")


def check_filter(op: str, weight: Tensor, groups: int) -> None:
    if weight.dim() != 4:
        fail(op, f"weight must be 4-D, got shape {shape_text(weight.shape)}")
    if weight.dtype != torch.int8:
        fail(op, f"weight must be int8, got {dtype_name(weight.dtype)}")
    if 0 in weight.shape[2:]:
        fail(
            op,
            "weight must be [out_channels, in_channels / groups, kernel_h, kernel_w], "
            f"got {shape_text(weight.shape)}",
        )
    if groups < 1 or weight.shape[0] % groups:
        fail(op, f"groups must be positive and divide {weight.shape[0]} output channels, got {groups}")
    depth = weight.shape[1] * weight.shape[2] * weight.shape[3]
    if depth > MAX_DEPTH:
        fail(op, f"products in a sum must be at most {MAX_DEPTH}, got {depth}")


def check_plain(op: str, x: Tensor, weight: Tensor, options: Options) -> None:
    """The input and a filter that was not packed."""
    groups = options.groups
    _check_input(op, x)
    check_filter(op, weight, groups)
    if weight.device != x.device:
        fail(op, f"weight must be on the device of input, {x.device}, got {weight.device}")
    check_groups(op, groups, x.shape[1], weight.shape[0])
    if weight.shape[1] != x.shape[1] // groups:
        fail(
            op,
            f"weight must be [out_channels, {x.shape[1] // groups}, kernel_h, kernel_w] for input "
            f"{shape_text(x.shape)} and groups {groups}, got {shape_text(weight.shape)}",
        )


def check_packed(
    op: str, x: Tensor, packed: Tensor, out_channels: int, kernel_size: Sequence[int], options: Options
) -> None:
    """The input and a packed filter."""
    groups = options.groups
    _check_input(op, x)
    check_pair(op, "kernel_size", kernel_size, 1)
    if not 0 <= out_channels < 1 << 31:
        fail(op, f"out_channels must be in [0, 2^31), got {out_channels}")
    check_groups(op, groups, x.shape[1], out_channels)
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    if packed.dtype != torch.int8:
        fail(op, f"packed must be int8, got {dtype_name(packed.dtype)}")
    if packed.device != x.device:
        fail(op, f"packed must be on the device of input, {x.device}, got {packed.device}")
    wanted = packed_filter_bytes(out_channels, x.shape[1] // groups, kernel_size, groups)
    if packed.numel() != wanted:
        fail(
            op,
            f"packed must have {wanted} elements for {x.shape[1]} -> {out_channels} channels, kernel_size "
            f"{shape_text(kernel_size)} and groups {groups}, got {packed.numel()}",
        )


def _check_sums(op: str, x: Tensor, depth: int, options: Options) -> None:
    if x.dtype not in INTEGERS:
        fail(op, f"input must be uint8 or int8 without weight_scale, got {dtype_name(x.dtype)}")
    for name in ("input_scale", "bias", "activation", "skip", "out_scale"):
        if getattr(options, name) is not None:
            fail(op, f"{name} must be None without weight_scale, which asks for the sums, got one")
    if depth > SLICE:
        fail(
            op,
            f"products in a sum must be at most {SLICE} for sums in int32 (without weight_scale), got {depth}",
        )


def _check_scales(op: str, x: Tensor, out_channels: int, depth: int, options: Options) -> None:
    batch, has_scale, like = x.shape[0], options.weight_scale is not None, Like(op, "input", x)
    if not has_scale:
        _check_sums(op, x, depth, options)
    check_vector(like, "input_scale", options.input_scale, True, batch)
    if has_scale and x.dtype in INTEGERS and options.input_scale is None:
        fail(op, "input_scale must be a tensor for an integer input, got None")
    check_vector(like, "weight_scale", options.weight_scale, False, out_channels)
    if options.input_zero_point is not None and x.dtype not in INTEGERS and options.input_scale is None:
        fail(op, "input_zero_point must be None for a float input without input_scale, got one")
    check_vector(like, "input_zero_point", options.input_zero_point, True, batch, torch.int32)
    check_vector(like, "bias", options.bias, False, out_channels)
    check_out_quantizer(op, options.out_scale, options.out_zero_point)


def check_skip_map(op: str, x: Tensor, skip: Tensor | None, shape: Shape) -> None:
    """A map of the shape of the output, to be added to it."""
    if skip is None:
        return
    if skip.dtype not in FLOATS:
        fail(op, f"skip must be float16, bfloat16 or float32, got {dtype_name(skip.dtype)}")
    if skip.device != x.device:
        fail(op, f"skip must be on the device of input, {x.device}, got {skip.device}")
    if tuple(skip.shape) != shape:
        fail(op, f"skip must have shape {shape_text(shape)}, got {shape_text(skip.shape)}")


def check_options(
    op: str, x: Tensor, out_channels: int, kernel_size: Sequence[int], options: Options
) -> Shape:
    """Everything but the filter; returns the shape of the output."""
    depth = x.shape[1] // options.groups * kernel_size[0] * kernel_size[1]
    _check_scales(op, x, out_channels, depth, options)
    check_pair(op, "stride", options.stride, 1)
    check_pair(op, "padding", options.padding, 0)
    check_pair(op, "dilation", options.dilation, 1)
    extent = [options.dilation[d] * (kernel_size[d] - 1) + 1 for d in (0, 1)]
    check_sizes(op, x, extent, options.padding)
    check_activation(Like(op, "input", x), options.activation, options.activation_param, out_channels)
    h, w = (out_size(x.shape[2 + d], options.padding[d], extent[d], options.stride[d]) for d in (0, 1))
    shape = x.shape[0], out_channels, h, w
    check_skip_map(op, x, options.skip, shape)
    return shape


def check_zero_points(op: str, x: Tensor, zero_point: Tensor | None) -> None:
    """The values, which fake tensors do not have."""
    if zero_point is not None:
        least = -128 if x.dtype == torch.int8 else 0
        for value in zero_point[(zero_point < least) | (zero_point > least + 255)][:1].tolist():
            fail(op, f"input_zero_point must be in [{least}, {least + 255}], got {value}")
