"""The layers of a network in their order: stock time against ours, the kernel named, kept layers with their reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...measure.provenance import Measurement, require_one_kind
from .canvas import INK, KEPT, MUTED, OURS, STOCK, Plot, cut, drawing, finish, put_title, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LAYERS = 120  # of a larger network, those that take longest are drawn
LONGEST_NAME, LONGEST_NOTE = 34, 58  # characters beside the bars; the table has the rest


@dataclass(frozen=True)
class LayerBar:
    """One layer.

    Attributes:
        name: its name in the network.
        stock: time of the stock layer; None if not measured.
        ours: time of its replacement; None where the stock layer stays.
        kernel: what replaces it, or None.
        note: why it stays, where it does.
    """

    name: str
    stock: Measurement | None
    ours: Measurement | None
    kernel: str | None
    note: str = ""


def layer_bars(layers: Sequence[LayerBar], name: str = "layers", title: str = "Time of each layer") -> Plot:
    """Two bars a layer in milliseconds, first layer on top.

    Raises:
        MixedKindsError: times of different kinds.
        ValueError: there is no layer.
    """
    if not layers:
        raise ValueError("layer_bars: layers must not be empty")
    require_one_kind([time for layer in layers for time in (layer.stock, layer.ours)])
    shown, replaced = _longest(layers), sum(layer.kernel is not None for layer in layers)
    height = 1.3 + len(shown) * (0.36 if len(shown) <= 40 else 0.27)
    with drawing(10, height) as figure:
        axes = figure.subplots()
        _draw(axes, shown)
        _label(axes, shown, len(layers))
        put_title(figure, title)
        _legend(figure)
        alt = f"Times of {len(shown)} layers in the order of the network; {replaced} of {len(layers)} are replaced."
        return finish(figure, name, title, alt)


def _longest(layers: Sequence[LayerBar]) -> list[LayerBar]:
    """The layers that are drawn, in their order."""
    cost = {i: layer.stock.value if layer.stock else 0.0 for i, layer in enumerate(layers)}
    chosen = set(sorted(cost, key=lambda i: (-cost[i], i))[:MOST_LAYERS])
    return [layer for i, layer in enumerate(layers) if i in chosen]


def _draw(axes: Axes, layers: Sequence[LayerBar]) -> None:
    """Two bars where a layer is replaced, a grey one where it stays, and the words beside them."""
    rows = list(enumerate(layers))
    replaced = [(row, layer) for row, layer in rows if layer.kernel is not None]
    _bars(axes, [(row, layer.stock) for row, layer in rows if layer.kernel is None], KEPT)
    _bars(axes, [(row - 0.19, layer.stock) for row, layer in replaced], STOCK)
    _bars(axes, [(row + 0.19, layer.ours) for row, layer in replaced], OURS)
    beside = {"transform": axes.get_yaxis_transform(), "va": "center", "size": 8}
    for row, layer in rows:
        colour = MUTED if layer.kernel is None else INK
        axes.text(1.01, row, cut(_words(layer), LONGEST_NOTE), color=colour, **beside)


def _words(layer: LayerBar) -> str:
    if layer.kernel is None:
        return layer.note or "stays stock"
    if layer.stock and layer.ours:
        return f"{(layer.stock / layer.ours).value:.2f}x  {layer.kernel}"
    return layer.kernel


def _bars(axes: Axes, times: Sequence[tuple[float, Measurement | None]], colour: str) -> None:
    """Bars to the median at these places, with whiskers from quartile to quartile."""
    known = [(at, time) for at, time in times if time is not None]
    if not known:
        return
    places, values = [at for at, _ in known], [1e3 * time.value for _, time in known]
    below = [1e3 * (time.value - time.low) for _, time in known]
    above = [1e3 * (time.high - time.value) for _, time in known]
    axes.barh(places, values, height=0.36, color=colour)
    axes.errorbar(values, places, xerr=[below, above], fmt="none", color=INK, elinewidth=0.8, capsize=1.5)


def _label(axes: Axes, layers: Sequence[LayerBar], of: int) -> None:
    names = [shortened(layer.name, LONGEST_NAME) for layer in layers]
    axes.set_yticks(range(len(layers)), names)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    if not any(layer.stock or layer.ours for layer in layers):
        axes.set_xticks([])
        axes.set_xlabel("no layer was timed")
        return
    axes.set_xlim(left=0)
    axes.grid(axis="x")
    drawn = "" if len(layers) == of else f"; {len(layers)} of {of} layers are drawn, those that take longest"
    axes.set_xlabel(f"time [ms], median and quartiles; lower is better{drawn}")


def _legend(figure: object) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=STOCK, label="stock"), Patch(color=OURS, label="replacement")]
    handles.append(Patch(color=KEPT, label="stays stock"))
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
