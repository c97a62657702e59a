"""The kernels as functions of tensors; each is also ``torch.ops.greenkernels.<name>``."""

from .winograd_conv2d import (
    winograd_conv2d,
    winograd_conv2d_pack,
    winograd_conv2d_packed,
    winograd_conv2d_unpack,
)

__all__ = ["winograd_conv2d", "winograd_conv2d_pack", "winograd_conv2d_packed", "winograd_conv2d_unpack"]
