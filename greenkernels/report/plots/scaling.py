"""Scaling with threads: how many times faster each contender gets, beside the line of perfect scaling."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from .canvas import GRID, INK, LOSES, OURS, SECOND, STOCK, THIRD, Plot, drawing, finish, put_title, shortened

SHAPES = ("o", "s", "^", "D", "v", "P")
COLOURS = (OURS, STOCK, LOSES, SECOND, THIRD)
LONGEST_NAME = 36  # characters in the legend

Times = Mapping[int, float]  # thread number -> seconds a call


def scaling(
    contenders: Mapping[str, Sequence[Times]],
    name: str = "scaling",
    title: str = "Scaling with threads",
) -> Plot:
    """One thick line a contender, the geometric mean over its cases; a thin line for each case.

    Args:
        contenders: who -> times of its cases. A case counts from its smallest thread number on, which must be the
            same for all.
        name, title: of the plot.

    Raises:
        ValueError: nothing was timed with two thread numbers, or cases begin at different ones.
    """
    every = [times for cases in contenders.values() for times in cases]
    numbers = sorted({n for times in every for n in times})
    if len(numbers) < 2 or any(min(times) != numbers[0] for times in every):
        raise ValueError("scaling: each case must begin at one thread number, and there must be another one")
    with drawing(10, 4) as figure:
        axes = figure.subplots()
        ideal = [n / numbers[0] for n in numbers]
        axes.plot(numbers, ideal, color=INK, ls="--", lw=1.2, label="perfect scaling")
        for i, (who, cases) in enumerate(contenders.items()):
            colour, shape = COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)]
            for times in cases:
                axes.plot(sorted(times), _gain(times), color=GRID, lw=0.8, zorder=1)
            mean = [_mean([times for times in cases if n in times], n) for n in numbers]
            axes.plot(numbers, mean, color=colour, marker=shape, lw=1.8, label=shortened(who, LONGEST_NAME))
        axes.plot([], [], color=GRID, lw=0.8, label="single cases")
        axes.set_xticks(numbers, [str(n) for n in numbers])
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_xlabel("threads")
        axes.set_ylabel(f"times as fast as with {numbers[0]} thread(s); higher is better")
        put_title(figure, title)
        figure.legend(loc="outside right upper")
        alt = f"Gain of {len(contenders)} contenders, {', '.join(map(str, numbers))} threads, {len(every)} cases."
        return finish(figure, name, title, alt)


def _gain(times: Times) -> list[float]:
    first = times[min(times)]
    return [first / times[n] for n in sorted(times)]


def _mean(cases: Sequence[Times], threads: int) -> float | None:
    """Geometric mean of the gains at that thread number; None where no case has it."""
    return statistics.geometric_mean([t[min(t)] / t[threads] for t in cases]) if cases else None
