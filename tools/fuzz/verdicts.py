"""What a call must give, how far from it rounding may lead, and whether a result is that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TOLERANCE = 1.0  # times the derived bound: the one constant of all comparisons
_TINY = 2.0**-126  # what the kernels may take for 0 is smaller

Bound = Tensor | float
Call = Callable[[Tensor], Tensor]


@dataclass
class Problem:
    """Operands, the ways to call a kernel on them, and the oracle."""

    x: Tensor  # the argument of the calls, contiguous
    calls: Sequence[Call]  # each computes the same
    exact: Callable[
        [Tensor], tuple[Tensor, Bound]
    ]  # of x in any layout: float64 or integers, and a bound on each
    like: torch.dtype = torch.float32  # of the result
    spreads: bool = False  # what is not finite may reach further outputs
    about: dict[str, Any] = field(default_factory=dict)  # what was drawn, for problems made of this one


class Verdict:
    """Judges results of all calls of a problem on one x."""

    def __init__(self, problem: Problem, x: Tensor) -> None:
        self.like, self.spreads = problem.like, problem.spreads
        self.want, bound = problem.exact(x)
        if not self.like.is_floating_point:
            self.want = self.want.to(self.like)
            return
        self.either: Tensor | None = None
        self.bound = torch.as_tensor(bound, dtype=torch.float64) * TOLERANCE
        if self.like in (torch.float16, torch.bfloat16):  # rounding of the result, which may be denormal
            info = torch.finfo(self.like)
            self.bound = self.bound + info.eps * self.want.abs() + info.smallest_normal
            self.want = torch.where(self.want.abs() > info.max + self.bound, torch.inf * self.want, self.want)
            self.either = (self.want.abs() + self.bound > info.max) & self.want.isfinite()  # may be infinity
        self.finite = bool(self.want.isfinite().all())

    def fault(self, out: Tensor) -> str | None:
        """Why ``out`` is wrong, or None."""
        if out.shape != self.want.shape or out.dtype != self.like:
            return f"{out.dtype} {tuple(out.shape)} for {self.like} {tuple(self.want.shape)}"
        if not self.like.is_floating_point:
            return None if torch.equal(out, self.want) else "a sum of integers differs"
        error = (out.double() - self.want).abs_()
        near = error <= self.bound  # not where either is NaN
        if self.finite and bool(near.all()):
            return None
        lost, missing = ~out.isfinite(), ~self.want.isfinite()
        if self.either is not None:
            lost &= ~(self.either & out.isinf())
            near |= self.either & out.isinf()
        spreads = self.spreads and bool(missing.any())
        if bool((missing & ~lost).any()) or (not spreads and bool((lost & ~missing).any())):
            return f"{int((lost != missing).sum())} elements are wrongly finite or wrongly not"
        wrong = ~(lost | near)
        if not wrong.any():
            return None
        return f"{int(wrong.sum())} of {wrong.numel()} elements off by up to {error[wrong].max().item():.3g}"


def rounding_bound(terms: Tensor, depth: int, least: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """A rounding for each of ``depth`` products and five where parts meet, each of half an eps of all terms together.

    Denormal factors and products count as 0, ``least`` is the largest factor that one of them meets. In float64 the
    oracle rounds as often.
    """
    double = dtype == torch.float64
    eps = torch.finfo(torch.float64 if double else torch.float32).eps
    return ((1 + double) * depth + 5) * (eps / 2 * terms + _TINY * (1 + least))
