"""strassen_gemm as ops of torch. The contract is ``csrc/api/strassen_gemm.h``."""

from . import strassen_packing
from .gemm_ops import GemmOps, Stem
from .strassen_conv2d_checks import check_levels

_OPS = GemmOps(
    Stem(
        name="strassen_gemm",
        options="int levels, ",
        count=1,
        pack_plain=strassen_packing.pack,
        packed_size=strassen_packing.packed_size,
        unpack=strassen_packing.unpack,
        check=check_levels,
    )
)
gemm, packed_gemm, pack = _OPS.gemm, _OPS.packed_gemm, _OPS.pack
gemm_plain, packed_plain, unpack = _OPS.gemm_plain, _OPS.packed_plain, strassen_packing.unpack
