"""codebook_gemm as ops of torch. The contract is ``csrc/api/codebook_gemm.h``."""

import torch
from torch import Tensor

from . import _library, codebook_packing
from .codebook_gemm_checks import check_codebook, check_packed, check_plain, check_values
from .codebook_packing import bits_of
from .few_bit_checks import check_rest
from .few_bits import product

GEMM, PACKED, PACK = "codebook_gemm", "codebook_gemm_packed", "codebook_gemm_pack"
_OPTIONS = "Tensor? bias, str? activation, Tensor? activation_param"
_library.define(f"{GEMM}(Tensor a, Tensor b, Tensor table, Tensor scale, int group, {_OPTIONS}) -> Tensor")
_library.define(f"{PACKED}(Tensor a, Tensor packed, SymInt n, int group, int bits, {_OPTIONS}) -> Tensor")
_library.define(f"{PACK}(Tensor b, Tensor table, Tensor scale, int group) -> Tensor")
_library.define(
    "codebook_gemm_unpack(Tensor packed, SymInt n, SymInt k, int group, int bits) -> (Tensor, Tensor, Tensor)"
)

gemm = torch.ops.greenkernels.codebook_gemm.default
packed_gemm = torch.ops.greenkernels.codebook_gemm_packed.default
pack = torch.ops.greenkernels.codebook_gemm_pack.default
unpack = torch.ops.greenkernels.codebook_gemm_unpack.default


# Plain torch: what runs where no kernel is compiled, and on other devices.


def dequantize(b: Tensor, table: Tensor, scale: Tensor, group: int) -> Tensor:
    """The float32 weight ``[n, k]`` of places in a table and the scales of their groups."""
    return table.float()[b.long()] * scale.repeat_interleave(group, dim=1)[:, : b.shape[1]]


def gemm_plain(a: Tensor, b: Tensor, table: Tensor, scale: Tensor, group: int, *rest: object) -> Tensor:
    """The op in torch's own ops."""
    check_plain(GEMM, a, b, table, scale, group)
    check_values(GEMM, b, table)
    check_rest(GEMM, a, b.shape[0], *rest)
    return product(a, dequantize(b, table, scale.bfloat16().float(), group), rest)


def packed_plain(a: Tensor, packed: Tensor, n: int, group: int, bits: int, *rest: object) -> Tensor:
    """The packed variant in torch's own ops."""
    check_packed(PACKED, a, packed, n, group, bits)
    check_rest(PACKED, a, n, *rest)
    return product(a, dequantize(*codebook_packing.unpack(packed, n, a.shape[-1], group, bits), group), rest)


def _pack_plain(b: Tensor, table: Tensor, scale: Tensor, group: int) -> Tensor:
    check_codebook(PACK, b, table, scale, group)
    check_values(PACK, b, table)
    return codebook_packing.pack(b, table, scale, group)


# Fake kernels: shapes only, for torch.compile and torch.export.


def _gemm_fake(a: Tensor, b: Tensor, table: Tensor, scale: Tensor, group: int, *rest: object) -> Tensor:
    check_plain(GEMM, a, b, table, scale, group)
    check_rest(GEMM, a, b.shape[0], *rest)
    return a.new_empty((*a.shape[:-1], b.shape[0]))


def _packed_fake(a: Tensor, packed: Tensor, n: int, group: int, bits: int, *rest: object) -> Tensor:
    check_packed(PACKED, a, packed, n, group, bits)
    check_rest(PACKED, a, n, *rest)
    return a.new_empty((*a.shape[:-1], n))


def _pack_fake(b: Tensor, table: Tensor, scale: Tensor, group: int) -> Tensor:
    check_codebook(PACK, b, table, scale, group)
    return b.new_empty(codebook_packing.packed_bytes(*b.shape, group, bits_of(table)), dtype=torch.uint8)


_library.register(gemm, gemm_plain, _gemm_fake)
_library.register(packed_gemm, packed_plain, _packed_fake)
_library.register(pack, _pack_plain, _pack_fake)
_library.LIBRARY.impl("codebook_gemm_unpack", codebook_packing.unpack, "CompositeImplicitAutograd")
for _overload in (gemm, packed_gemm):
    _library.register_refusal(_overload)
    _library.register_autocast(_overload, (0,))
