"""Cases: a draw of operands gives one for each layout and instruction set, since each of these runs other code.

A case is named op/isa/dtype/size/layout:number and drawn from that name alone, so that it can be run again, anywhere.
The draw is op/dtype/size:number; the way to call and the number of threads follow from the name of the case.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import cache

import blocks
import convolutions
import gradients
import modules
import products
import quantized_convolutions
import torch
from inputs import LAYOUTS, MAP_LAYOUTS, SIZE_WEIGHTS, laid
from torch import Tensor
from verdicts import Problem, Verdict

from greenkernels import _isa

_ON_MAPS = (
    convolutions.MAKERS | quantized_convolutions.MAKERS | blocks.MAKERS | modules.ON_MAPS | gradients.ON_MAPS
)
MAKERS = products.MAKERS | modules.MAKERS | gradients.MAKERS | _ON_MAPS
_REPEATS = ("expanded", "overlapping")  # layouts that change values: elements lie over each other
DrawName = tuple[str, str, str, int]  # op, dtype, size, number
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by size: NaN is equal to itself
ERRORS = (RuntimeError, ValueError, TypeError, IndexError, MemoryError)


@cache
def instruction_sets(op: str) -> list[str]:
    """The levels of this CPU; of integer kernels with and without dot products of 8 bits."""
    if not op.lower().startswith(("int", "codebook")):
        return list(_isa.levels())
    found = []
    for level in _isa.levels():
        with _isa.forced(level):
            found += [level, f"{level}-vnni"] if torch.ops.greenkernels.vnni() else [level]
    return found


def layouts_of(op: str) -> tuple[str, ...]:
    """The layouts that the argument of an op comes in."""
    return MAP_LAYOUTS if op in _ON_MAPS else LAYOUTS


@cache
def kinds_of_draws(op: str) -> list[str]:
    """op/dtype/size, each size as often as its weight says, in an order that any beginning of it is a mixture."""
    sizes = [size for size, weight in SIZE_WEIGHTS.items() for _ in range(weight)]
    kinds = [f"{op}/{dtype}/{size}" for dtype, size in itertools.product(MAKERS[op][1], sizes)]
    random.Random(0).shuffle(kinds)
    return kinds


def strata(op: str) -> list[str]:
    """op/isa/dtype/size/layout."""
    parts = (instruction_sets(op), MAKERS[op][1], SIZE_WEIGHTS, layouts_of(op))
    return ["/".join((op, *rest)) for rest in itertools.product(*parts)]


def draw_of(op: str, number: int) -> DrawName:
    """The draw of an op of this number."""
    kinds = kinds_of_draws(op)
    dtype, size = kinds[number % len(kinds)].split("/")[1:]
    return op, dtype, size, number


def named(draw: DrawName) -> str:
    """Its name, as of a case without instruction set and layout."""
    op, dtype, size, number = draw
    return f"{op}/{dtype}/{size}:{number}"


def _place(x: Tensor) -> tuple[object, ...]:
    """What tells two layouts of one tensor apart."""
    return tuple(s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1), x.storage_offset() > 0


class Draw:
    """The operands of some cases, and what judges their results."""

    def __init__(self, op: str, dtype: str, size: str, number: int) -> None:
        torch.set_num_threads(1)  # for operands and oracle
        self.op, self._stratum, self._number = op, f"{dtype}/{size}", number
        choose = random.Random(f"{op}/{dtype}/{size}:{number}")
        self.problem = MAKERS[op][0](choose, size, getattr(torch, dtype))
        self._verdicts: dict[str, Verdict] = {}

    def layouts(self) -> Iterator[tuple[str, Tensor]]:
        """Layouts of the argument that differ, and it in them."""
        seen = set()
        for layout in layouts_of(self.op):
            x = laid(self.problem.x, layout)
            if _place(x) not in seen:
                seen.add(_place(x))
                yield layout, x

    def verdict(self, layout: str, x: Tensor) -> Verdict:
        """What judges results on ``x``, one for all layouts that hold the same values."""
        values = layout if layout in _REPEATS else ""
        if values not in self._verdicts:
            torch.set_num_threads(1)
            self._verdicts[values] = Verdict(self.problem, x)
        return self._verdicts[values]

    def name(self, isa: str, layout: str) -> str:
        return f"{self.op}/{isa}/{self._stratum}/{layout}:{self._number}"


def run(verdict: Verdict, problem: Problem, x: Tensor, name: str) -> str | None:
    """Why the result of a case is wrong, or None. The instruction set is in force already."""
    chosen = zlib.crc32(name.encode())
    call, threads = problem.calls[chosen % len(problem.calls)], 1 + (chosen >> 16) % 3
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            out = call(x)
    except ERRORS as error:
        return _text(error)
    reason = verdict.fault(out)
    poison(out)
    return reason


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def poison(out: Tensor) -> None:
    """Overwrites a result: the next one may lie in its memory, where what it leaves out must not look right."""
    if out.numel() and out.untyped_storage().nbytes() == out.nbytes:
        out.detach().fill_(torch.nan if out.is_floating_point() else 77)


def forced(isa: str) -> None:
    """Sets the instruction set of the cases that follow."""
    level, _, vnni = isa.partition("-")
    torch.ops.greenkernels.set_isa(level)
    torch.ops.greenkernels.set_vnni(bool(vnni))


def cases(
    draw: DrawName, begun: Callable[[str], None] = lambda _: None, without: Collection[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """Name and fault of each case of a draw, but for those to leave out.

    ``begun`` hears the name of each before it runs, and that of the draw before anything else. What is wrong with the
    draw itself, as with the packing of its weight, comes under the name of the draw.
    """
    whole = named(draw)
    begun(whole)
    if whole in without:
        return
    try:
        drawn, levels = Draw(*draw), instruction_sets(draw[0])
        for layout, x in drawn.layouts():
            begun(whole)
            verdict, before = drawn.verdict(layout, x), x.clone()
            for name, isa in ((drawn.name(isa, layout), isa) for isa in levels):
                if name in without:
                    continue
                begun(name)
                forced(isa)
                yield name, run(verdict, drawn.problem, x, name)
            if not torch.equal(x.view(_BITS[x.itemsize]), before.view(_BITS[x.itemsize])):
                yield drawn.name(levels[0], layout), "the argument was changed"
    except ERRORS as error:
        yield whole, _text(error)


def tried(name: str) -> dict[str, str]:
    """What is wrong with the case of this name, or with those of a whole draw (op/dtype/size:number)."""
    parts, _, number = name.partition(":")
    op, *rest = parts.split("/")
    draw = op, rest[-2 if len(rest) == 2 else 1], rest[-1 if len(rest) == 2 else 2], int(number)
    found = {
        case: reason for case, reason in cases(draw) if case in (name, named(draw)) or named(draw) == name
    }
    if not found:
        raise ValueError(f"case must be one that this CPU has, as {next(cases(draw))[0]}, got {name}")
    return {case: reason for case, reason in found.items() if reason}
