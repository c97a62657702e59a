"""The checks of ``csrc/ops/half_gemm.cpp`` in the same order and words, for fake tensors and for plain torch."""

from torch import Tensor

from .conv2d_checks import dtype_name, fail, shape_text
from .few_bit_checks import check_a
from .half_packing import FORMATS, packed_elements


def check_format(op: str, name: str, tensor: Tensor) -> None:
    if tensor.dtype not in FORMATS.values():
        fail(op, f"{name} must be float16 or bfloat16, got {dtype_name(tensor.dtype)}")


def check_weight(op: str, b: Tensor) -> None:
    if b.dim() != 2:
        fail(op, f"b must be 2-D, got shape {shape_text(b.shape)}")
    check_format(op, "b", b)


def check_plain(op: str, a: Tensor, b: Tensor) -> None:
    check_a(op, a)
    check_weight(op, b)
    if b.device != a.device:
        fail(op, f"b must be on the device of a, {a.device}, got {b.device}")
    if b.shape[1] != a.shape[-1]:
        fail(op, f"b must be [n, k] with the k of a, {shape_text(a.shape)}, got {shape_text(b.shape)}")


def check_packed(op: str, a: Tensor, packed: Tensor, n: int) -> None:
    check_a(op, a)
    if not 0 <= n < 1 << 31:
        fail(op, f"n must be in [0, 2^31), got {n}")
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    check_format(op, "packed", packed)
    if packed.device != a.device:
        fail(op, f"packed must be on the device of a, {a.device}, got {packed.device}")
    k = a.shape[-1]
    wanted = packed_elements(n, k)
    if packed.numel() != wanted:
        fail(op, f"packed must have {wanted} elements for n = {n} and k = {k}, got {packed.numel()}")
