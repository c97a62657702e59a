"""Where a grid should end: at the largest value, or before it, so that the many small values are rounded less.

Each function takes rows ``[r, c]``, the bits and whether the grid is symmetric, and gives low and high ``[r]``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Ends = tuple[Tensor, Tensor]
OUTSIDE = 1e-4  # share of values that "percentile" leaves outside on each side
SHARES = tuple(1 - i / 40 for i in range(32))  # of the largest value, tried by "squares" and "entropy"
BINS = 2048  # of the histogram of a row
LEAST_STEP = 2.0**-126  # keeps what is all zeros finite


def step_and_zero(low: Tensor, high: Tensor, bits: int, symmetric: bool) -> Ends:
    """The scale, and the integer that stands for 0, with which [low, high], 0 in it, fills the signed integers."""
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    if symmetric:
        return torch.maximum(high / most, low / least).clamp_min(LEAST_STEP), torch.zeros_like(low)
    scale = ((high - low) / (most - least)).clamp_min(LEAST_STEP)
    return scale, (least - torch.round(low / scale)).clamp(least, most)


def largest(rows: Tensor, bits: int, symmetric: bool) -> Ends:
    """All values."""
    return rows.amin(1), rows.amax(1)


def percentile(rows: Tensor, bits: int, symmetric: bool) -> Ends:
    """All but the outermost values; of a row shorter than that share asks for, all."""
    outside = int(OUTSIDE * rows.shape[1])
    ordered = rows.sort(1).values
    return ordered[:, outside], ordered[:, -1 - outside]


def squares(rows: Tensor, bits: int, symmetric: bool) -> Ends:
    """Of 32 shares of the widest range that with the least sum of squared errors; then of each end by itself."""
    low, high = largest(rows, bits, symmetric)
    low, high = low.clamp_max(0), high.clamp_min(0)
    best, found = torch.full_like(low, torch.inf), (low, high)
    for cuts_low, cuts_high in ((1, 1),) if symmetric else ((1, 1), (1, 0), (0, 1)):
        start = found
        for share in SHARES:
            ends = start[0] * share**cuts_low, start[1] * share**cuts_high
            error = _squared_error(rows, ends, bits, symmetric)
            better = error < best
            best = torch.where(better, error, best)
            found = tuple(torch.where(better, end, old) for end, old in zip(ends, found, strict=True))
    return found


def _squared_error(rows: Tensor, ends: Ends, bits: int, symmetric: bool) -> Tensor:
    scale, zero = (value[:, None] for value in step_and_zero(*ends, bits, symmetric))
    integers = (torch.round(rows / scale) + zero).clamp(-(1 << bits - 1), (1 << bits - 1) - 1)
    return ((integers - zero) * scale - rows).square().sum(1)


def entropy(rows: Tensor, bits: int, symmetric: bool) -> Ends:
    """Of 32 shares of the largest size that with the least Kullback-Leibler divergence of the rounded distribution.

    Sizes are counted in bins; those outside fall into the last bin inside, and rounding spreads what falls on a step
    evenly over its bins that are not empty.

    Source: Migacz, "8-bit Inference with TensorRT", GTC 2017.
    """
    found = [_entropy_end(row.abs(), bits) for row in rows]
    most = torch.stack(found)
    low, high = largest(rows, bits, symmetric)
    return torch.maximum(low, -most), torch.minimum(high, most)


def _entropy_end(sizes: Tensor, bits: int) -> Tensor:
    top = float(sizes.amax())
    if top == 0:
        return sizes.new_zeros(())
    counts = torch.histc(sizes, BINS, 0, top)
    counts[0] = counts[1]  # a rectifier's zeros are exact on any grid, and would drown all the rest
    steps = 1 << bits - 1
    best, end = float("inf"), top
    for share in SHARES:
        inside = max(steps, round(BINS * share))
        told = counts[:inside].clone()
        there = told > 0
        step = torch.arange(inside) * steps // inside
        filled = torch.zeros(steps).index_add_(0, step, there.float())
        spread = torch.zeros(steps).index_add_(0, step, told) / filled.clamp_min(1)
        q = torch.where(there, spread[step], 0.0)
        told[-1] += counts[inside:].sum()
        p = told / told.sum()
        q = q / q.sum().clamp_min(1e-30)
        seen = p > 0
        diverged = float((p[seen] * (p[seen] / q[seen].clamp_min(1e-12)).log()).sum())
        if diverged < best:
            best, end = diverged, top * inside / BINS
    return sizes.new_tensor(end)


RANGES: dict[str, Callable[[Tensor, int, bool], Ends]] = {
    "largest": largest,
    "percentile": percentile,
    "squares": squares,
    "entropy": entropy,
}
