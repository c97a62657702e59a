"""strassen_gemm as ops of torch. The contract is ``csrc/api/strassen_gemm.h``."""

from . import strassen_packing
from .conv2d_checks import fail
from .gemm_ops import GemmOps, Stem


def _check(op: str, levels: int) -> None:
    if not 0 <= levels <= strassen_packing.MAX_LEVELS:
        fail(op, f"levels must be 0 to {strassen_packing.MAX_LEVELS}, got {levels}")


_OPS = GemmOps(
    Stem(
        name="strassen_gemm",
        options="int levels, ",
        count=1,
        pack_plain=strassen_packing.pack,
        packed_size=strassen_packing.packed_size,
        unpack=strassen_packing.unpack,
        check=_check,
    )
)
gemm, packed_gemm, pack = _OPS.gemm, _OPS.packed_gemm, _OPS.pack
gemm_plain, packed_plain, unpack = _OPS.gemm_plain, _OPS.packed_plain, strassen_packing.unpack
