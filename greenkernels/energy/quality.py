"""Quality per joule of a network on data, only above a floor of quality."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..measure.clock import Clock
from ..measure.provenance import Measurement
from .backends import choose
from .hardware_table import DEFAULT
from .meter import EnergyMeter, per
from .network import arguments, require_eval
from .per_call import measure

Pair = tuple[tuple[tuple[Any, ...], dict[str, Any]], Any, int]  # arguments of a call, target, items


@dataclass(frozen=True)
class Efficiency:
    """What `efficiency` found.

    Attributes:
        quality: mean of the metric over the data.
        floor: quality that had to be reached.
        samples: pairs in the data.
        items: images, tokens or whatever the pairs hold, by ``items``; default: the pairs.
        energy_j: J an item with its kind; None where it is unknown.
        per_joule: quality / energy_j, in 1/J; None below the floor and where the energy is unknown.
        source: where the energy comes from.
        reason: why ``per_joule`` is None, or what else there is to say.
    """

    quality: float
    floor: float
    samples: int
    items: int
    energy_j: Measurement | None
    per_joule: Measurement | None
    source: str | None
    reason: str


def efficiency(
    model: nn.Module,
    data: Iterable[tuple[Any, Any]],
    metric: Callable[[Any, Any], float],
    *,
    floor: float,
    hardware: str = DEFAULT,
    source: str | None = None,
    items: Callable[[Any, Any], int] | None = None,
    clock: Clock | None = None,
) -> Efficiency:
    """Quality per joule. A ratio below the floor would praise a network for doing nothing, so there is none.

    A counter is read over whole passes through the data, again and again as `greenkernels.energy.measure` does, since
    one call is too short for it; the model counts each call once.

    Args:
        model: in eval mode.
        data: pairs (inputs, target); inputs as for `greenkernels.energy.estimate`.
        metric: ``metric(output, target)``; higher is better. It is not metered.
        floor: least mean of the metric that counts as doing the job.
        hardware: table of the analytic model.
        source: name of a source; default: the first counter that can be read, else "model".
        items: ``items(inputs, target)`` says how many images, tokens, ... a pair holds; J are then of one of them.
        clock: tests put a synthetic one here.

    Raises:
        ValueError: training mode, no data, a quality that is not a number, no item.
    """
    require_eval(model, "efficiency")
    pairs = [
        (arguments(inputs), target, 1 if items is None else items(inputs, target)) for inputs, target in data
    ]
    count = sum(number for _, _, number in pairs)
    if not pairs or count < 1:
        raise ValueError("efficiency: data must hold at least one pair of inputs and target, and one item")
    backend = choose(source, clock)
    meters = (
        [EnergyMeter(hardware, source="model", clock=clock) for _ in pairs] if backend.counts_work else []
    )
    quality = _quality(model, pairs, metric, meters)
    if backend.counts_work:
        whole, reason = _sum(meters)
    else:
        whole, reason = _measured(model, pairs, backend.name, clock)
    energy_j = None if whole is None else per(whole, count, "J")
    source = None if energy_j is None else backend.name
    per_joule = None
    if quality < floor:
        reason = f"the quality {quality:.4g} is below the floor {floor:.4g}"
    elif energy_j is not None and energy_j.low <= 0:
        reason = "the network does nothing that costs energy in this model"
    else:
        per_joule = quality_per_joule(quality, energy_j, floor)
    return Efficiency(quality, floor, len(pairs), count, energy_j, per_joule, source, reason)


def quality_per_joule(
    quality: float | None, energy_j: Measurement | None, floor: float
) -> Measurement | None:
    """Quality over joules, in 1/J, of the kind of the joules; None below the floor and where one of both is unknown."""
    if quality is None or energy_j is None or quality < floor or energy_j.low <= 0:
        return None
    ends = sorted((quality / energy_j.low, quality / energy_j.high))
    return Measurement(quality / energy_j.value, "1/J", energy_j.kind, *ends)


def _quality(
    model: nn.Module, pairs: list[Pair], metric: Callable[[Any, Any], float], meters: list[EnergyMeter]
) -> float:
    """Mean of the metric; each call in its meter, where there are any."""
    qualities = []
    for i, ((args, kwargs), target, _) in enumerate(pairs):
        with torch.no_grad(), meters[i] if meters else contextlib.nullcontext():
            output = model(*args, **kwargs)
        qualities.append(float(metric(output, target)))
    quality = math.fsum(qualities) / len(qualities)
    if math.isnan(quality):
        raise ValueError("efficiency: metric must give numbers, got NaN")
    return quality


def _measured(
    model: nn.Module, pairs: list[Pair], source: str, clock: Clock | None
) -> tuple[Measurement | None, str]:
    """J of a pass through the data by a counter, or None and the reason."""

    def run() -> None:
        with torch.no_grad():
            for (args, kwargs), _, _ in pairs:
                model(*args, **kwargs)

    found = measure(run, source=source, clock=clock)
    return found.energy_j, found.reason


def _sum(meters: list[EnergyMeter]) -> tuple[Measurement | None, str]:
    """J of all windows, or None and the first reason."""
    for meter in meters:
        if meter.energy_j is None:
            return None, meter.reason
    total = meters[0].energy_j
    for meter in meters[1:]:
        total = total + meter.energy_j
    return total, meters[0].reason
