"""The checks of ``csrc/ops/winograd_conv2d.h`` and ``winograd_conv2d_grad.cpp`` in the same order and words, for
fake tensors and for plain torch."""

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
from .winograd_transforms import TILES, packed_size


def _check_tile(op: str, tile: int) -> None:
    if tile not in TILES:
        fail(op, f"tile must be 2, 4 or 6, got {tile}")


def check_pack(op: str, weight: Tensor, tile: int) -> None:
    if weight.dim() != 4:
        fail(op, f"weight must be 4-D, got shape {shape_text(weight.shape)}")
    check_float(op, "weight", weight)
    if tuple(weight.shape[2:]) != (3, 3):
        fail(op, f"weight must be [out_channels, in_channels, 3, 3], got {shape_text(weight.shape)}")
    _check_tile(op, tile)


def check_conv(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Shape:
    """Checks the arguments of winograd_conv2d; returns the shape of its output."""
    check_input(op, x)
    check_tensor(op, "weight", weight, 4, x)
    if tuple(weight.shape[1:]) != (x.shape[1], 3, 3):
        fail(
            op,
            f"weight must be [out_channels, {x.shape[1]}, 3, 3] for input {shape_text(x.shape)}, "
            f"got {shape_text(weight.shape)}",
        )
    return _check_call(op, x, bias, weight.shape[0], *options)


def check_packed(
    op: str, x: Tensor, packed: Tensor, bias: Tensor | None, out_channels: int, *options: Any
) -> Shape:
    """Checks the arguments of winograd_conv2d_packed; returns the shape of its output."""
    tile = options[1]
    check_input(op, x)
    _check_tile(op, tile)
    check_any_packed(op, x, packed, out_channels)
    expected = packed_size(out_channels, x.shape[1], tile)
    if packed.numel() != expected:
        fail(
            op,
            f"packed must have {expected} elements for {x.shape[1]} -> {out_channels} channels and tile {tile}, "
            f"got {packed.numel()}",
        )
    return _check_call(op, x, bias, out_channels, *options)


def out_shape(x: Tensor, out_channels: int, padding: Sequence[int]) -> Shape:
    return x.shape[0], out_channels, x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2


def _check_sizes(op: str, x: Tensor, shape: Shape) -> None:
    for d in (2, 3):
        if not (shape[d] > 0 or (shape[d] == 0 and x.shape[d] == 0)):
            fail(op, f"input must be at least 3 x 3 with its padding, got {shape[2] + 2} x {shape[3] + 2}")


def _check_call(
    op: str,
    x: Tensor,
    bias: Tensor | None,
    out_channels: int,
    padding: Sequence[int],
    tile: int,
    activation: str | None,
    param: Tensor | None,
    skip: Tensor | None,
    skip_scale: float,
) -> Shape:
    """All of a call but its weight; returns the shape of the output."""
    check_bias(op, x, bias, out_channels)
    check_pair(op, "padding", padding, 0)
    shape = out_shape(x, out_channels, padding)
    _check_sizes(op, x, shape)
    _check_tile(op, tile)
    check_activation(op, x, out_channels, activation, param)
    check_skip(op, x, skip, shape)
    return shape


def _check_padding(op: str, padding: Sequence[int], most: int) -> None:
    if len(padding) != 2 or not all(0 <= p <= most for p in padding):
        fail(op, f"padding must be two integers in [0, {most}], got {shape_text(padding)}")


def check_input_grad(op: str, grad: Tensor, weight: Tensor, padding: Sequence[int], tile: int) -> Shape:
    """Checks the arguments of winograd_conv2d_input_grad; returns the shape of its output."""
    if grad.dim() != 4:
        fail(op, f"grad must be 4-D, got shape {shape_text(grad.shape)}")
    check_float(op, "grad", grad)
    check_tensor(op, "weight", weight, 4, grad, "grad")
    if (weight.shape[0], *weight.shape[2:]) != (grad.shape[1], 3, 3):
        fail(
            op,
            f"weight must be [{grad.shape[1]}, in_channels, 3, 3] for grad {shape_text(grad.shape)}, "
            f"got {shape_text(weight.shape)}",
        )
    _check_padding(op, padding, 2)
    _check_tile(op, tile)
    h, w = (size + 2 - 2 * p for size, p in zip(grad.shape[2:], padding, strict=True))
    if h < 0 or w < 0:
        fail(op, f"grad must be of an input of at least 0 x 0, got {h} x {w}")
    return grad.shape[0], weight.shape[1], h, w


def check_weight_grad(op: str, x: Tensor, grad: Tensor, padding: Sequence[int], tile: int) -> Shape:
    """Checks the arguments of winograd_conv2d_weight_grad; returns the shape of its output."""
    check_input(op, x)
    check_tensor(op, "grad", grad, 4, x)
    _check_padding(op, padding, (1 << 31) - 1)
    expected = out_shape(x, grad.shape[1], padding)
    if tuple(grad.shape) != tuple(expected):
        fail(
            op,
            f"grad must have shape {shape_text(expected)} for input {shape_text(x.shape)}, "
            f"got {shape_text(grad.shape)}",
        )
    if tile not in (2, 4):
        fail(op, f"tile must be 2 or 4, got {tile}")
    return grad.shape[1], x.shape[1], 3, 3
