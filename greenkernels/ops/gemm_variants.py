"""What goes with the op of a product: the op that writes into an ``out``, and the op of batches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import _library
from .conv2d_checks import compute_dtype
from .gemm_checks import check_a, check_b, check_batched, check_epilogue, check_out
from .gemm_ops import EPILOGUE, apply_activation, checked

Check = Callable[[str, Tensor], None]  # of the name of an op and its ``a``


def accept(_op: str, _a: Tensor) -> None:
    """Refuses nothing."""


def out_op(
    name: str,
    plain: Callable[..., Tensor],
    check_operand: Check = accept,
    instead: Callable[..., None] | None = None,
) -> Any:
    """Defines and registers ``name.out``: ``activation(a @ b.T + bias + beta * out)`` into ``out``.

    Args:
        name: of the op that returns the product.
        plain: that op in torch's own ops.
        check_operand: what is refused beyond the usual.
        instead: as in ``ProductOp``.
    """
    _library.define(
        f"{name}.out(Tensor a, Tensor b, Tensor? bias, {EPILOGUE}, float beta, *, Tensor(a!) out) -> ()"
    )
    op = getattr(torch.ops.greenkernels, name).out

    def check(a: Tensor, *args: Any, out: Tensor) -> None:
        b, bias, activation, param, _beta = args
        check_operand(name, a)
        check_a(name, a)
        check_b(name, a, b)
        check_epilogue(name, a, b.shape[0], bias, activation, param)
        check_out(name, a, out, b.shape[0])

    def in_torch(a: Tensor, *args: Any, out: Tensor) -> None:
        check(a, *args, out=out)
        b, bias, activation, param, beta = args
        dtype = compute_dtype(a)
        bias = None if bias is None else bias.to(dtype)
        start = out.to(dtype) * beta if beta else None
        total = plain(a.to(dtype), b.to(dtype), bias, None, None)
        total = total if start is None else total + start
        out.copy_(apply_activation(activation, total, param))

    _library.register(op, in_torch if instead is None else checked(check, instead), check)
    _library.register_out(op)
    return op


def batched_op(
    name: str, check_operand: Check = accept, instead: Callable[..., Tensor] | None = None
) -> tuple[Any, Callable[[Tensor, Tensor], Tensor]]:
    """Defines and registers ``name``: ``a [x, m, k] @ b [x, n, k].mT``. The op, and the same in torch's own ops."""
    _library.define(f"{name}(Tensor a, Tensor b) -> Tensor")
    op = getattr(torch.ops.greenkernels, name).default

    def check(a: Tensor, b: Tensor) -> tuple[int, int, int]:
        check_operand(name, a)
        return check_batched(name, a, b)

    def plain(a: Tensor, b: Tensor) -> Tensor:
        check(a, b)
        dtype = compute_dtype(a)
        return (a.to(dtype) @ b.to(dtype).mT).to(a.dtype).contiguous()

    def fake(a: Tensor, b: Tensor) -> Tensor:
        return a.new_empty(check(a, b))

    def setup(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*args)

    def backward(ctx: Any, needs: tuple[bool, ...], grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        return op(grad, b.mT) if needs[0] else None, op(grad.mT, a.mT) if needs[1] else None

    _library.register(op, plain if instead is None else checked(check, instead), fake)
    _library.register_autograd(op, setup, backward, plain)
    _library.register_autocast(op, tensors=(0, 1))
    return op, plain
