"""sgemm as ops of torch. The contract is ``csrc/api/sgemm.h``."""

from typing import Any

import torch
from torch import Tensor

from . import _library, gemm_packing
from .conv2d_checks import compute_dtype
from .gemm_checks import check_a, check_b, check_batched, check_epilogue, check_out
from .gemm_ops import GemmOps, Stem, apply_activation

_OPS = GemmOps(
    Stem(
        name="sgemm",
        options="",
        count=0,
        pack_plain=gemm_packing.pack,
        packed_size=gemm_packing.packed_size,
        unpack=gemm_packing.unpack,
    )
)
gemm, packed_gemm, pack = _OPS.gemm, _OPS.packed_gemm, _OPS.pack
gemm_plain, packed_plain, unpack = _OPS.gemm_plain, _OPS.packed_plain, gemm_packing.unpack

_OUT, _BATCHED = "sgemm.out", "sgemm_batched"
_library.define(
    f"{_OUT}(Tensor a, Tensor b, Tensor? bias, str? activation, Tensor? activation_param, float beta, *, "
    "Tensor(a!) out) -> ()"
)
_library.define(f"{_BATCHED}(Tensor a, Tensor b) -> Tensor")
gemm_out, batched = torch.ops.greenkernels.sgemm.out, torch.ops.greenkernels.sgemm_batched.default


def _check_out(
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    activation: str | None,
    param: Tensor | None,
    _beta: float,
    out: Tensor,
) -> None:
    check_a("sgemm", a)
    check_b("sgemm", a, b)
    check_epilogue("sgemm", a, b.shape[0], bias, activation, param)
    check_out("sgemm", a, out, b.shape[0])


def _out_plain(a: Tensor, *args: Any, out: Tensor) -> None:
    _check_out(a, *args, out=out)
    b, bias, activation, param, beta = args
    bias = None if bias is None else bias.to(compute_dtype(a))
    dtype = compute_dtype(a)
    start = out.to(dtype) * beta if beta else None
    total = gemm_plain(a.to(dtype), b.to(dtype), bias, None, None)
    total = total if start is None else total + start
    out.copy_(apply_activation(activation, total, param))


def _out_fake(a: Tensor, *args: Any, out: Tensor) -> None:
    _check_out(a, *args, out=out)


def batched_plain(a: Tensor, b: Tensor) -> Tensor:
    """The product of batches in torch's own ops."""
    check_batched(_BATCHED, a, b)
    dtype = compute_dtype(a)
    return (a.to(dtype) @ b.to(dtype).mT).to(a.dtype).contiguous()


def _batched_fake(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(check_batched(_BATCHED, a, b))


def _setup_batched(ctx: Any, args: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*args)


def _backward_batched(ctx: Any, needs: tuple[bool, ...], grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b = ctx.saved_tensors
    return (
        batched(grad, b.mT) if needs[0] else None,
        batched(grad.mT, a.mT) if needs[1] else None,
    )


_library.register(gemm_out, _out_plain, _out_fake)
_library.register(batched, batched_plain, _batched_fake)
_library.register_out(gemm_out)
_library.register_autograd(batched, _setup_batched, _backward_batched, batched_plain)
_library.register_autocast(batched, tensors=(0, 1))
