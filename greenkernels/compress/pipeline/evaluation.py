"""What a network of the pipeline is worth: accuracy, weights, bytes, time and joules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...energy.breakdown import estimate
from ...energy.quality import efficiency, quality_per_joule
from ...measure.contender import Contender
from ...measure.suite import calmest
from ...measure.turns import Schedule, take_turns
from ...saving import save
from ..conversion import to_sparse
from .data import Data
from .fitting import accuracy

TIMING = Schedule(rounds=9, budget_s=6.0)


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        step: "0 start", "1 train", ...
        accuracy: on the test inputs, 0 to 1.
        nonzeros, weights: of Linear and Conv2d.
        file_bytes: of `greenkernels.save`, pruned layers as their nonzeros.
    """

    step: str
    accuracy: float
    nonzeros: int
    weights: int
    file_bytes: int

    def to_json(self) -> dict[str, Any]:
        """In plain types."""
        return asdict(self)


def look_at(model: nn.Module, step: str, data: Data, file: Path) -> Row:
    """All that needs no clock; the file of the weights stays."""
    nonzeros = weights = 0
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            weight = module.weight.detach()
            nonzeros, weights = nonzeros + int(weight.count_nonzero()), weights + weight.numel()
    saved = save(to_sparse(model, warn=False), file)
    return Row(step, accuracy(model, data), nonzeros, weights, saved.stat().st_size)


def take_times(models: dict[str, nn.Module], data: Data) -> dict[str, dict[str, Any]]:
    """Seconds an input of each, measured in turns on batches of the test inputs, and over the first one's."""
    inputs = data.sample(data.timed).inputs
    names = list(models)
    contenders = [Contender(name, models[name], keep=True) for name in names]
    turns = calmest(lambda: take_turns(contenders, (inputs,), TIMING, twin=names[0]))
    found = {}
    for name in names:
        time = turns.time(name)
        row = {
            "time_s": time.value / len(inputs),
            "noise": turns.noise(),
            "foreign_cores": turns.foreign_cores,
        }
        if name != names[0]:
            said = turns.compare(names[0], name)
            row |= {"speedup": [said.ratio.low, said.ratio.value, said.ratio.high], "verdict": said.verdict}
        found[name] = row | {"threads": torch.get_num_threads(), "batch": len(inputs)}
    return found


def take_joules(model: nn.Module, data: Data, floor: float, quality: float) -> dict[str, Any]:
    """J an input with its source, accuracy per joule above the floor, and the modelled split by layer.

    Args:
        quality: accuracy on all test inputs, which the floor is for; joules are those of one batch.
    """
    batch = data.sample(data.timed)
    accuracy(
        model, replace(data, test=batch)
    )  # a first call takes longer: static power is paid by the second
    found = efficiency(model, [tuple(batch)], data.judge, floor=0.0, items=lambda x, _: len(x))
    each = quality_per_joule(quality, found.energy_j, floor)
    split = estimate(model, batch.inputs)
    return {
        "energy_j": None if found.energy_j is None else found.energy_j.to_json(),
        "per_joule": None if each is None else each.to_json(),
        "source": found.source,
        "reason": found.reason,
        "layers": [
            [
                layer.name,
                layer.kind,
                None if layer.joules is None else layer.joules.total.value / len(batch.inputs),
            ]
            for layer in split.layers
        ],
    }


def nothing_dominates(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of points (cost, quality): whether no other is as cheap and as good, and better in one of both."""
    return [
        not any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in points)
        for cost, quality in points
    ]
