"""Joules a call, case by case: the best of ours beside the best rival, in one kind of joules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...measure.provenance import Measurement, require_one_kind
from .canvas import LOSES, MUTED, OURS, STOCK, Plot, drawing, finish, put_title, shortened

LONGEST_NAME = 44  # characters beside the marks


@dataclass(frozen=True)
class JoulesPair:
    """One case: its name and the J of a call of both sides."""

    name: str
    rival: Measurement
    ours: Measurement


def joules_a_call(pairs: Sequence[JoulesPair], name: str = "joules", title: str = "Energy a call") -> Plot:
    """A line a case from the rival's mark to ours, logarithmic; blue where ours needs less, orange where it needs more.

    Raises:
        MixedKindsError: joules of different kinds.
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("joules_a_call: pairs must not be empty")
    kind = require_one_kind([joules for pair in pairs for joules in (pair.rival, pair.ours)])
    with drawing(10, 1.5 + 0.26 * len(pairs)) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        for row, pair in enumerate(pairs):
            theirs, ours = pair.rival.value * 1e3, pair.ours.value * 1e3
            axes.plot([theirs, ours], [row, row], color=MUTED, lw=0.8, zorder=1)
            axes.plot(theirs, row, marker="s", color=STOCK, ms=6)
            less = ours <= theirs
            axes.plot(ours, row, marker="o" if less else "X", color=OURS if less else LOSES, ms=6)
        for marker, colour, words in (
            ("s", STOCK, "best rival"),
            ("o", OURS, "ours, less"),
            ("X", LOSES, "ours, more"),
        ):
            axes.plot([], [], marker=marker, color=colour, ls="", label=words)
        _frame(axes, [shortened(pair.name, LONGEST_NAME) for pair in pairs])
        axes.set_xlabel(f"mJ a call, {kind.value} (logarithmic); left is better")
        put_title(figure, title)
        figure.legend(loc="outside upper right", ncols=3)
        saving = sum(pair.ours.value < pair.rival.value for pair in pairs)
        alt = f"Joules a call of {len(pairs)} cases, {kind.value}: ours needs less in {saving} of them."
        return finish(figure, name, title, alt)


def _frame(axes: object, names: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x")
