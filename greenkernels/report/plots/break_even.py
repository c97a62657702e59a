"""From which share of zeros on a sparse layer is faster than the fastest dense one: a line for each batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .canvas import INK, LOSES, OURS, SECOND, STOCK, THIRD, Plot, drawing, finish, put_title

SHAPES = ("o", "s", "^", "D", "v", "P")
COLOURS = (OURS, LOSES, SECOND, THIRD, STOCK)

FACTORS = tuple(2.0**power for power in range(-6, 9))  # ticks

Speedups = Mapping[float, float]  # share of zeros -> how many times as fast as the fastest dense contender


def crossing(speedups: Speedups) -> float | None:
    """The share of zeros from which on all speed-ups are above 1, on a straight line between their logarithms.

    The smallest share that was measured where all are; None where the last is not.
    """
    zeros = sorted(speedups)
    losing = [z for z in zeros if speedups[z] <= 1]
    if not losing:
        return zeros[0]
    last = zeros.index(losing[-1])
    if last + 1 == len(zeros):
        return None
    below, above = zeros[last], zeros[last + 1]
    low, high = math.log(speedups[below]), math.log(speedups[above])
    return below + (above - below) * -low / (high - low)


def break_even(
    layers: Mapping[str, Mapping[int, Speedups]],
    name: str = "break-even",
    title: str = "Sparse against the fastest dense product",
) -> Plot:
    """One panel a layer, one line a batch size; the legend has the share of zeros at which it breaks even.

    Args:
        layers: what the layer is -> rows of its input -> speed-ups.
        name, title: of the plot.

    Raises:
        ValueError: there is no layer, or a batch size without a measurement.
    """
    if not layers or not all(of_batch for batches in layers.values() for of_batch in batches.values()):
        raise ValueError("break_even: there must be a layer, and a speed-up for each of its batch sizes")
    with drawing(4.2 * len(layers), 3.8) as figure:
        panels = figure.subplots(1, len(layers), squeeze=False, sharey=True)[0]
        for axes, (layer, batches) in zip(panels, layers.items(), strict=True):
            axes.axhline(1, color=INK, ls="--", lw=1.2)
            for i, (batch, speedups) in enumerate(sorted(batches.items())):
                colour, shape = COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)]
                zeros = sorted(speedups)
                at = crossing(speedups)
                words = (
                    "never" if at is None else f"from {at:.0%}" if at > zeros[0] else f"at {at:.0%} and less"
                )
                axes.plot(
                    [100 * z for z in zeros],
                    [speedups[z] for z in zeros],
                    color=colour,
                    marker=shape,
                    ms=3.5,
                    lw=1.5,
                    label=f"batch {batch}: {words}",
                )
            axes.set_yscale("log")
            axes.set_yticks(FACTORS, [f"{factor:g}x" for factor in FACTORS])
            axes.minorticks_off()
            axes.set_ylim(_limits(layers))
            axes.set_title(layer)
            axes.set_xlabel("zeros, %")
            axes.grid(axis="y")
            axes.legend()
        panels[0].set_ylabel("times as fast; higher is better")
        put_title(figure, title)
        lines = sum(len(batches) for batches in layers.values())
        alt = f"Speed-up over the fastest dense product against the share of zeros, {lines} batch sizes of layers."
        return finish(figure, name, title, alt)


def _limits(layers: Mapping[str, Mapping[int, Speedups]]) -> tuple[float, float]:
    every = [s for batches in layers.values() for of_batch in batches.values() for s in of_batch.values()]
    return 0.8 * min(1, *every), 1.25 * max(1, *every)
