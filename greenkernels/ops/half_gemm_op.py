"""half_gemm as ops of torch. The contract is ``csrc/api/half_gemm.h``."""

import torch
from torch import Tensor

from . import _library, half_packing
from . import activation as activations
from .few_bit_checks import check_rest
from .few_bits import Rest
from .half_gemm_checks import check_packed, check_plain, check_weight

GEMM, PACKED, PACK = "half_gemm", "half_gemm_packed", "half_gemm_pack"
_OPTIONS = "Tensor? bias, str? activation, Tensor? activation_param"
_library.define(f"{GEMM}(Tensor a, Tensor b, {_OPTIONS}) -> Tensor")
_library.define(f"{PACKED}(Tensor a, Tensor packed, SymInt n, {_OPTIONS}) -> Tensor")
_library.define(f"{PACK}(Tensor b) -> Tensor")
_library.define("half_gemm_unpack(Tensor packed, SymInt n, SymInt k) -> Tensor")

gemm = torch.ops.greenkernels.half_gemm.default
packed_gemm = torch.ops.greenkernels.half_gemm_packed.default
pack = torch.ops.greenkernels.half_gemm_pack.default
unpack = torch.ops.greenkernels.half_gemm_unpack.default


# Plain torch: what runs where no kernel is compiled, and on other devices.


def _product(a: Tensor, weight: Tensor, rest: Rest) -> Tensor:
    bias, activation, param = rest
    rows = (a.unsqueeze(0) if a.dim() == 1 else a.flatten(0, -2)).float()
    out = torch.nn.functional.linear(rows, weight.float(), bias)
    out = activations.apply(activation, out[:, :, None, None], param)[:, :, 0, 0]  # columns are the channels
    return out.to(a.dtype).reshape(*a.shape[:-1], weight.shape[0])


def gemm_plain(a: Tensor, b: Tensor, *rest: object) -> Tensor:
    """The op in torch's own ops."""
    check_plain(GEMM, a, b)
    check_rest(GEMM, a, b.shape[0], *rest)
    return _product(a, b, rest)


def packed_plain(a: Tensor, packed: Tensor, n: int, *rest: object) -> Tensor:
    """The packed variant in torch's own ops."""
    check_packed(PACKED, a, packed, n)
    check_rest(PACKED, a, n, *rest)
    return _product(a, half_packing.unpack(packed, n, a.shape[-1]), rest)


def _pack_plain(b: Tensor) -> Tensor:
    check_weight(PACK, b)
    return half_packing.pack(b)


# Fake kernels: shapes only, for torch.compile and torch.export.


def _gemm_fake(a: Tensor, b: Tensor, *rest: object) -> Tensor:
    check_plain(GEMM, a, b)
    check_rest(GEMM, a, b.shape[0], *rest)
    return a.new_empty((*a.shape[:-1], b.shape[0]))


def _packed_fake(a: Tensor, packed: Tensor, n: int, *rest: object) -> Tensor:
    check_packed(PACKED, a, packed, n)
    check_rest(PACKED, a, n, *rest)
    return a.new_empty((*a.shape[:-1], n))


def _pack_fake(b: Tensor) -> Tensor:
    check_weight(PACK, b)
    return b.new_empty(half_packing.packed_elements(*b.shape))


_library.register(gemm, gemm_plain, _gemm_fake)
_library.register(packed_gemm, packed_plain, _packed_fake)
_library.register(pack, _pack_plain, _pack_fake)
_library.LIBRARY.impl("half_gemm_unpack", half_packing.unpack, "CompositeImplicitAutograd")
for _overload in (gemm, packed_gemm):
    _library.register_refusal(_overload, "it is for inference and has no gradient")
    _library.register_autocast(_overload, (0,))
