"""The layers of a network in their order: modelled energy of each, stacked as compute, memory and communication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...measure.provenance import Measurement, require_one_kind
from .canvas import LOSES, OURS, SECOND, Plot, drawing, finish, put_title, shortened

PARTS = (("compute", OURS), ("memory", SECOND), ("communication", LOSES))
MOST_LAYERS = 120  # of a larger network, those that cost most are drawn
LONGEST_NAME = 34  # characters beside the bars


@dataclass(frozen=True)
class EnergyBar:
    """One layer: its name in the network and the J of each part."""

    name: str
    compute: Measurement
    memory: Measurement
    communication: Measurement

    @property
    def total_j(self) -> float:
        return self.compute.value + self.memory.value + self.communication.value


def energy_bars(
    layers: Sequence[EnergyBar],
    name: str = "energies",
    title: str = "Modelled energy of each layer",
    width: float | None = None,
) -> Plot:
    """A stacked bar a layer in millijoules, first layer on top. `width` in inches puts the legend below, None above.

    Raises:
        MixedKindsError: energies of different kinds.
        ValueError: there is no layer.
    """
    if not layers:
        raise ValueError("energy_bars: layers must not be empty")
    require_one_kind([getattr(layer, part) for layer in layers for part, _ in PARTS])
    costly = sorted(range(len(layers)), key=lambda i: -layers[i].total_j)[:MOST_LAYERS]
    shown = [layers[i] for i in sorted(costly)]
    with drawing(width or 10, 1.3 + 0.27 * len(shown)) as figure:
        axes = figure.subplots()
        left = [0.0] * len(shown)
        for part, colour in PARTS:
            widths = [getattr(layer, part).value * 1e3 for layer in shown]
            axes.barh(range(len(shown)), widths, left=left, color=colour, height=0.7, label=part)
            left = [begin + width for begin, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(shown)), [shortened(layer.name, LONGEST_NAME) for layer in shown])
        axes.invert_yaxis()
        axes.set_xlabel("mJ a call, modelled")
        axes.grid(axis="x")
        figure.legend(loc=f"outside {'upper' if width is None else 'lower'} right", ncols=len(PARTS))
        put_title(figure, title)
        alt = f"Modelled energy of {len(shown)} of {len(layers)} layers, split into compute, memory, communication."
        return finish(figure, name, title, alt)
