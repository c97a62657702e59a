"""Checks that all convolution ops share; the twin of ``csrc/ops/conv2d_checks.h``, in the same words."""

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from . import activation as activations

Shape = tuple[int, int, int, int]  # batch, channels, h, w

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def fail(op: str, message: str) -> NoReturn:
    raise RuntimeError(f"{op}: {message}")


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def shape_text(sizes: Sequence[int]) -> str:
    return "[" + ", ".join(str(size) for size in sizes) + "]"


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type a kernel computes in, and the packed weight has."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check_float(op: str, name: str, x: Tensor) -> None:
    if x.dtype not in FLOATS:
        fail(op, f"{name} must be float16, bfloat16, float32 or float64, got {dtype_name(x.dtype)}")


def check_tensor(op: str, name: str, x: Tensor, dim: int, like: Tensor, like_name: str = "input") -> None:
    if x.dim() != dim:
        fail(op, f"{name} must be {dim}-D, got shape {shape_text(x.shape)}")
    if x.dtype != like.dtype:
        fail(op, f"{name} must be {dtype_name(like.dtype)} as {like_name} is, got {dtype_name(x.dtype)}")
    if x.device != like.device:
        fail(op, f"{name} must be on the device of {like_name}, {like.device}, got {x.device}")


def check_input(op: str, x: Tensor) -> None:
    if x.dim() != 4:
        fail(op, f"input must be 4-D, got shape {shape_text(x.shape)}")
    check_float(op, "input", x)


def check_activation(
    op: str, x: Tensor, out_channels: int, activation: str | None, param: Tensor | None
) -> None:
    if activation is not None and activation not in activations.NAMES:
        fail(op, f"activation must be one of None, {', '.join(activations.NAMES)}, got {activation}")
    if activation not in activations.WITH_PARAM:
        if param is not None:
            fail(op, f"activation_param must be None for {activation}, got shape {shape_text(param.shape)}")
        return
    if param is None:
        fail(op, f"activation_param must be a tensor for {activation}, got None")
    check_tensor(op, "activation_param", param, param.dim(), x)
    if activation == "leaky_relu" and param.numel() != 1:
        fail(op, f"activation_param must have 1 element for leaky_relu, got {param.numel()}")
    if param.numel() not in (1, out_channels):
        fail(op, f"activation_param must have 1 or {out_channels} elements for prelu, got {param.numel()}")


def check_bias(op: str, x: Tensor, bias: Tensor | None, out_channels: int) -> None:
    if bias is not None:
        check_tensor(op, "bias", bias, 1, x)
        if bias.shape[0] != out_channels:
            fail(op, f"bias must have {out_channels} elements, got {bias.shape[0]}")


def check_skip(op: str, x: Tensor, skip: Tensor | None, shape: Shape) -> None:
    if skip is not None:
        check_tensor(op, "skip", skip, 4, x)
        if tuple(skip.shape) != shape:
            fail(op, f"skip must have shape {shape_text(shape)}, got {shape_text(skip.shape)}")


def check_pair(op: str, name: str, pair: Sequence[int], least: int) -> None:
    """Two integers in [least, 2^31), so that no size overflows."""
    if len(pair) != 2 or not all(least <= p < 1 << 31 for p in pair):
        fail(op, f"{name} must be two integers in [{least}, 2^31), got {shape_text(pair)}")


def check_packed(op: str, x: Tensor, packed: Tensor, out_channels: int) -> None:
    """Everything of a packed weight but its number of elements."""
    if not 0 <= out_channels < 1 << 31:
        fail(op, f"out_channels must be in [0, 2^31), got {out_channels}")
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    if packed.dtype != compute_dtype(x):
        wanted = dtype_name(compute_dtype(x))
        fail(op, f"packed must be {wanted} for {dtype_name(x.dtype)} input, got {dtype_name(packed.dtype)}")
    if packed.device != x.device:
        fail(op, f"packed must be on the device of input, {x.device}, got {packed.device}")


def check_out(op: str, x: Tensor, out: Tensor, shape: Shape) -> None:
    check_tensor(op, "out", out, 4, x)
    if tuple(out.shape) != tuple(shape):
        fail(op, f"out must have shape {shape_text(shape)}, got {shape_text(out.shape)}")
    for d in range(4):
        if out.stride(d) == 0 and out.shape[d] > 1:
            fail(op, f"out must not overlap itself, got stride 0 in dimension {d}")
