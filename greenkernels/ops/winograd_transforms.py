"""The filter side of Winograd's F(m x m, 3 x 3) in plain torch: ``U = G g G^T`` and back, in the panels of
the packed weight.

The twin of ``csrc/api/winograd_transforms.h`` and of the layout in ``csrc/api/winograd_conv2d.h``, for use
without a compiled kernel and for the way back from a packed weight.
"""

from functools import cache

import torch
from torch import Tensor

TILES = (2, 4, 6)

_PANEL = (
    32  # output channels of a panel; the last one is half as wide if 16 channels or fewer are left for it
)
_HALF_PANEL = 16
_POINT_PAIRS = {2: (1.0,), 4: (0.75, 1.5), 6: (1.0, 2.0, 0.5)}  # finite interpolation points: 0 and +-p


@cache
def filter_transform(tile: int) -> tuple[tuple[float, float, float], ...]:
    """``G [tile + 2, 3]``, row i: powers of point i over the product of its differences from the other points."""
    points = [0.0, *(sign * p for p in _POINT_PAIRS[tile] for sign in (1, -1))]
    rows = []
    for p in points:
        norm = 1.0
        for other in points:
            norm *= p - other if other != p else 1.0
        rows.append((1 / norm, p / norm, p * p / norm))
    return (*rows, (0.0, 0.0, 1.0))  # the point at infinity


def _g(tile: int, device: torch.device) -> Tensor:
    return torch.tensor(filter_transform(tile), dtype=torch.float64, device=device)


def padded_channels(out_channels: int) -> int:
    """Output channels that the packed weight has room for."""
    return (out_channels + _HALF_PANEL - 1) // _HALF_PANEL * _HALF_PANEL


def packed_size(out_channels: int, in_channels: int, tile: int) -> int:
    """Elements of the packed weight."""
    return (tile + 2) ** 2 * in_channels * padded_channels(out_channels)


def pack(weight: Tensor, tile: int) -> Tensor:
    """``weight [k, c, 3, 3]`` as ``[panel][tap][c][width of the panel]``; float64 for float64, else float32."""
    k, c = weight.shape[:2]
    g = _g(tile, weight.device)
    taps = torch.einsum("ai,kcij,bj->abck", g, weight.double(), g).reshape((tile + 2) ** 2, c, k)
    taps = torch.nn.functional.pad(taps, (0, padded_channels(k) - k))
    panels = [panel.reshape(-1) for panel in taps.split(_PANEL, dim=2)]
    return torch.cat(panels).to(torch.float64 if weight.dtype == torch.float64 else torch.float32)


def unpack(packed: Tensor, out_channels: int, in_channels: int, tile: int) -> Tensor:
    """The weight ``[k, c, 3, 3]`` whose transform is nearest to ``packed``, by least squares."""
    expected = packed_size(out_channels, in_channels, tile)
    if packed.dim() != 1 or packed.shape[0] != expected:
        raise RuntimeError(
            f"winograd_conv2d_unpack: packed must have {expected} elements for {in_channels} -> {out_channels} "
            f"channels and tile {tile}, got shape {list(packed.shape)}"
        )
    widths = [
        min(_PANEL, padded_channels(out_channels) - k)
        for k in range(0, padded_channels(out_channels), _PANEL)
    ]
    panels = packed.double().split([(tile + 2) ** 2 * in_channels * width for width in widths])
    shaped = [
        panel.reshape(tile + 2, tile + 2, in_channels, width)
        for panel, width in zip(panels, widths, strict=True)
    ]
    if not shaped:
        return packed.new_zeros(0, in_channels, 3, 3)
    back = torch.linalg.pinv(_g(tile, packed.device))  # [3, tile + 2], and back @ G is the identity
    weight = torch.einsum("ia,abck,jb->kcij", back, torch.cat(shaped, dim=3)[..., :out_channels], back)
    return weight.to(packed.dtype).contiguous()
