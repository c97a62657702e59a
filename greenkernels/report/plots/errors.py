"""Error against speed: what each choice gains and what it costs in accuracy, with the bound it had to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .canvas import INK, LOSES, MUTED, OURS, SECOND, STOCK, THIRD, Plot, drawing, finish, put_title, shortened

SHAPES = ("o", "s", "^", "D", "v", "P", "*", "X")
COLOURS = (OURS, LOSES, SECOND, THIRD, STOCK)
LONGEST_NAME = 40  # characters in the legend


@dataclass(frozen=True)
class ErrorPoint:
    """One point.

    Attributes:
        group: what it is drawn as, and named in the legend: a kernel with its options, a contender.
        speedup: times as fast as what it is compared with.
        error: relative error; 0 is drawn on a line of its own below all others.
    """

    group: str
    speedup: float
    error: float


def error_against_speed(
    points: Sequence[ErrorPoint],
    bound: float | None = None,
    name: str = "error-against-speed",
    title: str = "Error against speed",
    width: float | None = None,
) -> Plot:
    """Logarithmic both ways; the bound is a dashed line. `width` in inches puts the legend below, None beside.

    Raises:
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("error_against_speed: points must not be empty")
    errors = [p.error for p in points if p.error > 0] + ([bound] if bound else [])
    floor = min(errors, default=1e-6) / 10
    groups = list(dict.fromkeys(p.group for p in points))
    with drawing(width or 10, max(4.5, 1 + 0.2 * len(groups))) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        for i, group in enumerate(groups):
            mine = [p for p in points if p.group == group]
            axes.plot(
                [p.speedup for p in mine],
                [p.error or floor for p in mine],
                ls="",
                marker=SHAPES[i % len(SHAPES)],
                color=COLOURS[i % len(COLOURS)],
                ms=7,
                label=shortened(group, LONGEST_NAME),
            )
        axes.axvline(1, color=INK, lw=1.2)
        if bound:
            axes.axhline(bound, color=INK, ls="--", lw=1.2, label=f"allowed: {bound:.0e}")
        if any(p.error == 0 for p in points):
            axes.axhline(floor, color=MUTED, ls=":", lw=1, label="no error at all")
        _frame(axes, [p.speedup for p in points])
        axes.set_ylim(floor / 2, max(errors, default=1e-6) * 5)
        put_title(figure, title)
        beside = width is None
        figure.legend(loc=f"outside {'right upper' if beside else 'lower left'}", ncols=1 if beside else 4)
        kept = "" if not bound else f" The bound is {bound:.0e}."
        return finish(figure, name, title, f"{len(points)} points of {len(groups)} kinds.{kept}")


def _frame(axes: object, speedups: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    from .speedups import TICKS

    low, high = min(1.0, *speedups) / 1.25, max(1.0, *speedups) * 1.25
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([t for t in TICKS if low <= t <= high]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
    axes.grid()
    axes.set_xlabel("times as fast (logarithmic); right of 1 is better")
    axes.set_ylabel("relative error (logarithmic); lower is better")
