"""winograd_conv2d as ops of torch. The contract is ``csrc/api/winograd_conv2d.h``."""

from torch import ops

from . import _library, winograd_transforms
from .fused_conv2d import FusedConv2d, Geometry, Stem
from .fused_conv2d_grad import register_gradients
from .winograd_conv2d_checks import check_conv, check_pack, check_packed
from .winograd_conv2d_grad import backward

_OPS = FusedConv2d(
    Stem(
        name="winograd_conv2d",
        shape="SymInt out_channels",
        kernel="SymInt[2] padding, int tile",
        pack="int tile",
        geometry=lambda _weight, padding, _tile: Geometry((1, 1), padding, (1, 1), 1),
        check_conv=check_conv,
        check_packed=check_packed,
        check_pack=check_pack,
        pack_plain=winograd_transforms.pack,
        packed_size=lambda weight, tile: winograd_transforms.packed_size(*weight.shape[:2], tile),
        unpack=lambda packed, x, out_channels, _padding, tile: winograd_transforms.unpack(
            packed, out_channels, x.shape[1], tile
        ),
        backward=backward,
    )
)
register_gradients(_OPS)
_library.define(
    "winograd_conv2d_unpack(Tensor packed, SymInt out_channels, SymInt in_channels, int tile) -> Tensor"
)
_library.LIBRARY.impl("winograd_conv2d_unpack", winograd_transforms.unpack, "CompositeImplicitAutograd")

conv, conv_out = _OPS.conv, _OPS.conv_out
packed_conv, packed_conv_out = _OPS.packed_conv, _OPS.packed_conv_out
pack, unpack = _OPS.pack, ops.greenkernels.winograd_conv2d_unpack.default
conv_plain, packed_plain = _OPS.conv_plain, _OPS.packed_plain
