"""The kernels as functions of tensors; each is also ``torch.ops.greenkernels.<name>``."""

from .codebook_gemm import (
    codebook_gemm,
    codebook_gemm_pack,
    codebook_gemm_packed,
    codebook_gemm_unpack,
)
from .csr_conv2d import csr_conv2d_packed
from .csr_matmul import csr_matmul, csr_matmul_pack, csr_matmul_packed
from .depthwise_conv2d import (
    depthwise_conv2d,
    depthwise_conv2d_pack,
    depthwise_conv2d_packed,
    depthwise_conv2d_unpack,
)
from .direct_conv2d import direct_conv2d, direct_conv2d_pack, direct_conv2d_packed, direct_conv2d_unpack
from .half_gemm import half_gemm, half_gemm_pack, half_gemm_packed, half_gemm_unpack
from .int4_gemm import int4_gemm, int4_gemm_pack, int4_gemm_packed, int4_gemm_unpack
from .int8_conv2d import int8_conv2d, int8_conv2d_pack, int8_conv2d_packed, int8_conv2d_unpack
from .int8_gemm import int8_gemm, int8_gemm_pack, int8_gemm_packed, int8_gemm_unpack
from .int8_winograd_conv2d import (
    int8_winograd_conv2d,
    int8_winograd_conv2d_pack,
    int8_winograd_conv2d_packed,
)
from .separable_conv2d import separable_conv2d_packed
from .sgemm import matmul, sgemm, sgemm_pack, sgemm_packed, sgemm_unpack
from .strassen_conv2d import strassen_conv2d, strassen_conv2d_pack, strassen_conv2d_packed
from .strassen_gemm import strassen_gemm, strassen_gemm_pack, strassen_gemm_packed
from .strassen_levels import choose_levels, tune_levels
from .winograd_conv2d import (
    winograd_conv2d,
    winograd_conv2d_pack,
    winograd_conv2d_packed,
    winograd_conv2d_unpack,
)

__all__ = [
    "choose_levels",
    "codebook_gemm",
    "codebook_gemm_pack",
    "codebook_gemm_packed",
    "codebook_gemm_unpack",
    "csr_conv2d_packed",
    "csr_matmul",
    "csr_matmul_pack",
    "csr_matmul_packed",
    "depthwise_conv2d",
    "depthwise_conv2d_pack",
    "depthwise_conv2d_packed",
    "depthwise_conv2d_unpack",
    "direct_conv2d",
    "direct_conv2d_pack",
    "direct_conv2d_packed",
    "direct_conv2d_unpack",
    "half_gemm",
    "half_gemm_pack",
    "half_gemm_packed",
    "half_gemm_unpack",
    "int4_gemm",
    "int4_gemm_pack",
    "int4_gemm_packed",
    "int4_gemm_unpack",
    "int8_conv2d",
    "int8_conv2d_pack",
    "int8_conv2d_packed",
    "int8_conv2d_unpack",
    "int8_gemm",
    "int8_gemm_pack",
    "int8_gemm_packed",
    "int8_gemm_unpack",
    "int8_winograd_conv2d",
    "int8_winograd_conv2d_pack",
    "int8_winograd_conv2d_packed",
    "matmul",
    "separable_conv2d_packed",
    "sgemm",
    "sgemm_pack",
    "sgemm_packed",
    "sgemm_unpack",
    "strassen_conv2d",
    "strassen_conv2d_pack",
    "strassen_conv2d_packed",
    "strassen_gemm",
    "strassen_gemm_pack",
    "strassen_gemm_packed",
    "tune_levels",
    "winograd_conv2d",
    "winograd_conv2d_pack",
    "winograd_conv2d_packed",
    "winograd_conv2d_unpack",
]
