"""The checks of ``csrc/ops/depthwise_conv2d.h`` in the same order and words, for fake tensors and for plain torch."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .conv2d_checks import (
    Shape,
    check_activation,
    check_bias,
    check_float,
    check_input,
    check_pair,
    check_skip,
    check_tensor,
    fail,
    shape_text,
)
from .conv2d_checks import check_packed as check_any_packed
from .depthwise_packing import packed_size
from .direct_conv2d_checks import check_sizes, out_size


def check_pack(op: str, weight: Tensor) -> None:
    if weight.dim() != 4:
        fail(op, f"weight must be 4-D, got shape {shape_text(weight.shape)}")
    check_float(op, "weight", weight)
    if weight.shape[1] != 1 or 0 in weight.shape[2:]:
        fail(op, f"weight must be [channels, 1, kernel_h, kernel_w], got {shape_text(weight.shape)}")


def check_conv(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Shape:
    """Checks the arguments of depthwise_conv2d; returns the shape of its output."""
    check_input(op, x)
    check_tensor(op, "weight", weight, 4, x)
    channels = x.shape[1]
    if tuple(weight.shape[:2]) != (channels, 1) or 0 in weight.shape[2:]:
        fail(
            op,
            f"weight must be [{channels}, 1, kernel_h, kernel_w] for input {shape_text(x.shape)}, "
            f"got {shape_text(weight.shape)}",
        )
    return _check_call(op, x, bias, weight.shape[2:], *options)


def check_packed(
    op: str, x: Tensor, packed: Tensor, bias: Tensor | None, kernel_size: Sequence[int], *options: Any
) -> Shape:
    """Checks the arguments of depthwise_conv2d_packed; returns the shape of its output."""
    check_input(op, x)
    check_pair(op, "kernel_size", kernel_size, 1)
    check_any_packed(op, x, packed, x.shape[1])
    expected = packed_size(x.shape[1], kernel_size)
    if packed.numel() != expected:
        fail(
            op,
            f"packed must have {expected} elements for {x.shape[1]} channels and kernel_size "
            f"{shape_text(kernel_size)}, got {packed.numel()}",
        )
    return _check_call(op, x, bias, kernel_size, *options)


def _check_call(
    op: str,
    x: Tensor,
    bias: Tensor | None,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    activation: str | None,
    param: Tensor | None,
    skip: Tensor | None,
    _skip_scale: float,
) -> Shape:
    """All of a call but its weight; returns the shape of the output."""
    channels = x.shape[1]
    check_bias(op, x, bias, channels)
    check_pair(op, "stride", stride, 1)
    check_pair(op, "padding", padding, 0)
    check_pair(op, "dilation", dilation, 1)
    extent = [dilation[d] * (kernel_size[d] - 1) + 1 for d in (0, 1)]
    check_sizes(op, x, extent, padding)
    h, w = (out_size(x.shape[2 + d], padding[d], extent[d], stride[d]) for d in (0, 1))
    shape = x.shape[0], channels, h, w
    check_activation(op, x, channels, activation, param)
    check_skip(op, x, skip, shape)
    return shape
