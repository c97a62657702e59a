"""The packed weight of sgemm in plain torch; the layout is that of ``csrc/api/sgemm.h``.

For use without a compiled kernel and for the way back from a packed weight.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_SLICE, _PANEL, _HALF_PANEL = 256, 32, 16


def padded_columns(n: int) -> int:
    return (n + _HALF_PANEL - 1) // _HALF_PANEL * _HALF_PANEL


def packed_size(n: int, k: int) -> int:
    """Elements of the packed weight."""
    return padded_columns(n) * k


def pack(b: Tensor) -> Tensor:
    """``[n, k]`` as ``[slice][panel][d of the slice][width]``; float64 for float64, else float32."""
    n = b.shape[0]
    columns = F.pad(b.t(), (0, padded_columns(n) - n))
    blocks = [panel.reshape(-1) for part in columns.split(_SLICE) for panel in part.split(_PANEL, dim=1)]
    return torch.cat(blocks).to(torch.float64 if b.dtype == torch.float64 else torch.float32)


def unpack(packed: Tensor, n: int, k: int) -> Tensor:
    """The weight ``[n, k]`` that ``packed`` holds."""
    if packed.dim() != 1 or packed.shape[0] != packed_size(n, k):
        raise RuntimeError(
            f"sgemm_unpack: packed must have {packed_size(n, k)} elements for n = {n} and k = {k}, "
            f"got shape {list(packed.shape)}"
        )
    if packed.numel() == 0:
        return packed.new_zeros(n, k)
    padded = padded_columns(n)
    widths = [min(_PANEL, padded - first) for first in range(0, padded, _PANEL)]
    parts = []
    for part in packed.split(_SLICE * padded):
        depth = part.shape[0] // padded
        panels = part.split([depth * width for width in widths])
        parts.append(torch.cat([panel.reshape(depth, -1) for panel in panels], dim=1))
    return torch.cat(parts)[:, :n].t().contiguous()
