"""Grids: which floats the integers of a few bits stand for, one step for a tensor, for each channel or each group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .ranges import RANGES, Ends, step_and_zero

PER = ("tensor", "channel", "group")


@dataclass(frozen=True)
class Grid:
    """Integers ``q`` in [least, most] that stand for floats.

    By steps, ``q = round(x / scale) + zero`` and ``x ~ (q - zero) * scale``; where ``reciprocal``,
    ``q = round(x * scale) + zero`` and ``x ~ (q - zero) / scale``: some formats store the one, some the other. Rounding
    is half to even: 0.75 with a scale of 0.25, or of 4 in the reciprocal convention, is 3.

    Attributes:
        scale, zero: float32, ``[]`` for a tensor, ``[n]`` for its channels (first dimension), ``[n, groups]`` for
            groups of the rest of each channel.
        bits: of the integers, which are signed.
        group: elements that share a scale; 0 if it is not by groups.
        reciprocal: which convention ``scale`` is of.
    """

    scale: Tensor
    zero: Tensor
    bits: int
    group: int = 0
    reciprocal: bool = False

    @property
    def least(self) -> int:
        """The least integer."""
        return -(1 << self.bits - 1)

    @property
    def most(self) -> int:
        """The largest integer."""
        return (1 << self.bits - 1) - 1

    def inverted(self) -> Grid:
        """The same grid in the other convention, up to one rounding of the scale."""
        return Grid(1 / self.scale, self.zero, self.bits, self.group, not self.reciprocal)

    def to_integers(self, x: Tensor) -> Tensor:
        """int8 of the shape of ``x``; what lies outside comes to the nearest end."""
        scale, zero = self._spread(self.scale, x), self._spread(self.zero, x)
        steps = x.float() * scale if self.reciprocal else x.float() / scale
        return (torch.round(steps) + zero).clamp(self.least, self.most).to(torch.int8)

    def to_floats(self, q: Tensor) -> Tensor:
        """float32 that the integers stand for."""
        scale, steps = self._spread(self.scale, q), q.float() - self._spread(self.zero, q)
        return steps / scale if self.reciprocal else steps * scale

    def rounded(self, x: Tensor) -> Tensor:
        """The float32 of this grid that ``x`` is rounded to."""
        return self.to_floats(self.to_integers(x))

    def _spread(self, value: Tensor, like: Tensor) -> Tensor:
        if value.dim() == 0:
            return value
        if value.dim() == 1:
            return value.reshape(len(value), *(1,) * (like.dim() - 1))
        if not len(like):
            return value.new_ones(())
        each = like[0].numel()
        return value.repeat_interleave(self.group, 1)[:, :each].reshape(like.shape)


def find_grid(
    x: Tensor,
    bits: int = 8,
    *,
    per: str = "channel",
    group: int = 64,
    symmetric: bool = True,
    ends: str | Callable[[Tensor, int, bool], Ends] = "largest",
) -> Grid:
    """The grid for a tensor of values that are known: a weight, or what calibration saw of an input.

    Args:
        x: ``[n, ...]``, float; finite.
        bits: 2 to 8.
        per: "tensor", "channel" (first dimension) or "group" (of ``group`` elements of each channel, in order).
        symmetric: zero stands for 0; else the grid is moved to where the values are, 0 being one of its points.
        ends: of the grid: "largest" takes all values in, "percentile" all but the outermost 0.01 % on each side,
            "squares" cuts off what makes the sum of squared errors least, "entropy" what changes the distribution of
            values least; or a function of rows ``[r, c]``, bits and ``symmetric`` to low and high, ``[r]`` each.

    Raises:
        ValueError: an argument is none of these, or a value is not finite.

    Sources: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018; for the ends Wu et al., "Integer Quantization for Deep Learning Inference", arXiv:2004.09602.
    """
    if per not in PER:
        raise ValueError(f"find_grid: per must be one of {', '.join(PER)}, got {per!r}")
    if not 2 <= bits <= 8:
        raise ValueError(f"find_grid: bits must be 2 to 8, got {bits}")
    if not callable(ends) and ends not in RANGES:
        raise ValueError(f"find_grid: ends must be one of {', '.join(RANGES)} or a function, got {ends!r}")
    if not x.isfinite().all():
        raise ValueError("find_grid: x must be finite, got NaN or infinite values")
    rows, shape = _rows(x.detach().float(), per, group)
    if rows.numel() == 0:
        return Grid(torch.ones(shape), torch.zeros(shape), bits, group if per == "group" else 0)
    low, high = (ends if callable(ends) else RANGES[ends])(rows, bits, symmetric)
    scale, zero = step_and_zero(low.clamp_max(0), high.clamp_min(0), bits, symmetric)
    return Grid(scale.reshape(shape), zero.reshape(shape), bits, group if per == "group" else 0)


def _rows(x: Tensor, per: str, group: int) -> tuple[Tensor, tuple[int, ...]]:
    """Values that share a scale in a row each, and the shape of the scales; groups are filled up with zeros."""
    if per == "tensor":
        return x.reshape(1, x.numel()), ()
    flat = x.reshape(len(x), x[0].numel() if len(x) else 0)
    if per == "channel":
        return flat, (len(x),)
    groups = -(-flat.shape[1] // group)
    return F.pad(flat, (0, groups * group - flat.shape[1])).reshape(-1, group), (len(x), groups)
