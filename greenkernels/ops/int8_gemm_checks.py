"""The checks of ``csrc/ops/int8_gemm.h`` in the same order and words, for fake tensors and for plain torch."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .conv2d_checks import dtype_name, fail, shape_text
from .int8_packing import MAX_DEPTH, SLICE, packed_bytes
from .quantized_checks import Like, check_activation, check_out_quantizer, check_vector

INTEGERS = (torch.uint8, torch.int8)
DTYPES = (*INTEGERS, torch.float16, torch.bfloat16, torch.float32)


class Options(NamedTuple):
    """What both variants take beside the weight, in the order of the schemas."""

    row_scale: Tensor | None
    col_scale: Tensor | None
    a_zero_point: Tensor | None
    bias: Tensor | None
    activation: str | None
    activation_param: Tensor | None
    out_scale: float | None
    out_zero_point: int


def out_dtype(a: Tensor, options: Options) -> torch.dtype:
    if options.col_scale is None:
        return torch.int32
    if options.out_scale is not None:
        return torch.uint8
    return a.dtype if a.is_floating_point() else torch.float32


def check_a(op: str, a: Tensor) -> None:
    if a.dim() < 1:
        fail(op, "a must have at least 1 dimension, got shape []")
    if a.dtype not in DTYPES:
        fail(op, f"a must be uint8, int8, float16, bfloat16 or float32, got {dtype_name(a.dtype)}")


def check_depth(op: str, k: int, sums: bool) -> None:
    if k > MAX_DEPTH:
        fail(op, f"k must be at most {MAX_DEPTH}, got {k}")
    if sums and k > SLICE:
        fail(op, f"k must be at most {SLICE} for sums in int32 (without col_scale), got {k}")


def check_pack(op: str, b: Tensor) -> None:
    if b.dim() != 2:
        fail(op, f"b must be 2-D, got shape {shape_text(b.shape)}")
    if b.dtype != torch.int8:
        fail(op, f"b must be int8, got {dtype_name(b.dtype)}")
    check_depth(op, b.shape[1], False)


def check_plain(op: str, a: Tensor, b: Tensor) -> None:
    check_a(op, a)
    if b.dim() != 2:
        fail(op, f"b must be 2-D, got shape {shape_text(b.shape)}")
    if b.dtype != torch.int8:
        fail(op, f"b must be int8, got {dtype_name(b.dtype)}")
    if b.device != a.device:
        fail(op, f"b must be on the device of a, {a.device}, got {b.device}")
    if b.shape[1] != a.shape[-1]:
        fail(op, f"b must be [n, k] with the k of a, {shape_text(a.shape)}, got {shape_text(b.shape)}")


def check_packed(op: str, a: Tensor, packed: Tensor, n: int) -> None:
    check_a(op, a)
    k = a.shape[-1]
    check_depth(op, k, False)
    if not 0 <= n < 1 << 31:
        fail(op, f"n must be in [0, 2^31), got {n}")
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    if packed.dtype != torch.int8:
        fail(op, f"packed must be int8, got {dtype_name(packed.dtype)}")
    if packed.device != a.device:
        fail(op, f"packed must be on the device of a, {a.device}, got {packed.device}")
    wanted = packed_bytes(n, k)
    if packed.numel() != wanted:
        fail(op, f"packed must have {wanted} elements for n = {n} and k = {k}, got {packed.numel()}")


def _check_sums(op: str, a: Tensor, options: Options) -> None:
    if a.dtype not in INTEGERS:
        fail(op, f"a must be uint8 or int8 without col_scale, got {dtype_name(a.dtype)}")
    for name in ("row_scale", "bias", "activation", "out_scale"):
        if getattr(options, name) is not None:
            fail(op, f"{name} must be None without col_scale, which asks for the sums, got one")


def check_options(op: str, a: Tensor, n: int, options: Options) -> None:
    """Everything but the weight."""
    m, has_scale, like = math.prod(a.shape[:-1]), options.col_scale is not None, Like(op, "a", a)
    check_depth(op, a.shape[-1], not has_scale)
    if not has_scale:
        _check_sums(op, a, options)
    check_vector(like, "row_scale", options.row_scale, True, m)
    if has_scale and a.dtype in INTEGERS and options.row_scale is None:
        fail(op, "row_scale must be a tensor for an integer a, got None")
    check_vector(like, "col_scale", options.col_scale, False, n)
    if options.a_zero_point is not None and a.dtype not in INTEGERS and options.row_scale is None:
        fail(op, "a_zero_point must be None for a float a without row_scale, got one")
    check_vector(like, "a_zero_point", options.a_zero_point, True, m, torch.int32)
    check_vector(like, "bias", options.bias, False, n)
    check_out_quantizer(op, options.out_scale, options.out_zero_point)
    check_activation(like, options.activation, options.activation_param, n)


def check_out(op: str, out: Tensor, dtype: torch.dtype, sizes: tuple[int, ...]) -> None:
    if out.dtype != dtype:
        fail(op, f"out must be {dtype_name(dtype)}, got {dtype_name(out.dtype)}")
    if tuple(out.shape) != tuple(sizes):
        fail(op, f"out must have shape {shape_text(sizes)}, got {shape_text(out.shape)}")


def check_zero_points(op: str, a: Tensor, zero_point: Tensor | None) -> None:
    """The values, which fake tensors do not have."""
    if zero_point is not None:
        least = -128 if a.dtype == torch.int8 else 0
        for value in zero_point[(zero_point < least) | (zero_point > least + 255)][:1].tolist():
            fail(op, f"a_zero_point must be in [{least}, {least + 255}], got {value}")
