"""depthwise_conv2d as ops of torch. The contract is ``csrc/api/depthwise_conv2d.h``."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, ops

from . import _library, depthwise_packing
from .depthwise_conv2d_checks import check_conv, check_pack, check_packed
from .fused_conv2d import FusedConv2d, Geometry, Stem
from .fused_conv2d_grad import register_gradients


def _geometry(weight: Tensor, *kernel: Sequence[int]) -> Geometry:
    return Geometry(*kernel, weight.shape[0])


def _unpack(packed: Tensor, x: Tensor, kernel_size: Sequence[int], *_kernel: Any) -> Tensor:
    return depthwise_packing.unpack(packed, x.shape[1], kernel_size)


_OPS = FusedConv2d(
    Stem(
        name="depthwise_conv2d",
        shape="SymInt[2] kernel_size",
        kernel="SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation",
        pack="",
        geometry=_geometry,
        check_conv=check_conv,
        check_packed=check_packed,
        check_pack=check_pack,
        pack_plain=depthwise_packing.pack,
        packed_size=lambda weight: depthwise_packing.packed_size(weight.shape[0], weight.shape[2:]),
        unpack=_unpack,
    )
)
register_gradients(_OPS)
_library.define("depthwise_conv2d_unpack(Tensor packed, SymInt channels, SymInt[2] kernel_size) -> Tensor")
_library.LIBRARY.impl("depthwise_conv2d_unpack", depthwise_packing.unpack, "CompositeImplicitAutograd")

conv, conv_out = _OPS.conv, _OPS.conv_out
packed_conv, packed_conv_out = _OPS.packed_conv, _OPS.packed_conv_out
pack, unpack = _OPS.pack, ops.greenkernels.depthwise_conv2d_unpack.default
conv_plain, packed_plain = _OPS.conv_plain, _OPS.packed_plain
