"""The packed weight of depthwise_conv2d in plain torch; the layout is that of ``csrc/api/depthwise_conv2d.h``.

For use without a compiled kernel and for the way back from a packed weight.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_LANES = 16  # channels are rounded up to a multiple of this


def _padded(channels: int) -> int:
    return (channels + _LANES - 1) // _LANES * _LANES


def packed_size(channels: int, kernel_size: Sequence[int]) -> int:
    """Elements of the packed weight."""
    return kernel_size[0] * kernel_size[1] * _padded(channels)


def pack(weight: Tensor) -> Tensor:
    """``[c, 1, h, w]`` as ``[tap][c, rounded up]``; float64 for float64, else float32."""
    taps = weight.flatten(1).t()
    packed = F.pad(taps, (0, _padded(taps.shape[1]) - taps.shape[1])).reshape(-1)
    return packed.to(torch.float64 if weight.dtype == torch.float64 else torch.float32)


def unpack(packed: Tensor, channels: int, kernel_size: Sequence[int]) -> Tensor:
    """The weight ``[c, 1, h, w]`` that ``packed`` holds."""
    expected = packed_size(channels, kernel_size)
    if packed.dim() != 1 or packed.shape[0] != expected:
        raise RuntimeError(
            f"depthwise_conv2d_unpack: packed must have {expected} elements for {channels} channels and "
            f"kernel_size {list(kernel_size)}, got shape {list(packed.shape)}"
        )
    taps = packed.view(kernel_size[0] * kernel_size[1], _padded(channels))[:, :channels]
    return taps.t().reshape(channels, 1, *kernel_size).contiguous()
