"""Weights as 4-bit integers, a scale for each group of the depth: how they are quantized, stored and read."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.int4_packing import LEAST, MOST, group_count

# Steps tried for a group, as shares of the one that its largest value asks for. A smaller step cuts the largest values
# off and rounds all others less; which is better depends on the group.
_SHARES = tuple(1 - i / 20 for i in range(10))


def _grouped(weight: Tensor, group: int) -> Tensor:
    """``weight [n, k]`` as ``[n, groups, group]``, 0 past the depth."""
    n, k = weight.shape
    groups = group_count(k, group)
    return F.pad(weight, (0, groups * group - k)).reshape(n, groups, group)


def quantize_groups(weight: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """``values [n, k]`` int8 in [-8, 7], and ``scale [n, groups]`` float32, each of them a bfloat16 number.

    Of ten steps for each group that with the least squared error of the weight is taken; rounding is half to even.

    Raises:
        ValueError: the weight holds a NaN or an infinity.
    """
    n, k = weight.shape
    rows = _grouped(weight.detach().float(), group)
    if not rows.isfinite().all():
        raise ValueError("weight must be finite, got NaN or infinite values")
    if rows.numel() == 0:
        return torch.zeros(n, k, dtype=torch.int8), torch.zeros(n, rows.shape[1])
    high, low = rows.amax(2), rows.amin(2)
    widest = torch.maximum(high / MOST, low / LEAST).clamp_min(2.0**-126)  # keeps a group of zeros finite
    best, scale, values = torch.full_like(widest, torch.inf), widest, torch.zeros_like(rows)
    for share in _SHARES:
        step = (widest * share).bfloat16().float().clamp_min(2.0**-126)
        tried = torch.round(rows / step[..., None]).clamp_(LEAST, MOST)
        error = (tried * step[..., None] - rows).square().sum(2)
        better = error < best
        best, scale = torch.where(better, error, best), torch.where(better, step, scale)
        values = torch.where(better[..., None], tried, values)
    return values.to(torch.int8).reshape(n, -1)[:, :k].contiguous(), scale


def to_nibbles(values: Tensor) -> Tensor:
    """``[n, k]`` in [-8, 7] as uint8 ``[n, ceil(k / 2)]``: of each pair the first in the low four bits, 8 added."""
    pairs = (F.pad(values, (0, values.shape[1] % 2)) + 8).to(torch.uint8).reshape(len(values), -1, 2)
    return pairs[..., 0] | pairs[..., 1] << 4


def from_nibbles(nibbles: Tensor, k: int) -> Tensor:
    """The values ``[n, k]`` int8 that ``to_nibbles`` was given."""
    both = torch.stack((nibbles & 15, nibbles >> 4), dim=2).to(torch.int8) - 8
    return both.reshape(len(nibbles), -1)[:, :k].contiguous()
