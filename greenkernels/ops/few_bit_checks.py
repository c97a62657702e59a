"""The checks of ``csrc/ops/few_bits.h`` in the same order and words, for fake tensors and for plain torch."""

from collections.abc import Callable

import torch
from torch import Tensor

from .conv2d_checks import dtype_name, fail, shape_text
from .quantized_checks import Like, check_activation, check_vector

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def check_a(op: str, a: Tensor) -> None:
    if a.dim() < 1:
        fail(op, "a must have at least 1 dimension, got shape []")
    if a.dtype not in DTYPES:
        fail(op, f"a must be float16, bfloat16 or float32, got {dtype_name(a.dtype)}")


def check_group_scale(op: str, b: Tensor, scale: Tensor, groups: int) -> None:
    """That there is one number for each group of each row of b."""
    wanted = (b.shape[0], groups)
    if tuple(scale.shape) != wanted:
        fail(op, f"scale must have shape {shape_text(wanted)}, got {shape_text(scale.shape)}")
    if scale.dtype != torch.float32:
        fail(op, f"scale must be float32, got {dtype_name(scale.dtype)}")
    if scale.device != b.device:
        fail(op, f"scale must be on the device of b, {b.device}, got {scale.device}")


def check_packed_tensor(
    op: str, a: Tensor, packed: Tensor, sizes: dict[str, int], wanted: Callable[[], int]
) -> None:
    """That it is what packing gave for a weight of n, k and more; ``wanted`` says how many elements that has."""
    n = sizes["n"]
    if not 0 <= n < 1 << 31:
        fail(op, f"n must be in [0, 2^31), got {n}")
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    if packed.dtype != torch.uint8:
        fail(op, f"packed must be uint8, got {dtype_name(packed.dtype)}")
    if packed.device != a.device:
        fail(op, f"packed must be on the device of a, {a.device}, got {packed.device}")
    if packed.numel() != wanted():
        *first, last = (f"{name} = {size}" for name, size in sizes.items())
        text = f"{', '.join(first)} and {last}"
        fail(op, f"packed must have {wanted()} elements for {text}, got {packed.numel()}")


def check_rest(
    op: str, a: Tensor, n: int, bias: Tensor | None, activation: str | None, param: Tensor | None
) -> None:
    """Everything but the weight."""
    like = Like(op, "a", a)
    check_vector(like, "bias", bias, False, n)
    check_activation(like, activation, param, n)
