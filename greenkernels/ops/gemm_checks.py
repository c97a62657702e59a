"""Checks that all matrix product ops share; the twin of ``csrc/ops/gemm_call.h``, in the same words."""

from torch import Tensor

from . import activation as activations
from .conv2d_checks import check_float, check_tensor, compute_dtype, dtype_name, fail, shape_text


def check_a(op: str, a: Tensor, dim: int = 2) -> None:
    if a.dim() != dim:
        fail(op, f"a must be {dim}-D, got shape {shape_text(a.shape)}")
    check_float(op, "a", a)


def check_b(op: str, a: Tensor, b: Tensor, dim: int = 2) -> None:
    check_tensor(op, "b", b, dim, a, "a")
    if b.shape[-1] != a.shape[-1]:
        fail(op, f"b must be [..., n, {a.shape[-1]}] for a {shape_text(a.shape)}, got {shape_text(b.shape)}")


def check_epilogue(
    op: str, a: Tensor, n: int, bias: Tensor | None, activation: str | None, param: Tensor | None
) -> None:
    """Bias and activation."""
    if bias is not None:
        check_tensor(op, "bias", bias, 1, a, "a")
        if bias.shape[0] != n:
            fail(op, f"bias must have {n} elements, got {bias.shape[0]}")
    if activation is not None and activation not in activations.NAMES:
        fail(op, f"activation must be one of None, {', '.join(activations.NAMES)}, got {activation}")
    if activation not in activations.WITH_PARAM:
        if param is not None:
            fail(op, f"activation_param must be None for {activation}, got shape {shape_text(param.shape)}")
        return
    if param is None:
        fail(op, f"activation_param must be a tensor for {activation}, got None")
    check_tensor(op, "activation_param", param, param.dim(), a, "a")
    if param.numel() != 1 and not (activation == "prelu" and param.numel() == n):
        wanted = f"or {n} elements for prelu" if activation == "prelu" else "element for leaky_relu"
        fail(op, f"activation_param must have 1 {wanted}, got {param.numel()}")


def check_packed_b(op: str, a: Tensor, packed: Tensor, n: int, expected: int) -> None:
    if not 0 <= n < 1 << 31:
        fail(op, f"n must be in [0, 2^31), got {n}")
    if packed.dim() != 1 or not packed.is_contiguous():
        fail(op, f"packed must be 1-D and contiguous, got shape {shape_text(packed.shape)}")
    if packed.dtype != compute_dtype(a):
        wanted = dtype_name(compute_dtype(a))
        fail(op, f"packed must be {wanted} for {dtype_name(a.dtype)} a, got {dtype_name(packed.dtype)}")
    if packed.device != a.device:
        fail(op, f"packed must be on the device of a, {a.device}, got {packed.device}")
    if packed.numel() != expected:
        fail(
            op,
            f"packed must have {expected} elements for n = {n} and k = {a.shape[1]}, got {packed.numel()}",
        )


def check_pack(op: str, b: Tensor) -> None:
    if b.dim() != 2:
        fail(op, f"b must be 2-D, got shape {shape_text(b.shape)}")
    check_float(op, "b", b)


def check_batched(op: str, a: Tensor, b: Tensor) -> tuple[int, int, int]:
    """Checks the arguments of a product of batches; returns the shape of its output."""
    check_a(op, a, 3)
    check_b(op, a, b, 3)
    if a.shape[0] != b.shape[0]:
        fail(op, f"b must have {a.shape[0]} items as a has, got {b.shape[0]}")
    return a.shape[0], a.shape[1], b.shape[1]


def check_out(op: str, a: Tensor, out: Tensor, n: int) -> None:
    check_tensor(op, "out", out, 2, a, "a")
    if tuple(out.shape) != (a.shape[0], n):
        fail(op, f"out must have shape {shape_text((a.shape[0], n))}, got {shape_text(out.shape)}")
    for d in range(2):
        if out.stride(d) == 0 and out.shape[d] > 1:
            fail(op, f"out must not overlap itself, got stride 0 in dimension {d}")
