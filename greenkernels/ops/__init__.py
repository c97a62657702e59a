"""The kernels as functions of tensors; each is also ``torch.ops.greenkernels.<name>``."""

from .direct_conv2d import direct_conv2d, direct_conv2d_pack, direct_conv2d_packed, direct_conv2d_unpack
from .winograd_conv2d import (
    winograd_conv2d,
    winograd_conv2d_pack,
    winograd_conv2d_packed,
    winograd_conv2d_unpack,
)

__all__ = [
    "direct_conv2d",
    "direct_conv2d_pack",
    "direct_conv2d_packed",
    "direct_conv2d_unpack",
    "winograd_conv2d",
    "winograd_conv2d_pack",
    "winograd_conv2d_packed",
    "winograd_conv2d_unpack",
]
