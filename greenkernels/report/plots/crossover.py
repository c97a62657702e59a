"""From which size on fewer multiplications pay: Strassen's levels against none, square products of growing size."""

from __future__ import annotations

from collections.abc import Mapping

from .canvas import INK, LOSES, OURS, SECOND, STOCK, THIRD, Plot, drawing, finish, put_title, shortened

SHAPES = ("o", "s", "^", "D", "v", "P")
COLOURS = (STOCK, OURS, LOSES, SECOND, THIRD)
LONGEST_NAME = 36  # characters in the legend

BySize = Mapping[int, float]  # size -> times as fast as the fastest rival


def first_win(speedups: BySize) -> int | None:
    """The smallest size from which on all are faster than the fastest rival; None where the largest is not."""
    found = None
    for size in sorted(speedups, reverse=True):
        if speedups[size] <= 1:
            break
        found = size
    return found


def crossover(contenders: Mapping[str, BySize], name: str = "crossover", title: str = "Crossover") -> Plot:
    """A line a contender; the legend says from which of the sizes on it is faster than the fastest rival.

    Raises:
        ValueError: there is no contender, or one without two sizes.
    """
    if not contenders or any(len(of_size) < 2 for of_size in contenders.values()):
        raise ValueError("crossover: there must be a contender, and each needs at least two sizes")
    sizes = sorted({size for of_size in contenders.values() for size in of_size})
    with drawing(10, 4.2) as figure:
        axes = figure.subplots()
        axes.axhline(1, color=INK, lw=1.2, label="fastest rival")
        for i, (who, of_size) in enumerate(contenders.items()):
            at = first_win(of_size)
            words = "never faster" if at is None else f"faster from {at} on"
            label = f"{shortened(who, LONGEST_NAME)}: {words}"
            colour, shape = COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)]
            values = [of_size[size] for size in sorted(of_size)]
            axes.plot(sorted(of_size), values, color=colour, marker=shape, lw=1.6, label=label)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_xlabel("rows, columns and depth of the product (logarithmic)")
        axes.set_ylabel("times as fast as the fastest rival; higher is better")
        put_title(figure, title)
        figure.legend(loc="outside right upper")
        alt = f"Speed-up of {len(contenders)} contenders over the fastest rival at {len(sizes)} sizes."
        return finish(figure, name, title, alt)
