"""sgemm: dense matrix products, as typed functions.

The contract is ``csrc/api/sgemm.h``; ``sgemm_op.py`` defines the ops these functions call.
"""

from typing import Any

import torch
from torch import Tensor

from . import sgemm_op, sgemm_tf32x3_op
from .activation import check_activation, param_as_tensor
from .rows import as_rows
from .sgemm_op import pack, packed_gemm, unpack

_OPS = {"float32": sgemm_op, "3xtf32": sgemm_tf32x3_op}  # by precision


def sgemm(
    a: Tensor,
    b: Tensor,
    bias: Tensor | None = None,
    *,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
    beta: float = 0.0,
    out: Tensor | None = None,
    precision: str = "float32",
) -> Tensor:
    """Matrix product as in ``nn.Linear``, with bias and activation fused.

    ``out = activation(a @ b.T + bias + beta * out)``. Both operands are read as they lie, so transposed views cost
    no copy. b is packed on every call: to multiply with one weight many times, see ``sgemm_packed``.

    Differentiable, also twice, with respect to ``a``, ``b``, ``bias`` and ``activation_param``, unless ``out`` is
    given. Under autocast all tensors are cast as for ``torch.nn.functional.linear``.

    Args:
        a: ``[..., k]``, float16, bfloat16 (both computed in float32), float32 or float64; any strides.
        b: ``[n, k]``, of the dtype of ``a`` like all tensors below.
        bias: ``[n]``.
        activation: None or a name of ``greenkernels.ops.direct_conv2d``.
        activation_param: The slope left of zero: a float or 1 element for "leaky_relu", 1 or ``n`` elements for
            "prelu"; None for the others.
        beta: Factor of the old ``out``, which is not read where this is 0.
        out: ``[..., n]`` to write the result to.
        precision: "float32", or "3xtf32" for three products of TF32 by tensor cores in the place of one of float32:
            on CUDA alone, the CPU computes in float32 all the same. Errors are those of float32 for k of 64 and more,
            and up to twice those for less (bound in ``csrc/api/sgemm.h``); what differs is that infinity, and numbers
            above (1 - 2^-12) * 2^128, give NaN, and that factors below 2^-113 lose what lies below 2^-136. Gradients
            are computed in the same way. Not for float64.

    Returns:
        ``[..., n]`` in the dtype of ``a``, row-major; ``out`` if given.

    Raises:
        ValueError: ``activation`` or ``precision`` is not one of the above, or ``beta`` is given without ``out``.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together, or ``out`` is given and a gradient is asked for.

    Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008; Ootomo
    and Yokota, "Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak
    performance", IJHPCA 36(4), 2022.
    """
    ops = _ops_of(precision)
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, a)
    if out is None:
        if beta != 0:
            raise ValueError(f"beta must be 0 without out, got {beta}")
        return as_rows(a, lambda rows: ops.gemm(rows, b, bias, activation, param))
    rows = a if a.dim() == 2 else a.flatten(0, -2) if a.dim() > 2 else a.unsqueeze(0)
    out_rows = out if a.dim() == 2 else out.view(rows.shape[0], out.shape[-1])
    ops.gemm_out(rows, b, bias, activation, param, beta, out=out_rows)
    return out


def _ops_of(precision: str) -> Any:
    if precision not in _OPS:
        raise ValueError(f"precision must be one of {', '.join(_OPS)}, got {precision!r}")
    return _OPS[precision]


def sgemm_pack(b: Tensor) -> Tensor:
    """The weight ``b [n, k]`` in the order in which the kernel reads it.

    Args:
        b: Float16, bfloat16, float32 or float64; any strides.

    Returns:
        1-D, float64 for float64, else float32. n is rounded up to a multiple of 16. Not differentiable.

    Raises:
        RuntimeError: ``b`` is not a matrix of one of these dtypes.
    """
    return pack(b)


def sgemm_packed(
    a: Tensor,
    packed: Tensor,
    bias: Tensor | None = None,
    *,
    n: int,
    activation: str | None = None,
    activation_param: Tensor | float | None = None,
) -> Tensor:
    """``sgemm(a, b, bias, ...)`` for ``packed = sgemm_pack(b)``, ``b [n, k]``.

    Differentiable with respect to ``a``, ``bias`` and ``activation_param``.

    Args:
        a: ``[..., k]`` as in ``sgemm``.
        packed: What ``sgemm_pack`` returned; float64 for float64 ``a``, else float32.
        bias: ``[n]``.
        n: Rows of the weight.
        activation: As in ``sgemm``.
        activation_param: As in ``sgemm``.

    Returns:
        ``[..., n]`` in the dtype of ``a``, row-major.

    Raises:
        ValueError: ``activation`` is unknown.
        TypeError: ``activation_param`` is neither a number nor a tensor.
        RuntimeError: Shapes, dtypes or devices do not fit together.
    """
    check_activation(activation, activation_param)
    param = param_as_tensor(activation_param, a)
    return as_rows(a, lambda rows: packed_gemm(rows, packed, bias, n, activation, param))


def sgemm_unpack(packed: Tensor, n: int, k: int) -> Tensor:
    """The weight ``[n, k]`` that ``packed`` holds.

    Raises:
        RuntimeError: ``packed`` has not the size that ``n`` and ``k`` ask for.
    """
    return unpack(packed, n, k)


def matmul(a: Tensor, b: Tensor, *, precision: str = "float32") -> Tensor:
    """``torch.matmul`` on the sgemm kernels: ``a @ b`` with batches broadcast.

    Differentiable, also twice. Under autocast both are cast as for ``torch.matmul``.

    Args:
        a: ``[..., m, k]`` or ``[k]``, float16, bfloat16 (both computed in float32), float32 or float64; any strides.
        b: ``[..., k, n]`` or ``[k]``, of the dtype of ``a``.
        precision: As in ``sgemm``.

    Returns:
        ``[..., m, n]`` in the dtype of ``a``, without m where ``a`` and without n where ``b`` is a vector.

    Raises:
        ValueError: ``precision`` is not one of those.
        RuntimeError: Shapes, dtypes or devices do not fit together.
    """
    ops = _ops_of(precision)
    if a.dim() == 0 or b.dim() == 0:
        raise RuntimeError(f"matmul: a and b must be 1-D or more, got {a.dim()}-D and {b.dim()}-D")
    if a.dim() == 1:
        return matmul(a.unsqueeze(0), b, precision=precision).squeeze(-2 if b.dim() > 1 else 0)
    if b.dim() == 1:
        return matmul(a, b.unsqueeze(1), precision=precision).squeeze(-1)
    if b.dim() == 2:
        return as_rows(a, lambda rows: ops.gemm(rows, b.t(), None, None, None))
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = a.expand(*batch, *a.shape[-2:]).flatten(0, -3)
    right = b.mT.expand(*batch, b.shape[-1], b.shape[-2]).flatten(0, -3)
    return ops.batched(left, right).unflatten(0, batch)
