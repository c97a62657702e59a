"""A plan as the table and the lines that ``print(plan)`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..measure.provenance import Measurement, require_one_kind
from ..report.tables import error, millijoules, milliseconds, ratio, text_table
from .hints import hint_lines
from .plans import LayerPlan, NetworkVerdict, Plan

HEADERS = ("layer", "kernel", "ms before", "ms after", "mJ before", "mJ after", "error", "MB more", "note")
NUMBERS = (2, 3, 4, 5, 6, 7)  # columns flushed to the right


def text(plan: Plan) -> str:
    """The table, and below it what holds for the whole network."""
    return "\n".join([text_table(HEADERS, rows(plan), right=NUMBERS), "", *summary_lines(plan)])


def rows(plan: Plan) -> list[tuple[str, ...]]:
    """One row a layer; joules of both columns are of one kind."""
    require_one_kind([j for layer in plan.layers for j in (layer.energy_before, layer.energy_after)])
    return [_row(plan, layer) for layer in plan.layers]


def _row(plan: Plan, layer: LayerPlan) -> tuple[str, ...]:
    kernel, note = layer.kernel, layer.reason
    if layer.stem is not None and not plan.accepted:
        kernel, note = "stock", f"{kernel} was chosen for the layer alone, but the network as a whole is kept"
    more = f"{layer.extra_bytes / 1e6:.1f}" if layer.stem is not None and plan.accepted else "-"
    times = (milliseconds(layer.before), milliseconds(layer.after))
    joules = (millijoules(layer.energy_before), millijoules(layer.energy_after))
    return layer.names[0] or "(the model)", kernel, *times, *joules, error(layer.error), more, note


def summary_lines(plan: Plan) -> list[str]:
    """What holds for the whole network."""
    network = plan.network
    lines = [plan.reason, *_time_lines(network), *_energy_lines(plan.objective, network)]
    if network.error is not None:
        allowed = "any" if plan.max_error == float("inf") else error(plan.max_error)
        lines.append(f"relative difference of outputs {error(network.error)}, allowed {allowed}")
    if network.drop is not None:
        lines.append(f"metric dropped by {network.drop:.4g}, allowed {plan.max_drop:.4g}")
    replaced = plan.replaced
    if replaced:
        packed = sum(layer.extra_bytes for layer in replaced) / 1e6
        scratch = max(layer.scratch_bytes for layer in replaced) / 1e6
        lines.append(f"memory: packed weights {packed:.1f} MB, scratch up to {scratch:.1f} MB")
    lines.append(f"{plan.threads} thread(s), memory format {plan.memory_format}")
    return lines + _cache_lines(plan.about) + hint_lines(plan)


def _cache_lines(about: dict[str, Any]) -> list[str]:
    """Which numbers are from another run."""
    if about.get("cached"):
        return [f"from the cache of {about['cached']}"]
    lines = []
    if about.get("cached_layers"):
        lines.append(
            f"times of {about['cached_layers']} kind(s) of layers from the cache, since {about['cached_since']}"
        )
    if about.get("cached_network"):
        lines.append(f"times of the networks from the cache of {about['cached_network']}")
    return lines


def _time_lines(network: NetworkVerdict) -> list[str]:
    lines = []
    if network.stock is not None:
        stock = f"stock {milliseconds(network.stock, spread=True)} ms"
        if network.stock_channels_last is not None:
            stock += f", in channels_last {milliseconds(network.stock_channels_last, spread=True)} ms"
        lines.append(f"network: {stock}; converted {milliseconds(network.converted, spread=True)} ms")
    if network.speedup is not None:
        lines.append(
            f"speed-up {ratio(network.speedup, spread=True)} (95 % interval), A/A noise {network.noise:.1%}"
        )
    return lines


def _energy_lines(objective: str, network: NetworkVerdict) -> list[str]:
    if network.energy_before is None or network.energy_after is None:
        return ["joules: unknown, and the objective asks for them"] if objective != "latency" else []
    before, after = network.energy_before, network.energy_after
    source = "" if network.energy_source == "model" else f" by {network.energy_source}"
    line = f"energy ({before.kind.value}{source}): {_spread(before)} mJ before, {_spread(after)} mJ after"
    missing: Sequence[str] = network.uncounted
    lines = [line + (f"; not counted: {', '.join(missing)}" if missing else "")]
    return lines + ([network.energy_note] if network.energy_note else [])


def _spread(energy: Measurement) -> str:
    low, high = energy.low * 1e3, energy.high * 1e3
    return f"{millijoules(energy)} [{low:.3g}, {high:.3g}]"
