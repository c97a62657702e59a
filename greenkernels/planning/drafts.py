"""From what was measured of the layers to what becomes of each: the choice, or why the stock layer stays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..measure.provenance import Measurement
from ..report.tables import ratio
from .candidates import Chain
from .joules import energy
from .layout import AS_GIVEN
from .objective import admissible
from .plans import LayerPlan
from .survey import Site
from .timing import Choice, LayerTimes

Times = dict[tuple[object, ...], LayerTimes]  # signature of a layer -> what its turns said


def times_of_site(found: LayerTimes, site: Site) -> LayerTimes:
    """Times of a layer of the same signature, for this one: what is fused is what stands behind this layer."""
    choices = {
        form: [replace(choice, chain=_same_part(choice.chain, site.chain)) for choice in of_form]
        for form, of_form in found.choices.items()
    }
    return replace(found, choices=choices)


def _same_part(fused: Chain | None, chain: Chain | None) -> Chain | None:
    if fused is None or chain is None:
        return None
    return chain if fused.activation else replace(chain, activation=None)


def draft(site: Site, found: LayerTimes | None, form: str, objective: str, unmeasured: str) -> LayerPlan:
    """What becomes of one layer if the network runs in that format; `unmeasured` says why there may be no times."""
    layer = LayerPlan(site.names, repr(site.module), reason=site.reason)
    if not site.stems:
        return layer
    if found is None:
        layer.reason = unmeasured
        return layer
    layer.before = found.stock.get(AS_GIVEN)
    layer.energy_before = energy(found.work, layer.before)
    choices = admissible(found, form, objective)
    if choices:
        choices[0].put_into(layer)
        layer.reason = ""
        if site.chain is not None:
            layer.reason = f"times include the {site.chain} behind it"
    else:
        layer.reason = why_none(found, form, objective)
    return layer


def why_none(found: LayerTimes, form: str, objective: str) -> str:
    """Why no kernel was better than the stock layer."""
    choices = found.choices.get(found.known_form(form), [])
    if choices:
        best = choices[0]
        if math.isinf(best.speedup.high):  # one round only, then it was dropped
            return f"{best}: far slower, {best.speedup.value:.2f}x"
        said = f"{best}: {best.verdict}, {ratio(best.speedup, spread=True)}"
        if objective != "latency" and found.work is None:
            return f"{said}; its joules are unknown"
        return said
    return "; ".join(f"{name} {reason}" for name, reason in found.thrown_out.items()) or "not measured"


def expected_s(sites: list[Site], times: Times, layers: list[LayerPlan], form: str) -> float:
    """Sum over the timed layers, each with what was chosen for it."""
    total = 0.0
    for site, layer in zip(sites, layers, strict=True):
        found = times.get(site.signature()) if site.stems else None
        if found is not None and found.stock and not layer.within_block:
            total += layer.after.value if layer.after else found.stock[found.known_form(form)].value
    return total


def keep_within_memory(
    layers: list[LayerPlan], alternatives: dict[str, list[Choice]], max_memory: int | None
) -> dict[str, list[Choice]]:
    """While packed weights and scratch need more than `max_memory` bytes, give back where a byte gains least.

    The layer gets the best of its alternatives that needs less memory, else its stock kernel.

    Returns:
        The alternatives that need no more memory than what was chosen: a layer may be weakened later.
    """
    if max_memory is None:
        return alternatives
    while True:
        replaced = [layer for layer in layers if layer.stem is not None]
        scratch = max((layer.scratch_bytes for layer in replaced), default=0)
        needed = sum(layer.extra_bytes for layer in replaced) + scratch
        if needed <= max_memory:
            break
        least = min(
            (layer for layer in replaced if not layer.within_block),
            key=lambda layer: _gain_a_byte(_together(replaced, layer)),
        )
        why = f"the plan would need {needed:.4g} bytes of memory, allowed {max_memory:.4g}"
        if least.block:
            split_block(layers, least, alternatives, why)
            continue
        size = least.extra_bytes + least.scratch_bytes
        for choice in alternatives.get(least.names[0], []):
            if choice.extra_bytes + choice.scratch_bytes < size:
                choice.put_into(least)
                least.reason = f"chosen for its smaller memory ({why})"
                break
        else:
            least.keep_stock(why)
    chosen = {layer.names[0]: layer for layer in layers}
    return {
        name: [
            c
            for c in choices
            if c.extra_bytes <= chosen[name].extra_bytes and c.scratch_bytes <= chosen[name].scratch_bytes
        ]
        for name, choices in alternatives.items()
    }


def split_block(
    layers: Sequence[LayerPlan], layer: LayerPlan, alternatives: Mapping[str, Sequence[Choice]], why: str
) -> None:
    """Give each layer of this one's block the best of its alternatives by itself, else its stock kernel."""
    for part in _together(layers, layer):
        part.keep_stock(why)
        for choice in alternatives.get(part.names[0], [])[:1]:
            choice.put_into(part)
            part.reason = f"by itself: {why}"


def _together(layers: Sequence[LayerPlan], layer: LayerPlan) -> list[LayerPlan]:
    """The layers of its block, or it alone."""
    return [other for other in layers if other is layer or (layer.block and other.block == layer.block)]


def _gain_a_byte(layers: Sequence[LayerPlan]) -> float:
    """s, or J where nothing was timed, for each byte of memory, of one layer or a block."""
    gain = sum(_change([(layer.before, layer.after) for layer in layers]))
    gain = gain or sum(_change([(layer.energy_before, layer.energy_after) for layer in layers]))
    return gain / max(1, sum(layer.extra_bytes + layer.scratch_bytes for layer in layers))


def _change(pairs: Sequence[tuple[Measurement | None, Measurement | None]]) -> list[float]:
    """What was there before, and after with a minus; nothing where a before or every after is unknown."""
    if any(before is None for before, _ in pairs) or all(after is None for _, after in pairs):
        return []
    return [before.value for before, _ in pairs] + [-after.value for _, after in pairs if after is not None]
