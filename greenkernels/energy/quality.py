"""Quality per joule of a network on data, only above a floor of quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..measure.provenance import Measurement
from .hardware_table import DEFAULT
from .meter import EnergyMeter
from .network import arguments, require_eval


@dataclass(frozen=True)
class Efficiency:
    """What `efficiency` found.

    Attributes:
        quality: mean of the metric over the data.
        floor: quality that had to be reached.
        samples: pairs in the data.
        energy_j: J a sample with its kind; None where it is unknown.
        per_joule: quality / energy_j, in 1/J; None below the floor and where the energy is unknown.
        source: where the energy comes from.
        reason: why ``per_joule`` is None, or what else there is to say.
    """

    quality: float
    floor: float
    samples: int
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
) -> Efficiency:
    """Quality per joule. A ratio below the floor would praise a network for doing nothing, so there is none.

    Args:
        model: in eval mode.
        data: pairs (inputs, target); inputs as for `greenkernels.energy.estimate`.
        metric: ``metric(output, target)``; higher is better. It is not metered.
        floor: least mean of the metric that counts as doing the job.
        hardware: table of the analytic model.
        source: name of a source; default: the first counter that can be read, else "model".

    Raises:
        ValueError: training mode, no data, a quality that is not a number.
    """
    require_eval(model, "efficiency")
    qualities, meters = [], []
    for inputs, target in data:
        args, kwargs = arguments(inputs)
        with torch.no_grad(), EnergyMeter(hardware, source=source) as meter:
            output = model(*args, **kwargs)
        meters.append(meter)
        qualities.append(float(metric(output, target)))
    if not qualities:
        raise ValueError("efficiency: data must hold at least one pair of inputs and target")
    quality = math.fsum(qualities) / len(qualities)
    if math.isnan(quality):
        raise ValueError("efficiency: metric must give numbers, got NaN")
    energy_j, reason = _mean_energy(meters)
    source = None if energy_j is None else meters[0].source
    per_joule = None
    if quality < floor:
        reason = f"the quality {quality:.4g} is below the floor {floor:.4g}"
    elif energy_j is not None and energy_j.low <= 0:
        reason = "the network does nothing that costs energy in this model"
    elif energy_j is not None:
        ends = sorted((quality / energy_j.low, quality / energy_j.high))
        per_joule = Measurement(quality / energy_j.value, "1/J", energy_j.kind, *ends)
    return Efficiency(quality, floor, len(qualities), energy_j, per_joule, source, reason)


def _mean_energy(meters: list[EnergyMeter]) -> tuple[Measurement | None, str]:
    """J a sample over all windows, or None and the first reason."""
    for meter in meters:
        if meter.energy_j is None:
            return None, meter.reason
    total = meters[0].energy_j
    for meter in meters[1:]:
        total = total + meter.energy_j
    ends = (end / len(meters) for end in (total.value, total.low, total.high))
    value, low, high = ends
    return Measurement(value, "J", total.kind, low, high), meters[0].reason
