"""The checks of ``csrc/ops/winograd_conv2d.h`` and ``winograd_conv2d_grad.cpp`` in the same order and words, for
fake tensors and for plain torch."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from . import activation as activations
from .winograd_transforms import TILES, packed_size

Shape = tuple[int, int, int, int]  # batch, channels, h, w

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _fail(op: str, message: str) -> NoReturn:
    raise RuntimeError(f"{op}: {message}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _shape(sizes: Sequence[int]) -> str:
    return "[" + ", ".join(str(size) for size in sizes) + "]"


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type a kernel computes in, and the packed weight has."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _check_float(op: str, name: str, x: Tensor) -> None:
    if x.dtype not in FLOATS:
        _fail(op, f"{name} must be float16, bfloat16, float32 or float64, got {_name(x.dtype)}")


def _check_tensor(op: str, name: str, x: Tensor, dim: int, like: Tensor, like_name: str = "input") -> None:
    if x.dim() != dim:
        _fail(op, f"{name} must be {dim}-D, got shape {_shape(x.shape)}")
    if x.dtype != like.dtype:
        _fail(op, f"{name} must be {_name(like.dtype)} as {like_name} is, got {_name(x.dtype)}")
    if x.device != like.device:
        _fail(op, f"{name} must be on the device of {like_name}, {like.device}, got {x.device}")


def _check_input(op: str, x: Tensor) -> None:
    if x.dim() != 4:
        _fail(op, f"input must be 4-D, got shape {_shape(x.shape)}")
    _check_float(op, "input", x)


def _check_tile(op: str, tile: int) -> None:
    if tile not in TILES:
        _fail(op, f"tile must be 2, 4 or 6, got {tile}")


def check_pack(op: str, weight: Tensor, tile: int) -> None:
    if weight.dim() != 4:
        _fail(op, f"weight must be 4-D, got shape {_shape(weight.shape)}")
    _check_float(op, "weight", weight)
    if tuple(weight.shape[2:]) != (3, 3):
        _fail(op, f"weight must be [out_channels, in_channels, 3, 3], got {_shape(weight.shape)}")
    _check_tile(op, tile)


def check_conv(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Shape:
    """Checks the arguments of winograd_conv2d; returns the shape of its output."""
    _check_input(op, x)
    _check_tensor(op, "weight", weight, 4, x)
    if tuple(weight.shape[1:]) != (x.shape[1], 3, 3):
        _fail(
            op,
            f"weight must be [out_channels, {x.shape[1]}, 3, 3] for input {_shape(x.shape)}, "
            f"got {_shape(weight.shape)}",
        )
    return _check_call(op, x, bias, weight.shape[0], *options)


def check_packed(
    op: str, x: Tensor, packed: Tensor, bias: Tensor | None, out_channels: int, *options: Any
) -> Shape:
    """Checks the arguments of winograd_conv2d_packed; returns the shape of its output."""
    tile = options[1]
    _check_input(op, x)
    _check_tile(op, tile)
    if not 0 <= out_channels < 1 << 31:
        _fail(op, f"out_channels must be in [0, 2^31), got {out_channels}")
    if packed.dim() != 1 or not packed.is_contiguous():
        _fail(op, f"packed must be 1-D and contiguous, got shape {_shape(packed.shape)}")
    if packed.dtype != compute_dtype(x):
        wanted = _name(compute_dtype(x))
        _fail(op, f"packed must be {wanted} for {_name(x.dtype)} input, got {_name(packed.dtype)}")
    if packed.device != x.device:
        _fail(op, f"packed must be on the device of input, {x.device}, got {packed.device}")
    expected = packed_size(out_channels, x.shape[1], tile)
    if packed.numel() != expected:
        _fail(
            op,
            f"packed must have {expected} elements for {x.shape[1]} -> {out_channels} channels and tile {tile}, "
            f"got {packed.numel()}",
        )
    return _check_call(op, x, bias, out_channels, *options)


def out_shape(x: Tensor, out_channels: int, padding: Sequence[int]) -> Shape:
    return x.shape[0], out_channels, x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2


def _check_sizes(op: str, x: Tensor, shape: Shape, padding: Sequence[int]) -> None:
    if len(padding) != 2 or not all(0 <= p < 1 << 31 for p in padding):
        _fail(op, f"padding must be two integers in [0, 2^31), got {_shape(padding)}")
    for d in (2, 3):
        if not (shape[d] > 0 or (shape[d] == 0 and x.shape[d] == 0)):
            _fail(op, f"input must be at least 3 x 3 with its padding, got {shape[2] + 2} x {shape[3] + 2}")


def _check_activation(
    op: str, x: Tensor, out_channels: int, activation: str | None, param: Tensor | None
) -> None:
    if activation is not None and activation not in activations.NAMES:
        _fail(op, f"activation must be one of None, {', '.join(activations.NAMES)}, got {activation}")
    if activation not in activations.WITH_PARAM:
        if param is not None:
            _fail(op, f"activation_param must be None for {activation}, got shape {_shape(param.shape)}")
        return
    if param is None:
        _fail(op, f"activation_param must be a tensor for {activation}, got None")
    _check_tensor(op, "activation_param", param, param.dim(), x)
    if activation == "leaky_relu" and param.numel() != 1:
        _fail(op, f"activation_param must have 1 element for leaky_relu, got {param.numel()}")
    if param.numel() not in (1, out_channels):
        _fail(op, f"activation_param must have 1 or {out_channels} elements for prelu, got {param.numel()}")


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
    if bias is not None:
        _check_tensor(op, "bias", bias, 1, x)
        if bias.shape[0] != out_channels:
            _fail(op, f"bias must have {out_channels} elements, got {bias.shape[0]}")
    shape = out_shape(x, out_channels, padding) if len(padding) == 2 else (0, 0, 0, 0)
    _check_sizes(op, x, shape, padding)
    _check_tile(op, tile)
    _check_activation(op, x, out_channels, activation, param)
    if skip is not None:
        _check_tensor(op, "skip", skip, 4, x)
        if tuple(skip.shape) != shape:
            _fail(op, f"skip must have shape {_shape(shape)}, got {_shape(skip.shape)}")
    return shape


def check_out(op: str, x: Tensor, out: Tensor, shape: Shape) -> None:
    _check_tensor(op, "out", out, 4, x)
    if tuple(out.shape) != tuple(shape):
        _fail(op, f"out must have shape {_shape(shape)}, got {_shape(out.shape)}")
    for d in range(4):
        if out.stride(d) == 0 and out.shape[d] > 1:
            _fail(op, f"out must not overlap itself, got stride 0 in dimension {d}")


def _check_padding(op: str, padding: Sequence[int], most: int) -> None:
    if len(padding) != 2 or not all(0 <= p <= most for p in padding):
        _fail(op, f"padding must be two integers in [0, {most}], got {_shape(padding)}")


def check_input_grad(op: str, grad: Tensor, weight: Tensor, padding: Sequence[int], tile: int) -> Shape:
    """Checks the arguments of winograd_conv2d_input_grad; returns the shape of its output."""
    if grad.dim() != 4:
        _fail(op, f"grad must be 4-D, got shape {_shape(grad.shape)}")
    _check_float(op, "grad", grad)
    _check_tensor(op, "weight", weight, 4, grad, "grad")
    if (weight.shape[0], *weight.shape[2:]) != (grad.shape[1], 3, 3):
        _fail(
            op,
            f"weight must be [{grad.shape[1]}, in_channels, 3, 3] for grad {_shape(grad.shape)}, "
            f"got {_shape(weight.shape)}",
        )
    _check_padding(op, padding, 2)
    _check_tile(op, tile)
    h, w = (size + 2 - 2 * p for size, p in zip(grad.shape[2:], padding, strict=True))
    if h < 0 or w < 0:
        _fail(op, f"grad must be of an input of at least 0 x 0, got {h} x {w}")
    return grad.shape[0], weight.shape[1], h, w


def check_weight_grad(op: str, x: Tensor, grad: Tensor, padding: Sequence[int], tile: int) -> Shape:
    """Checks the arguments of winograd_conv2d_weight_grad; returns the shape of its output."""
    _check_input(op, x)
    _check_tensor(op, "grad", grad, 4, x)
    _check_padding(op, padding, (1 << 31) - 1)
    expected = out_shape(x, grad.shape[1], padding)
    if tuple(grad.shape) != tuple(expected):
        _fail(
            op,
            f"grad must have shape {_shape(expected)} for input {_shape(x.shape)}, got {_shape(grad.shape)}",
        )
    if tile not in (2, 4):
        _fail(op, f"tile must be 2 or 4, got {tile}")
    return grad.shape[1], x.shape[1], 3, 3
