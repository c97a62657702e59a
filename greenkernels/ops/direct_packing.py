"""The packed weight of direct_conv2d in plain torch; the layout is that of ``csrc/api/direct_conv2d.h``.

For use without a compiled kernel and for the way back from a packed weight.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_PANEL = 32  # output channels of a panel; the last of a group is half as wide if 16 channels or fewer are left for it
_HALF_PANEL = 16


def _padded(channels: int) -> int:
    return (channels + _HALF_PANEL - 1) // _HALF_PANEL * _HALF_PANEL


def packed_size(out_channels: int, group_in_channels: int, kernel_size: Sequence[int], groups: int) -> int:
    """Elements of the packed weight."""
    return groups * kernel_size[0] * kernel_size[1] * group_in_channels * _padded(out_channels // groups)


def pack(weight: Tensor, groups: int) -> Tensor:
    """``[k, c, h, w]`` as ``[group][panel][tap][c][width of the panel]``; float64 for float64, else float32."""
    k, c, h, w = weight.shape
    taps = weight.reshape(groups, k // groups, c, h * w).permute(0, 3, 2, 1)
    taps = taps.reshape(groups, h * w * c, k // groups)
    taps = F.pad(taps, (0, _padded(k // groups) - k // groups))
    panels = [panel.reshape(-1) for group in taps for panel in group.split(_PANEL, dim=1)]
    return torch.cat(panels).to(torch.float64 if weight.dtype == torch.float64 else torch.float32)


def unpack(
    packed: Tensor, out_channels: int, group_in_channels: int, kernel_size: Sequence[int], groups: int
) -> Tensor:
    """The weight ``[k, c, h, w]`` that ``packed`` holds."""
    expected = packed_size(out_channels, group_in_channels, kernel_size, groups)
    if packed.dim() != 1 or packed.shape[0] != expected:
        raise RuntimeError(
            f"direct_conv2d_unpack: packed must have {expected} elements for {out_channels} output channels, "
            f"{group_in_channels} input channels a group, kernel_size {list(kernel_size)} and groups {groups}, "
            f"got shape {list(packed.shape)}"
        )
    h, w = kernel_size
    k, depth = out_channels // groups, h * w * group_in_channels
    if packed.numel() == 0:
        return packed.new_zeros(out_channels, group_in_channels, h, w)
    widths = [min(_PANEL, _padded(k) - first) for first in range(0, _padded(k), _PANEL)]
    columns = [
        torch.cat([p.reshape(depth, -1) for p in group.split([depth * width for width in widths])], dim=1)
        for group in packed.split(depth * _padded(k))
    ]
    taps = torch.stack(columns)[..., :k].reshape(groups, h * w, group_in_channels, k)
    return taps.permute(0, 3, 2, 1).reshape(out_channels, group_in_channels, h, w).contiguous()
