"""Weights as places in a table of few integers: how tables are made of floats, and how places are stored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.codebook_packing import LEAST, MOST

ROUNDS = 50  # of k-means; on a line it settles long before
POWER = 32  # the largest power of two among the entries on both sides of 0


def to_table(codebook: Tensor) -> tuple[Tensor, Tensor]:
    """int8 entries in [-64, 63] and the float32 value of one step, ``[]``, that stand for a codebook of floats.

    Of two steps, that with which the largest entry becomes 63 and that with which it becomes 32, so that powers of two
    are exact, the one with the smaller error.
    """
    largest = codebook.detach().float().abs().amax().clamp_min(2.0**-120)
    made = []
    for most in (MOST, POWER):
        unit = largest / most
        table = torch.round(codebook.detach().float() / unit).clamp(LEAST, MOST)
        made.append((float((table * unit - codebook).square().sum()), table.to(torch.int8), unit))
    _, table, unit = min(made, key=lambda found: found[0])
    return table, unit


def to_bytes(places: Tensor, bits: int) -> Tensor:
    """Places ``[n, k]`` below ``2^bits`` as uint8 ``[n, ceil(k * bits / 8)]``, the first in the lowest bits."""
    fields = 8 // bits
    rows = F.pad(places, (0, -places.shape[1] % fields)).reshape(len(places), -1, fields)
    found = torch.zeros_like(rows[..., 0])
    for field in range(fields):
        found |= rows[..., field] << bits * field
    return found


def from_bytes(packed: Tensor, bits: int, k: int) -> Tensor:
    """The places ``[n, k]`` uint8 that ``to_bytes`` was given."""
    most = (1 << bits) - 1
    fields = torch.stack([packed >> bits * field & most for field in range(8 // bits)], dim=2)
    return fields.reshape(len(packed), -1)[:, :k].contiguous()


def find_codebook(values: Tensor, count: int, holds_zero: bool = False) -> Tensor:
    """float32 ``[count]``, ascending: of the sum of squared distances of values to their nearest entry a local minimum.

    Lloyd's iterations from entries between quantiles and equal distances, on sorted values with running sums, so that
    a round takes no longer for many values.

    Args:
        values: of any shape.
        count: of entries.
        holds_zero: whether 0 is one of them, and stays where it is.
    """
    ordered = values.detach().flatten().double().sort().values
    ordered = ordered[ordered != 0] if holds_zero and bool((ordered != 0).any()) else ordered
    entries = count - holds_zero
    at = (torch.arange(entries, dtype=torch.float64) + 0.5) / entries
    quantiles = ordered[(at * len(ordered)).long()]
    evenly = ordered[0] + at * (ordered[-1] - ordered[0])
    found = (quantiles + evenly) / 2
    sums = torch.nn.functional.pad(ordered.cumsum(0), (1, 0))
    for _ in range(ROUNDS):
        ends = torch.searchsorted(ordered, (found[1:] + found[:-1]) / 2)
        ends = torch.cat((ends.new_zeros(1), ends, ends.new_tensor([len(ordered)])))
        sizes = ends.diff()
        means = sums[ends].diff() / sizes.clamp_min(1)
        found = torch.where(sizes > 0, means, found).sort().values
    found = found.float()
    return torch.cat((found, found.new_zeros(1))).sort().values if holds_zero else found


def nearest(values: Tensor, codebook: Tensor) -> Tensor:
    """uint8 of the shape of ``values``: the place of the nearest entry of an ascending codebook."""
    return torch.bucketize(values, (codebook[1:] + codebook[:-1]) / 2).to(torch.uint8)


def group_steps(weight: Tensor, group: int) -> Tensor:
    """The largest size of each group of inputs of ``weight [n, k]``, as bfloat16 numbers, float32 ``[n, groups]``."""
    groups = -(-weight.shape[1] // group)
    padded = F.pad(weight, (0, groups * group - weight.shape[1])).reshape(len(weight), groups, group)
    if padded.numel() == 0:
        return weight.new_ones(len(weight), groups)
    return padded.abs().amax(2).bfloat16().float().clamp_min(2.0**-120)


def check_finite(weight: Tensor) -> None:
    """Raises a ValueError where the weight holds a NaN or an infinity."""
    if not weight.isfinite().all():
        raise ValueError("weight must be finite, got NaN or infinite values")


def quantize_codebook(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places ``[n, k]``, the table and scales ``[n, groups]`` of a weight, by k-means over what groups are scaled to.

    Raises:
        ValueError: the weight holds a NaN or an infinity.
    """
    check_finite(weight)
    rows = weight.detach().float()
    step = group_steps(rows, group)
    if rows.numel() == 0:
        return rows.to(torch.uint8), torch.zeros(1 << bits, dtype=torch.int8), step
    scaled = rows / step.repeat_interleave(group, 1)[:, : rows.shape[1]]
    table, unit = to_table(find_codebook(scaled, 1 << bits))
    return nearest(scaled, table.float() * unit), table, step * unit
