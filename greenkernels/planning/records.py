"""What planning keeps in the cache, and under which keys: times of a kind of layer, the verdict on a network, a plan.

A key holds everything that the entry depends on. Where something cannot be hashed there is no key, and no entry.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from .as_json import revived, to_json
from .behind import Behind
from .cache import Cache
from .fingerprint import Unknowable, inputs_key, network_key
from .plans import LayerPlan, NetworkVerdict, Plan
from .quality import Inputs
from .request import Settings
from .survey import Site
from .timing import Choice, LayerTimes

LAYER, VERDICT, PLAN = "layer", "network", "plan"


def layer_key(site: Site, behind: Behind, settings: Settings, between: int) -> list[object]:
    """Sizes and layouts, what follows, who takes part, the bound that throws out, what is read between; not values."""
    candidates = [[stem.name, stem.options(site.module)] for stem in site.stems]
    return [site.signature(), repr(behind.activation), candidates, settings.bounds.max_error, between]


def read_times(cache: Cache, key: object) -> LayerTimes | None:
    entry = cache.read(LAYER, key)
    if entry is None:
        return None
    try:
        data = revived(entry.data)
        data["stock"] = revived(data["stock"])
        data["choices"] = {
            form: [_choice(choice) for choice in entry.data["choices"][form]] for form in data["choices"]
        }
        data["work"] = None if data["work"] is None else tuple(data["work"])
        return LayerTimes(**data | {"date": entry.date})
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        cache.damaged(LAYER, key, problem)
        return None


def _choice(data: dict[str, Any]) -> Choice:
    data = revived(data)
    data["work"] = None if data["work"] is None else tuple(data["work"])
    return Choice(**data)


def write_times(cache: Cache, key: object, times: LayerTimes) -> None:
    cache.write(LAYER, key, to_json(times))


def verdict_key(stock: nn.Module, inputs: Inputs, layers: dict[str, list[LayerPlan]]) -> list[object] | None:
    """The network with its weights, the shapes of its inputs, and every choice in every memory format."""
    try:
        choices = {
            form: [[p.names, p.stem, p.options, to_json(p.chain), p.block] for p in of_form]
            for form, of_form in layers.items()
        }
        return [network_key(stock), inputs_key(inputs, values=False), choices]
    except Unknowable:
        return None


def read_verdict(cache: Cache, key: object) -> tuple[str, NetworkVerdict, str] | None:
    """Memory format, verdict and date."""
    entry = None if key is None else cache.read(VERDICT, key)
    if entry is None:
        return None
    try:
        network = revived(entry.data["network"])
        network["uncounted"] = tuple(network["uncounted"])
        return str(entry.data["form"]), NetworkVerdict(**network), entry.date
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        cache.damaged(VERDICT, key, problem)
        return None


def write_verdict(cache: Cache, key: object, form: str, network: NetworkVerdict) -> None:
    if key is not None:
        cache.write(VERDICT, key, {"form": form, "network": to_json(network)})


def plan_key(model: nn.Module, inputs: Inputs, settings: Settings) -> list[object] | None:
    """As the verdict's, with the values of all checked inputs and all settings; None with a metric: it has no hash."""
    if settings.bounds.metric is not None:
        return None
    try:
        checked = [inputs_key(x, values=True) for x in (inputs, *settings.bounds.calibration)]
        return [network_key(model), checked, settings.identity()]
    except Unknowable:
        return None


def read_plan(cache: Cache, key: object) -> Plan | None:
    entry = None if key is None else cache.read(PLAN, key)
    if entry is None:
        return None
    try:
        plan = Plan.from_json(entry.data)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        cache.damaged(PLAN, key, problem)
        return None
    plan.about["cached"] = entry.date
    return plan


def write_plan(cache: Cache, key: object, plan: Plan) -> None:
    if key is not None:
        cache.write(PLAN, key, to_json(plan))
