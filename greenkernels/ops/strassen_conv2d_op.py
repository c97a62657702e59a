"""strassen_conv2d as ops of torch. The contract is ``csrc/api/strassen_conv2d.h``."""

from typing import Any

from torch import Tensor

from . import strassen_packing
from .fused_conv2d import FusedConv2d, Geometry, Stem
from .fused_conv2d_grad import register_gradients
from .strassen_conv2d_checks import check_conv, check_pack, check_packed


def _matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1)


def _unpack(packed: Tensor, x: Tensor, out_channels: int, levels: int, *_: Any) -> Tensor:
    return strassen_packing.unpack(packed, out_channels, x.shape[1], levels)[:, :, None, None]


_OPS = FusedConv2d(
    Stem(
        name="strassen_conv2d",
        shape="SymInt out_channels",
        kernel="int levels",
        pack="int levels",
        geometry=lambda _weight, _levels: Geometry((1, 1), (0, 0), (1, 1), 1),
        check_conv=check_conv,
        check_packed=check_packed,
        check_pack=check_pack,
        pack_plain=lambda weight, levels: strassen_packing.pack(_matrix(weight), levels),
        packed_size=lambda weight, levels: strassen_packing.packed_size(*weight.shape[:2], levels),
        unpack=_unpack,
    )
)
register_gradients(_OPS)

conv, conv_out = _OPS.conv, _OPS.conv_out
packed_conv, packed_conv_out = _OPS.packed_conv, _OPS.packed_conv_out
pack = _OPS.pack
conv_plain, packed_plain = _OPS.conv_plain, _OPS.packed_plain
