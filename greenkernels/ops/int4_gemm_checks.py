"""The checks of ``csrc/ops/int4_gemm.cpp`` in the same order and words, for fake tensors and for plain torch."""

import torch
from torch import Tensor

from .conv2d_checks import dtype_name, fail, shape_text
from .int4_packing import GROUPS, LEAST, MOST, group_count, packed_bytes
from .int8_packing import MAX_DEPTH
from .quantized_checks import Like, check_activation, check_vector

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def check_group(op: str, group: int, k: int) -> None:
    if group not in GROUPS:
        fail(op, f"group must be 32, 64 or 128, got {group}")
    if k > MAX_DEPTH:
        fail(op, f"k must be at most {MAX_DEPTH}, got {k}")


def check_a(op: str, a: Tensor) -> None:
    if a.dim() < 1:
        fail(op, "a must have at least 1 dimension, got shape []")
    if a.dtype not in DTYPES:
        fail(op, f"a must be float16, bfloat16 or float32, got {dtype_name(a.dtype)}")


def check_weight(op: str, b: Tensor, scale: Tensor, group: int) -> None:
    if b.dim() != 2:
        fail(op, f"b must be 2-D, got shape {shape_text(b.shape)}")
    if b.dtype != torch.int8:
        fail(op, f"b must be int8, got {dtype_name(b.dtype)}")
    n, k = b.shape
    check_group(op, group, k)
    if tuple(scale.shape) != (n, group_count(k, group)):
        fail(
            op,
            f"scale must have shape {shape_text((n, group_count(k, group)))}, got {shape_text(scale.shape)}",
        )
    if scale.dtype != torch.float32:
        fail(op, f"scale must be float32, got {dtype_name(scale.dtype)}")
    if scale.device != b.device:
        fail(op, f"scale must be on the device of b, {b.device}, got {scale.device}")


def check_plain(op: str, a: Tensor, b: Tensor, scale: Tensor, group: int) -> None:
    check_a(op, a)
    check_weight(op, b, scale, group)
    if b.device != a.device:
        fail(op, f"b must be on the device of a, {a.device}, got {b.device}")
    if b.shape[1] != a.shape[-1]:
        fail(op, f"b must be [n, k] with the k of a, {shape_text(a.shape)}, got {shape_text(b.shape)}")


def check_packed(op: str, a: Tensor, packed: Tensor, n: int, group: int) -> None:
    check_a(op, a)
    k = a.shape[-1]
    check_group(op, group, k)
    if not 0 <= n < 1 << 31:
        fail(op, f"n must be in [0, 2^31), got {n}")
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    if packed.dtype != torch.uint8:
        fail(op, f"packed must be uint8, got {dtype_name(packed.dtype)}")
    if packed.device != a.device:
        fail(op, f"packed must be on the device of a, {a.device}, got {packed.device}")
    wanted = packed_bytes(n, k, group)
    if packed.numel() != wanted:
        fail(
            op,
            f"packed must have {wanted} elements for n = {n}, k = {k} and group = {group}, got {packed.numel()}",
        )


def check_values(op: str, b: Tensor) -> None:
    """The values, which fake tensors do not have."""
    for value in b[(b < LEAST) | (b > MOST)][:1].tolist():
        fail(op, f"b must be in [{LEAST}, {MOST}], got {value}")


def check_rest(
    op: str, a: Tensor, n: int, bias: Tensor | None, activation: str | None, param: Tensor | None
) -> None:
    """Everything but the weight."""
    like = Like(op, "a", a)
    check_vector(like, "bias", bias, False, n)
    check_activation(like, activation, param, n)
