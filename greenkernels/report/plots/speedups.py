"""Speed-ups with their intervals, the noise band and the line at 1: what loses stands among what wins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...measure.provenance import Measurement, require_one_kind
from .canvas import BAND, INK, LOSES, MUTED, OURS, PAPER, Plot, drawing, finish, put_title, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST_NAME = 44  # characters
NAME_AN_INCH = 6  # characters of a name for each inch of a narrow figure: two fifths of it
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100)


@dataclass(frozen=True)
class SpeedUp:
    """One row of the plot.

    Attributes:
        name: the case; rows of all panels are matched by it.
        ratio: best rival's time over ours, with its interval.
        band: relative noise; a ratio within 1 +- band says nothing.
        word: the verdict in a word ("wins", "loses", ...), printed beside the ratio.
        decided: 1, 0 or -1 where a rule of the caller says who is faster; None leaves it to `side`.
    """

    name: str
    ratio: Measurement
    band: float = 0.0
    word: str = ""
    decided: int | None = None

    @property
    def side(self) -> int:
        """1 where the whole interval is on the winning side of the band, -1 where the median is on the losing side."""
        if self.decided is not None:
            return self.decided
        if self.ratio.value < 1 - self.band:
            return -1
        return 1 if self.ratio.low > 1 + self.band else 0


MARKS = {1: ("o", OURS, "faster"), 0: ("D", PAPER, "undecided"), -1: ("X", LOSES, "slower")}


def speed_ups(
    panels: Mapping[str, Sequence[SpeedUp]],
    name: str = "speed-ups",
    title: str = "Speed-up over the best rival",
    width: float | None = None,
) -> Plot:
    """One row a case, one panel a heading (cold beside warm, one thread beside two); rows keep their order.

    Args:
        panels: heading -> its rows.
        name, title: of the plot.
        width: in inches; None: as wide as the panels need.

    Raises:
        MixedKindsError: ratios of different kinds.
        ValueError: there is no row.
    """
    rows = list(dict.fromkeys(s.name for panel in panels.values() for s in panel))
    if not rows:
        raise ValueError("speed_ups: there must be at least one row")
    every = [s for panel in panels.values() for s in panel]
    require_one_kind([s.ratio for s in every])
    limits = _limits([s.ratio for s in every])
    longest = LONGEST_NAME if width is None else min(LONGEST_NAME, int(NAME_AN_INCH * width))
    with drawing(width or max(10, 3 + 3.6 * len(panels)), 1.5 + 0.26 * len(rows)) as figure:
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (heading, panel) in zip(grid, panels.items(), strict=True):
            for s in panel:
                _draw(axes, rows.index(s.name), s, limits)
            _frame(
                axes, heading if len(panels) > 1 else "", limits, [shortened(row, longest) for row in rows]
            )
        put_title(figure, title)
        _legend(figure, below=width is not None)
        losing = sum(s.side < 0 for s in every)
        winning = sum(s.side > 0 for s in every)
        alt = f"{len(every)} ratios with their intervals: {winning} faster, {losing} slower, the rest undecided."
        return finish(figure, name, title, alt)


def _limits(ratios: Sequence[Measurement]) -> tuple[float, float]:
    """Ends of the logarithmic axis: every ratio, every finite end of an interval, and the line at 1."""
    values = [v for r in ratios for v in (r.value, r.low, r.high) if math.isfinite(v) and v > 0]
    lowest = min(
        min(r.value for r in ratios) / 2, 1
    )  # an interval that reaches far is cut, and ends in an arrow
    highest = max(max(r.value for r in ratios) * 2, 1)
    low, high = max(min([1.0, *values]), lowest), min(max([1.0, *values]), highest)
    return low / 1.25, high * 1.25


def _draw(axes: Axes, row: int, s: SpeedUp, limits: tuple[float, float]) -> None:
    axes.barh(row, 2 * s.band, left=1 - s.band, height=0.8, color=BAND)
    low, high = max(s.ratio.low, limits[0]), min(s.ratio.high, limits[1])
    axes.plot([low, high], [row, row], color=INK, lw=1)
    for end, cut, arrow in ((low, low > s.ratio.low, "<"), (high, high < s.ratio.high, ">")):
        axes.plot(end, row, marker=arrow if cut else "|", color=INK, ms=5, clip_on=False)
    shape, fill, _ = MARKS[s.side]
    edge = MUTED if s.side == 0 else fill
    axes.plot(s.ratio.value, row, marker=shape, ms=6, color=edge, mfc=fill, mew=1)
    text = f"{s.ratio.value:.2f}x" + (f"  {s.word}" if s.word else "")
    axes.text(1.03, row, text, transform=axes.get_yaxis_transform(), va="center", size=8, color=INK)


def _frame(axes: Axes, heading: str, limits: tuple[float, float], rows: Sequence[str]) -> None:
    axes.set_title(heading)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.xaxis.set_minor_locator(_no_ticks())
    ticks = [t for t in TICKS if limits[0] <= t <= limits[1]]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.axvline(1, color=INK, lw=1.2)
    axes.grid(axis="x")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("times as fast (logarithmic); right of 1 is better")


def _no_ticks() -> object:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _legend(figure: object, below: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], marker=shape, ls="", color=MUTED if fill == PAPER else fill, mfc=fill, label=word)
        for shape, fill, word in MARKS.values()
    ]
    handles += [Line2D([], [], color=INK, lw=1, label="interval"), Patch(color=BAND, label="noise")]
    place, columns = ("lower", 3) if below else ("upper", 5)
    figure.legend(handles=handles, loc=f"outside {place} right", ncols=columns)
