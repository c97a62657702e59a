"""Does the measuring tell a contender from itself? It must not: the test of everything else that is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .clock import Clock
from .compare import Comparison
from .contender import Contender
from .rotation import Arguments
from .turns import Schedule, take_turns

RUNS = 20
ENOUGH = 19  # of them must find no difference


def a_against_a(
    call: Callable[..., Any],
    arguments: Arguments,
    runs: int = RUNS,
    clock: Clock | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Comparison]:
    """Compare a call with itself, `runs` times over, as any two contenders are compared."""
    found = []
    for number in range(runs):
        pair = [Contender("a", call, keep=True), Contender("b", call)]
        found.append(take_turns(pair, arguments, Schedule(), twin="a", clock=clock).compare("a", "b"))
        if progress:
            progress((number + 1) / runs)
    return found


def layer() -> tuple[Callable[..., Any], Arguments]:
    """A layer of ResNet as torch runs it, about a millisecond."""
    x = torch.randn(1, 64, 56, 56, generator=torch.Generator().manual_seed(0))
    return nn.Conv2d(64, 64, 3, padding=1).eval(), (x,)


def report(found: Sequence[Comparison]) -> tuple[str, bool]:
    """The result in words, and whether it is good enough."""
    ratios = [comparison.ratio.value for comparison in found]
    same = sum(comparison.verdict == "no difference" for comparison in found)
    needed = round(len(found) * ENOUGH / RUNS)
    text = (
        f"a layer against itself: no difference in {same} of {len(found)} comparisons (at least {needed} are needed); "
        f"ratios {min(ratios):.3f} to {max(ratios):.3f}"
    )
    return text, same >= needed
