"""int4_gemm as ops of torch. The contract is ``csrc/api/int4_gemm.h``."""

import torch
from torch import Tensor

from . import _library, int4_packing
from .few_bit_checks import check_rest
from .few_bits import product
from .int4_gemm_checks import check_packed, check_plain, check_values, check_weight

GEMM, PACKED, PACK = "int4_gemm", "int4_gemm_packed", "int4_gemm_pack"
_OPTIONS = "Tensor? bias, str? activation, Tensor? activation_param"
_library.define(f"{GEMM}(Tensor a, Tensor b, Tensor scale, int group, {_OPTIONS}) -> Tensor")
_library.define(f"{PACKED}(Tensor a, Tensor packed, SymInt n, int group, {_OPTIONS}) -> Tensor")
_library.define(f"{PACK}(Tensor b, Tensor scale, int group) -> Tensor")
_library.define("int4_gemm_unpack(Tensor packed, SymInt n, SymInt k, int group) -> (Tensor, Tensor)")

gemm = torch.ops.greenkernels.int4_gemm.default
packed_gemm = torch.ops.greenkernels.int4_gemm_packed.default
pack = torch.ops.greenkernels.int4_gemm_pack.default
unpack = torch.ops.greenkernels.int4_gemm_unpack.default


# Plain torch: what runs where no kernel is compiled, and on other devices.


def dequantize(b: Tensor, scale: Tensor, group: int) -> Tensor:
    """The float32 weight ``[n, k]`` of 4-bit integers and the scales of their groups."""
    return b.float() * scale.repeat_interleave(group, dim=1)[:, : b.shape[1]]


def gemm_plain(a: Tensor, b: Tensor, scale: Tensor, group: int, *rest: object) -> Tensor:
    """The op in torch's own ops."""
    check_plain(GEMM, a, b, scale, group)
    check_values(GEMM, b)
    check_rest(GEMM, a, b.shape[0], *rest)
    return product(a, dequantize(b, scale.bfloat16().float(), group), rest)


def packed_plain(a: Tensor, packed: Tensor, n: int, group: int, *rest: object) -> Tensor:
    """The packed variant in torch's own ops."""
    check_packed(PACKED, a, packed, n, group)
    check_rest(PACKED, a, n, *rest)
    b, scale = int4_packing.unpack(packed, n, a.shape[-1], group)
    return product(a, dequantize(b, scale, group), rest)


def _pack_plain(b: Tensor, scale: Tensor, group: int) -> Tensor:
    check_weight(PACK, b, scale, group)
    check_values(PACK, b)
    return int4_packing.pack(b, scale, group)


# Fake kernels: shapes only, for torch.compile and torch.export.


def _gemm_fake(a: Tensor, b: Tensor, scale: Tensor, group: int, *rest: object) -> Tensor:
    check_plain(GEMM, a, b, scale, group)
    check_rest(GEMM, a, b.shape[0], *rest)
    return a.new_empty((*a.shape[:-1], b.shape[0]))


def _packed_fake(a: Tensor, packed: Tensor, n: int, group: int, *rest: object) -> Tensor:
    check_packed(PACKED, a, packed, n, group)
    check_rest(PACKED, a, n, *rest)
    return a.new_empty((*a.shape[:-1], n))


def _pack_fake(b: Tensor, scale: Tensor, group: int) -> Tensor:
    check_weight(PACK, b, scale, group)
    return b.new_empty(int4_packing.packed_bytes(*b.shape, group), dtype=torch.uint8)


_library.register(gemm, gemm_plain, _gemm_fake)
_library.register(packed_gemm, packed_plain, _packed_fake)
_library.register(pack, _pack_plain, _pack_fake)
_library.LIBRARY.impl("int4_gemm_unpack", int4_packing.unpack, "CompositeImplicitAutograd")
for _overload in (gemm, packed_gemm):
    _library.register_refusal(_overload)
    _library.register_autocast(_overload, (0,))
