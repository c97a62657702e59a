"""The page of one network: what won and by how much, or why nothing did; plots, layers, what was thrown out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..measure.compare import NOISE_FLOOR
from ..measure.provenance import Measurement, require_one_kind
from ..planning.plan_text import summary_lines
from ..planning.plans import LayerPlan, Plan
from . import plots
from .html import Page
from .network_result import NetworkResult, Picture, summary, warnings
from .tables import error, millijoules, ratio, times_column

NUMBERS = ("ms", "speed-up", "error", "mJ", "MB")  # beginnings of columns that are flushed to the right

__all__ = ["NetworkResult", "Picture", "network_page"]


def network_page(
    title: str, results: Sequence[NetworkResult], out: str | Path, figures: str | Path | None = None
) -> list[Path]:
    """Write the page of one network.

    Args:
        title: its heading.
        results: one for each thread number.
        out: the HTML file; written whole or not at all.
        figures: a folder for each plot as SVG and PNG; None keeps them in the page alone.

    Returns:
        The files written, the page first. Without matplotlib there are no plots, and the page says so.

    Raises:
        ValueError: there is no result.
    """
    if not results:
        raise ValueError("network_page: results must not be empty")
    page, drawn = Page(title), []
    for result in results:
        page.text(f"{result.threads}: {summary(result)}", "lead")
    page.points([w for result in results for w in warnings(result)], "warning")
    try:
        drawn = _plots(results)
    except ImportError as missing:
        page.text(f"No plots: {missing}.", "warning")
    page.heading("The whole network")
    for result in results:
        _whole(page, result)
    for plot in drawn:
        page.plot(plot)
    for result in results:
        page.heading(f"Layers, {result.threads}")
        _layers(page, result.plan)
    _machine(page, results)
    written = [page.save(Path(out))]
    return written + [path for plot in drawn if figures for path in plot.save(Path(figures))]


def _plots(results: Sequence[NetworkResult]) -> list[plots.Plot]:
    """Layers of each result; speed-ups of all, a panel each; errors against speeds of the last one."""
    drawn, panels = [], {}
    for result in results:
        bars = [_bar(result.plan, layer) for layer in result.plan.layers]
        if any(bar.stock for bar in bars):
            name = f"layers-{result.plan.threads}-threads"
            drawn.append(plots.layer_bars(bars, name, f"Time of each layer, {result.threads}"))
        if rows := _speedups(result):
            panels[result.threads] = rows
    if panels:
        drawn.insert(0, plots.speed_ups(panels, title="Speed-up over stock"))
    points = _error_points(results[-1])
    if points:
        title, bound = f"Error against speed, {results[-1].threads}", results[-1].plan.max_error
        drawn.append(plots.error_against_speed(points, bound if math.isfinite(bound) else None, title=title))
    return drawn


def _fate(plan: Plan, layer: LayerPlan) -> tuple[str | None, str]:
    """The kernel that the layer really gets, or None; and what there is to say."""
    if layer.stem is not None and not plan.accepted:
        return None, f"{layer.kernel} was chosen for the layer alone, but the network as a whole is kept"
    return (None if layer.stem is None else layer.kernel), layer.reason


def _bar(plan: Plan, layer: LayerPlan) -> plots.LayerBar:
    kernel, note = _fate(plan, layer)
    return plots.LayerBar(_name(layer), layer.before, layer.after, kernel, note)


def _name(layer: LayerPlan) -> str:
    return layer.names[0] or "(the model)"


def _gain(layer: LayerPlan) -> Measurement | None:
    return layer.before / layer.after if layer.before and layer.after else None


def _speedups(result: NetworkResult) -> list[plots.SpeedUp]:
    """The whole network first, then each layer that has a time of both."""
    rows, whole = [], result.speedup()
    if whole is not None:
        rows.append(plots.SpeedUp("the whole network", whole, max(result.noise, NOISE_FLOOR)))
    for layer in result.plan.layers:
        if gain := _gain(layer):
            rows.append(plots.SpeedUp(_name(layer), gain, NOISE_FLOOR))
    return rows


def _error_points(result: NetworkResult) -> list[plots.ErrorPoint]:
    pairs = [(layer.kernel, _gain(layer), layer.error) for layer in result.plan.layers if layer.stem]
    pairs.append(("the whole network", result.speedup(), result.error))
    return [plots.ErrorPoint(name, gain.value, e) for name, gain, e in pairs if gain and e is not None]


def _whole(page: Page, result: NetworkResult) -> None:
    """Every contender, thrown out or not, and what the network made."""
    times, best = result.times(), result.best_stock()
    thrown_out = result.turns.thrown_out if result.turns else {}
    columns: dict[str, list[str]] = {"network": [*times, *(name for name in thrown_out if name not in times)]}
    names = columns["network"]
    columns["ms [quartiles]"] = times_column([times.get(name) for name in names], spread=True)
    columns["times as fast as the best stock form [95 % interval]"] = [
        "1" if name == best else ratio(result.speedup(name), spread=True) for name in names
    ]
    if result.score_name:
        columns[result.score_name] = [result.scores.get(name, "-") for name in names]
    if thrown_out:
        columns["thrown out"] = [thrown_out.get(name, "") for name in names]
    if result.per_joule:
        columns[f"{result.score_name or 'score'} / J"] = [result.per_joule.get(name, "-") for name in names]
    if names:
        caption = f"{result.threads}, {result.plan.memory_format} memory format, A/A noise {result.noise:.1%}"
        page.table(list(columns), list(zip(*columns.values(), strict=True)), (1, 2), caption)
    page.points(result.notes)
    for picture in result.pictures:
        page.picture(picture.png, picture.alt, picture.caption)


def _layers(page: Page, plan: Plan) -> None:
    """One row a layer, those that stay stock included; columns that nobody fills are left out."""
    layers, fates = plan.layers, [_fate(plan, layer) for layer in plan.layers]
    require_one_kind([time for layer in layers for time in (layer.before, layer.after)])
    kind = require_one_kind([j for layer in layers for j in (layer.energy_before, layer.energy_after)])
    columns = {
        "layer": [_name(layer) for layer in layers],
        "what it is": [layer.sizes for layer in layers],
        "kernel": [kernel or "stock" for kernel, _ in fates],
        "ms before": times_column([layer.before for layer in layers], spread=True),
        "ms after": times_column([layer.after for layer in layers], spread=True),
        "speed-up": [ratio(_gain(layer)) for layer in layers],
        "error": [error(layer.error) for layer in layers],
    }
    if kind is not None:
        columns[f"mJ before ({kind.value})"] = [millijoules(layer.energy_before) for layer in layers]
        columns[f"mJ after ({kind.value})"] = [millijoules(layer.energy_after) for layer in layers]
    columns["MB more"] = [f"{layer.extra_bytes / 1e6:.1f}" if layer.extra_bytes else "-" for layer in layers]
    columns = {heading: cells for heading, cells in columns.items() if any(cell != "-" for cell in cells)}
    columns["why, or what else"] = [note for _, note in fates]
    right = [i for i, name in enumerate(columns) if name.startswith(NUMBERS)]
    styles = ["" if kernel else "kept" for kernel, _ in fates]
    caption = "Layers in the order of the network; medians with quartiles, layers alike are timed once."
    page.table(list(columns), list(zip(*columns.values(), strict=True)), right, caption, styles)
    page.points(summary_lines(plan))


def _machine(page: Page, results: Sequence[NetworkResult]) -> None:
    """What the numbers belong to."""
    page.heading("Machine and versions")
    rows = []
    for result in results:
        about = result.plan.about
        rows += [(f"date, {result.threads}", about["date"])] if "date" in about else []
    about = results[-1].plan.about
    facts = {"CPU": about.get("cpu")} | dict(about.get("versions", {}))
    rows += [(name, _words(value)) for name, value in facts.items() if value is not None]
    page.table(("what", "value"), rows, caption="Times hold for this machine and these versions only")


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "-"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
