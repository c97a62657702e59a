"""direct_conv2d as ops of torch. The contract is ``csrc/api/direct_conv2d.h``."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, ops

from . import _library, direct_packing
from .direct_conv2d_checks import check_conv, check_pack, check_packed
from .fused_conv2d import FusedConv2d, Geometry, Stem
from .fused_conv2d_grad import register_gradients


def _unpack(packed: Tensor, x: Tensor, out_channels: int, kernel_size: Sequence[int], *kernel: Any) -> Tensor:
    groups = kernel[3]
    return direct_packing.unpack(packed, out_channels, x.shape[1] // groups, kernel_size, groups)


_OPS = FusedConv2d(
    Stem(
        name="direct_conv2d",
        shape="SymInt out_channels, SymInt[2] kernel_size",
        kernel="SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, int groups",
        pack="int groups",
        geometry=lambda _weight, *kernel: Geometry(*kernel),
        check_conv=check_conv,
        check_packed=check_packed,
        check_pack=check_pack,
        pack_plain=direct_packing.pack,
        packed_size=lambda weight, groups: direct_packing.packed_size(
            *weight.shape[:2], weight.shape[2:], groups
        ),
        unpack=_unpack,
    )
)
register_gradients(_OPS)
_library.define(
    "direct_conv2d_unpack(Tensor packed, SymInt out_channels, SymInt group_in_channels, SymInt[2] kernel_size, "
    "int groups) -> Tensor"
)
_library.LIBRARY.impl("direct_conv2d_unpack", direct_packing.unpack, "CompositeImplicitAutograd")

conv, conv_out = _OPS.conv, _OPS.conv_out
packed_conv, packed_conv_out = _OPS.packed_conv, _OPS.packed_conv_out
pack, unpack = _OPS.pack, ops.greenkernels.direct_conv2d_unpack.default
conv_plain, packed_plain = _OPS.conv_plain, _OPS.packed_plain
