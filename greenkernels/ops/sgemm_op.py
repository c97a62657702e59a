"""sgemm as ops of torch. The contract is ``csrc/api/sgemm.h``."""

from . import gemm_packing
from .gemm_ops import GemmOps, Stem
from .gemm_variants import batched_op, out_op

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
gemm_out = out_op("sgemm", gemm_plain)
batched, batched_plain = batched_op("sgemm_batched")
