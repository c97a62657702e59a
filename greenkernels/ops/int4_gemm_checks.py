"""The checks of ``csrc/ops/int4_gemm.cpp`` in the same order and words, for fake tensors and for plain torch."""

import torch
from torch import Tensor

from .conv2d_checks import dtype_name, fail, shape_text
from .few_bit_checks import check_a, check_group_scale, check_packed_tensor
from .int4_packing import GROUPS, LEAST, MOST, group_count, packed_bytes
from .int8_packing import MAX_DEPTH


def check_group(op: str, group: int, k: int) -> None:
    if group not in GROUPS:
        fail(op, f"group must be 32, 64 or 128, got {group}")
    if k > MAX_DEPTH:
        fail(op, f"k must be at most {MAX_DEPTH}, got {k}")


def check_weight(op: str, b: Tensor, scale: Tensor, group: int) -> None:
    if b.dim() != 2:
        fail(op, f"b must be 2-D, got shape {shape_text(b.shape)}")
    if b.dtype != torch.int8:
        fail(op, f"b must be int8, got {dtype_name(b.dtype)}")
    check_group(op, group, b.shape[1])
    check_group_scale(op, b, scale, group_count(b.shape[1], group))


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
    check_packed_tensor(op, a, packed, {"n": n, "k": k, "group": group}, lambda: packed_bytes(n, k, group))


def check_values(op: str, b: Tensor) -> None:
    """The values, which fake tensors do not have."""
    for value in b[(b < LEAST) | (b > MOST)][:1].tolist():
        fail(op, f"b must be in [{LEAST}, {MOST}], got {value}")
