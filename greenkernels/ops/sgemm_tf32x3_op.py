"""sgemm_tf32x3 as ops of torch: sgemm by tensor cores, three products of TF32 for one of float32.

The contract is in ``csrc/api/sgemm.h``. Only CUDA has kernels of that name: elsewhere sgemm computes, which is at
least as exact.
"""

from typing import Any

import torch
from torch import Tensor

from . import sgemm_op
from .conv2d_checks import dtype_name, fail
from .gemm_ops import ProductOp
from .gemm_variants import batched_op, out_op


def _refuse_float64(op: str, a: Tensor) -> None:
    if a.dtype == torch.float64:
        fail(op, f"a must be float16, bfloat16 or float32, got {dtype_name(a.dtype)}")


class _Op(ProductOp):
    def _check_gemm(self, a: Tensor, *args: Any) -> None:
        _refuse_float64(self._gemm, a)
        super()._check_gemm(a, *args)


_OP = _Op("sgemm_tf32x3", instead=sgemm_op.gemm)
gemm, gemm_plain = _OP.gemm, _OP.gemm_plain
gemm_out = out_op("sgemm_tf32x3", gemm_plain, _refuse_float64, instead=sgemm_op.gemm_out)
batched, batched_plain = batched_op("sgemm_tf32x3_batched", _refuse_float64, instead=sgemm_op.batched)
