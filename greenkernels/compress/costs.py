"""What a network costs, as `search` and `sensitivity` weigh it: bytes, modelled joules, or measured seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..energy.breakdown import estimate
from ..energy.ops import tensors
from ..measure.clock import Clock
from ..measure.contender import Contender
from ..measure.turns import Schedule, take_turns
from ..nn.int8_module import KeepsInt8Weight
from ..nn.quantized_module import KeepsPackedWeight

Cost = Callable[[nn.Module], float]
JOULES = "J"  # `unit` of costs that are modelled joules
INDEX_BYTES = 2  # of the place of a nonzero
TIMING = Schedule(rounds=7, min_rounds=7, budget_s=0.5)


def weight_bytes(model: nn.Module) -> int:
    """Of all weights, as their kernels keep them: a byte each in int8, what is packed in fewer bits.

    Of a pruned layer each nonzero and its place count, where that is less than all of it.
    """
    total = 0
    for part in model.modules():
        weight = getattr(part, "weight", None)
        if weight is None:
            continue
        size, nonzeros = weight.element_size(), int(weight.count_nonzero())
        if isinstance(part, KeepsInt8Weight):
            total += weight.numel()
        elif isinstance(part, KeepsPackedWeight):
            total += part.packed.nbytes
        else:
            total += min(weight.numel() * size, nonzeros * (size + INDEX_BYTES))
    return total


def modelled_joules(inputs: Any) -> Cost:
    """A function of a network: J of a call on these inputs by `greenkernels.energy.estimate`, of kind "modelled".

    Args:
        inputs: a tensor or a tuple of arguments.
    """

    def cost(model: nn.Module) -> float:
        found = estimate(model, inputs).energy_j
        if found is None:
            raise ValueError("modelled_joules: the network has layers whose work is not known")
        return found.value

    cost.unit, cost.key = JOULES, f"modelled_joules {_shapes(inputs)}"
    return cost


def measured_seconds(model: nn.Module, inputs: Any, *, clock: Clock | None = None) -> Cost:
    """A function of a network: seconds of a call on these inputs, measured in turns with ``model``.

    The machine's speed changes between two calls of the function, so it gives the ratio of both times in the same
    seconds, by the time that ``model`` took at first.

    Args:
        model: the network as it is, in eval mode.
        inputs: a tensor or a tuple of arguments.
        clock: tests put a synthetic one here.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    stock = Contender("stock", model, keep=True)
    first = take_turns([stock], arguments, TIMING, clock=clock).time("stock").value

    def cost(other: nn.Module) -> float:
        turns = take_turns([stock, Contender("other", other, keep=True)], arguments, TIMING, clock=clock)
        if "other" in turns.thrown_out:
            raise ValueError(f"measured_seconds: {turns.thrown_out['other']}")
        return first / turns.compare("stock", "other").ratio.value

    cost.key = f"measured_seconds {_shapes(inputs)}"
    return cost


def _shapes(inputs: Any) -> list[list[int]]:
    """Of all tensors: with the kind of a cost, what `sensitivity` knows it again by."""
    return [list(tensor.shape) for tensor in tensors(inputs)]


def cost_of(cost: Cost, model: nn.Module, what: str) -> float:
    """The cost of a network. Raises ValueError if it is no finite number."""
    with torch.no_grad():
        found = float(cost(model))
    if not math.isfinite(found):
        raise ValueError(f"{what}: cost must give a finite number, got {found}")
    return found
