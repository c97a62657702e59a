"""The checks of ``csrc/ops/strassen_conv2d.h`` in the same order and words, for fake tensors and for plain torch."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from . import strassen_packing
from .conv2d_checks import (
    Shape,
    check_activation,
    check_bias,
    check_float,
    check_input,
    check_skip,
    check_tensor,
    fail,
    shape_text,
)
from .conv2d_checks import check_packed as check_any_packed


def check_levels(op: str, levels: int) -> None:
    if not 0 <= levels <= strassen_packing.MAX_LEVELS:
        fail(op, f"levels must be 0 to {strassen_packing.MAX_LEVELS}, got {levels}")


def check_pack(op: str, weight: Tensor, levels: int) -> None:
    if weight.dim() != 4:
        fail(op, f"weight must be 4-D, got shape {shape_text(weight.shape)}")
    check_float(op, "weight", weight)
    check_levels(op, levels)
    if tuple(weight.shape[2:]) != (1, 1):
        fail(op, f"weight must be [out_channels, in_channels, 1, 1], got {shape_text(weight.shape)}")


def check_conv(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, levels: int, *epilogue: Any) -> Shape:
    """Checks the arguments of strassen_conv2d; returns the shape of its output."""
    check_input(op, x)
    if weight.dim() != 4:
        fail(op, f"weight must be 4-D, got shape {shape_text(weight.shape)}")
    check_levels(op, levels)
    check_tensor(op, "weight", weight, 4, x)
    if tuple(weight.shape[1:]) != (x.shape[1], 1, 1):
        fail(
            op,
            f"weight must be [out_channels, {x.shape[1]}, 1, 1] for input {shape_text(x.shape)}, "
            f"got {shape_text(weight.shape)}",
        )
    return _check_call(op, x, bias, weight.shape[0], epilogue)


def check_packed(
    op: str, x: Tensor, packed: Tensor, bias: Tensor | None, out_channels: int, levels: int, *epilogue: Any
) -> Shape:
    """Checks the arguments of strassen_conv2d_packed; returns the shape of its output."""
    check_input(op, x)
    check_levels(op, levels)
    check_any_packed(op, x, packed, out_channels)
    expected = strassen_packing.packed_size(out_channels, x.shape[1], levels)
    if packed.numel() != expected:
        fail(
            op,
            f"packed must have {expected} elements for {x.shape[1]} -> {out_channels} channels and levels {levels}, "
            f"got {packed.numel()}",
        )
    return _check_call(op, x, bias, out_channels, epilogue)


def _check_call(op: str, x: Tensor, bias: Tensor | None, out_channels: int, epilogue: Sequence[Any]) -> Shape:
    """All of a call but its weight; returns the shape of the output."""
    activation, param, skip, _skip_scale = epilogue
    check_bias(op, x, bias, out_channels)
    shape = x.shape[0], out_channels, x.shape[2], x.shape[3]
    check_activation(op, x, out_channels, activation, param)
    check_skip(op, x, skip, shape)
    return shape
