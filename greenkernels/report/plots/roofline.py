"""The roofline: operations a second against operations a byte, under the machine's own ceilings taken beside the case.

Source: Williams, Waterman, Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures",
CACM 2009. A kernel with less arithmetic stands where its real operations put it; a hollow mark above it shows the same
time counted in operations of the plain algorithm, which may lie over the roof: that is what saving arithmetic means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...measure.provenance import Measurement, require_one_kind
from .canvas import (
    INK,
    LOSES,
    MUTED,
    OURS,
    PAPER,
    SECOND,
    STOCK,
    THIRD,
    Plot,
    drawing,
    finish,
    put_title,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHAPES = ("o", "s", "^", "D", "v", "P")
COLOURS = (OURS, STOCK, LOSES, SECOND, THIRD)
LONGEST_NAME = 36  # characters in the legend


@dataclass(frozen=True)
class RooflinePoint:
    """One contender on one case.

    Attributes:
        group: the contender, as the legend names it.
        intensity: operations really done, by byte moved [op/B].
        rate: operations really done, by second [op/s].
        direct_rate: operations of the plain algorithm by second [op/s]; None where it is the same.
    """

    group: str
    intensity: float
    rate: float
    direct_rate: float | None = None


def roofline(
    points: Sequence[RooflinePoint],
    compute: Measurement,
    read: Measurement,
    name: str = "roofline",
    title: str = "Share of the machine's ceilings",
) -> Plot:
    """Points under ``min(compute, intensity * read)``, logarithmic both ways.

    Args:
        points: at least one.
        compute: the arithmetic ceiling [op/s].
        read: the memory ceiling [B/s].
        name, title: of the plot.

    Raises:
        MixedKindsError: ceilings of different kinds.
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("roofline: points must not be empty")
    require_one_kind([compute, read])
    ridge = compute.value / read.value
    low = min(ridge, *(p.intensity for p in points)) / 2
    high = max(ridge, *(p.intensity for p in points)) * 2
    groups = {p.group for p in points}
    with drawing(10, max(4.8, 1.2 + 0.2 * len(groups))) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        roof = [(low, low * read.value), (ridge, compute.value), (high, compute.value)]
        axes.plot(
            *zip(*((x, y / 1e9) for x, y in roof), strict=True), color=INK, lw=1.5, label=_roof(compute, read)
        )
        _points(axes, points)
        _frame(axes)
        put_title(figure, title)
        figure.legend(loc="outside right upper")
        best = max(p.rate / min(compute.value, p.intensity * read.value) for p in points)
        alt = f"{len(points)} points under the roof; the best one reaches {best:.0%} of what the roof allows there."
        return finish(figure, name, title, alt)


def _roof(compute: Measurement, read: Measurement) -> str:
    return f"roof: {compute.value / 1e9:.0f} Gop/s, {read.value / 1e9:.0f} GB/s"


def _points(axes: Axes, points: Sequence[RooflinePoint]) -> None:
    hollow = False
    for i, group in enumerate(dict.fromkeys(p.group for p in points)):
        style = {"marker": SHAPES[i % len(SHAPES)], "color": COLOURS[i % len(COLOURS)], "ls": "", "ms": 7}
        mine = [p for p in points if p.group == group]
        rates = [p.rate / 1e9 for p in mine]
        axes.plot([p.intensity for p in mine], rates, label=shortened(group, LONGEST_NAME), **style)
        for p in mine:
            if p.direct_rate is not None and p.direct_rate != p.rate:
                above = p.direct_rate / 1e9
                axes.plot([p.intensity] * 2, [p.rate / 1e9, above], color=MUTED, lw=0.6, zorder=1)
                axes.plot(p.intensity, above, **style, mfc=PAPER)
                hollow = True
    if hollow:
        axes.plot(
            [], [], marker="o", ls="", color=MUTED, mfc=PAPER, label="hollow: counted as plain operations"
        )


def _frame(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.grid()
    axes.set_xlabel("operations a byte [op/B] (logarithmic)")
    axes.set_ylabel("operations a second [Gop/s] (logarithmic)")
