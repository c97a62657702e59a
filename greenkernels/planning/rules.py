"""Planning without a clock: what the stems' own rules choose, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable

from .behind import Behind
from .joules import energy
from .plans import LayerPlan
from .survey import Site
from .timing import choice_for, stock_work


def drafts_by_rule(sites: list[Site], behind: Callable[[Site], Behind]) -> list[LayerPlan]:
    """What becomes of each layer; the first stem whose rule says yes takes it."""
    return [_draft(site, behind(site)) for site in sites]


def _draft(site: Site, behind: Behind) -> LayerPlan:
    layer = LayerPlan(site.names, repr(site.module), reason=site.reason)
    if not site.stems:
        return layer
    layer.energy_before = energy(stock_work(site, behind), None)
    refusals = {}
    for stem in site.stems:
        options = stem.cold_start(site.module, site.shapes)
        if isinstance(options, str):
            refusals[stem.name] = options
            continue
        choice_for(site, behind, stem, options)[0].put_into(layer)
        layer.reason = "by rule, not measured"
        return layer
    if len(refusals) == 1:
        (layer.reason,) = refusals.values()
    else:
        layer.reason = "; ".join(f"{name}: {why}" for name, why in refusals.items())
    return layer
