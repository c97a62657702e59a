"""Gradients and autocast of the csr_matmul ops, in terms of these ops, so that they can be differentiated again.

The gradient of x is a product with the transposed weight, that of the values is summed at the nonzeros alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._library import register_autocast, register_autograd
from .csr_matmul_op import (
    flat,
    matmul,
    matmul_plain,
    pack,
    pack_plain,
    packed_matmul,
    packed_plain,
    transpose,
    unpack,
    values_grad,
    values_grad_plain,
)


def _through_weight(
    crow_indices: Tensor, col_indices: Tensor, values: Tensor, grad: Tensor, k: int
) -> Tensor:
    """``grad`` times the weight: the gradient of x."""
    crow, col, order = transpose(crow_indices, col_indices, k)
    return matmul(crow, col, values[order], grad, None)


def _matmul_setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    crow_indices, col_indices, values, x, _ = args
    # x is kept only for the gradient of the values, they only for that of x.
    ctx.k = x.shape[-1]
    keep_x, keep_values = ctx.needs_input_grad[3], ctx.needs_input_grad[4]
    ctx.save_for_backward(crow_indices, col_indices, values if keep_values else None, x if keep_x else None)


def _matmul_backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    crow_indices, col_indices, values, x = ctx.saved_tensors
    return (
        None,
        None,
        values_grad(crow_indices, col_indices, grad, x) if needs[2] else None,
        _through_weight(crow_indices, col_indices, values, grad, ctx.k) if needs[3] else None,
        flat(grad).sum(0) if needs[4] else None,
    )


def _values_grad_setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*args)


def _values_grad_backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    crow_indices, col_indices, out_grad, x = ctx.saved_tensors
    return (
        None,
        None,
        matmul(crow_indices, col_indices, grad, x, None) if needs[2] else None,
        _through_weight(crow_indices, col_indices, grad, out_grad, x.shape[-1]) if needs[3] else None,
    )


def _packed_setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    x, packed, _, *ctx.sizes = args
    ctx.k = x.shape[-1]
    ctx.save_for_backward(packed)


def _packed_backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[Any, ...]:
    (packed,) = ctx.saved_tensors
    out_features, nnz, batch = ctx.sizes
    grad_x = None
    if needs[0]:
        double = grad.dtype == torch.float64
        crow_indices, col_indices, values = unpack(packed, out_features, ctx.k, nnz, batch, double)
        grad_x = _through_weight(crow_indices, col_indices, values.to(grad.dtype), grad, ctx.k)
    return grad_x, None, flat(grad).sum(0) if needs[2] else None, None, None, None


def _pack_setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    ctx.mark_non_differentiable(output)


def _pack_backward(ctx: Any, needs: Sequence[bool], grad: Tensor) -> tuple[None, ...]:
    return (None,) * len(needs)


register_autograd(matmul, _matmul_setup, _matmul_backward, matmul_plain)
register_autograd(values_grad, _values_grad_setup, _values_grad_backward, values_grad_plain)
register_autograd(packed_matmul, _packed_setup, _packed_backward, packed_plain)
register_autograd(pack, _pack_setup, _pack_backward, pack_plain)
register_autocast(matmul, tensors=(2, 3, 4))
register_autocast(packed_matmul, tensors=(0, 2))  # a packed weight stays float32
