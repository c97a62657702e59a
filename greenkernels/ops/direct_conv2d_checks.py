"""The checks of ``csrc/ops/direct_conv2d.h`` in the same order and words, for fake tensors and for plain torch."""

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
from .direct_packing import packed_size


def check_pack(op: str, weight: Tensor, groups: int) -> None:
    if weight.dim() != 4:
        fail(op, f"weight must be 4-D, got shape {shape_text(weight.shape)}")
    check_float(op, "weight", weight)
    if 0 in weight.shape[2:]:
        fail(
            op,
            "weight must be [out_channels, in_channels / groups, kernel_h, kernel_w], "
            f"got {shape_text(weight.shape)}",
        )
    if groups < 1 or weight.shape[0] % groups:
        fail(op, f"groups must be positive and divide {weight.shape[0]} output channels, got {groups}")


def check_groups(op: str, groups: int, in_channels: int, out_channels: int) -> None:
    if groups < 1 or in_channels % groups or out_channels % groups:
        fail(
            op,
            f"groups must be positive and divide {in_channels} input and {out_channels} output channels, "
            f"got {groups}",
        )


def check_conv(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Shape:
    """Checks the arguments of direct_conv2d; returns the shape of its output."""
    groups = options[3]
    check_input(op, x)
    check_tensor(op, "weight", weight, 4, x)
    check_groups(op, groups, x.shape[1], weight.shape[0])
    if weight.shape[1] != x.shape[1] // groups or 0 in weight.shape[2:]:
        fail(
            op,
            f"weight must be [out_channels, {x.shape[1] // groups}, kernel_h, kernel_w] for input "
            f"{shape_text(x.shape)} and groups {groups}, got {shape_text(weight.shape)}",
        )
    return _check_call(op, x, bias, weight.shape[0], weight.shape[2:], *options)


def check_packed(
    op: str,
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    out_channels: int,
    kernel_size: Sequence[int],
    *options: Any,
) -> Shape:
    """Checks the arguments of direct_conv2d_packed; returns the shape of its output."""
    groups = options[3]
    check_input(op, x)
    check_pair(op, "kernel_size", kernel_size, 1)
    check_any_packed(op, x, packed, out_channels)
    check_groups(op, groups, x.shape[1], out_channels)
    expected = packed_size(out_channels, x.shape[1] // groups, kernel_size, groups)
    if packed.numel() != expected:
        fail(
            op,
            f"packed must have {expected} elements for {x.shape[1]} -> {out_channels} channels, kernel_size "
            f"{shape_text(kernel_size)} and groups {groups}, got {packed.numel()}",
        )
    return _check_call(op, x, bias, out_channels, kernel_size, *options)


def out_size(size: int, padding: int, extent: int, stride: int) -> int:
    room = size + 2 * padding - extent
    return 0 if room < 0 else room // stride + 1


def check_sizes(op: str, x: Tensor, extent: Sequence[int], padding: Sequence[int]) -> None:
    padded = [x.shape[2 + d] + 2 * padding[d] for d in (0, 1)]
    for d in (0, 1):
        empty = x.shape[2 + d] == 0 and padded[d] + 1 == extent[d]
        if not (padded[d] >= extent[d] or empty):
            fail(
                op,
                f"input must be at least as large as the filter, {extent[0]} x {extent[1]}, with its padding, "
                f"got {padded[0]} x {padded[1]}",
            )


def _check_call(
    op: str,
    x: Tensor,
    bias: Tensor | None,
    out_channels: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    _groups: int,
    activation: str | None,
    param: Tensor | None,
    skip: Tensor | None,
    _skip_scale: float,
) -> Shape:
    """All of a call but its weight; returns the shape of the output."""
    check_bias(op, x, bias, out_channels)
    check_pair(op, "stride", stride, 1)
    check_pair(op, "padding", padding, 0)
    check_pair(op, "dilation", dilation, 1)
    extent = [dilation[d] * (kernel_size[d] - 1) + 1 for d in (0, 1)]
    check_sizes(op, x, extent, padding)
    h, w = (out_size(x.shape[2 + d], padding[d], extent[d], stride[d]) for d in (0, 1))
    shape = x.shape[0], out_channels, h, w
    check_activation(op, x, out_channels, activation, param)
    check_skip(op, x, skip, shape)
    return shape
