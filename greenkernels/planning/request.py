"""What a caller of gk.plan asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..measure.clock import Clock
from ..measure.turns import Schedule
from . import candidates
from .candidates import Stem
from .certify import Inputs

OBJECTIVES = ("latency",)

# Long enough for a verdict on layers of 0.1 to 30 ms, short enough for a network of 20 different ones.
LAYER_SCHEDULE = Schedule(rounds=15, min_rounds=3, drop_beyond=1.5, pause_s=0.003, budget_s=1.5)
NETWORK_SCHEDULE = Schedule(rounds=11, min_rounds=3, timed=2, drop_beyond=1.3, budget_s=6.0)
LAYERS_SHARE = 0.6  # of a time budget; the rest is for the whole network


@dataclass(frozen=True)
class Settings:
    """What the caller asked for; see `plan`."""

    objective: str
    max_error: float
    measure: bool
    stems: tuple[Stem, ...]
    time_budget: float | None
    clock: Clock

    def layer_schedule(self, count: int) -> Schedule:
        """Turns of one of `count` different layers; they share most of the time budget."""
        if self.time_budget is None:
            return LAYER_SCHEDULE
        return replace(LAYER_SCHEDULE, budget_s=LAYERS_SHARE * self.time_budget / max(1, count))

    def network_schedule(self) -> Schedule:
        if self.time_budget is None:
            return NETWORK_SCHEDULE
        return replace(NETWORK_SCHEDULE, budget_s=(1 - LAYERS_SHARE) * self.time_budget)


def wanted_stems(objective: str, precision: str | set[str], max_error: float) -> tuple[Stem, ...]:
    """The kernels that may be used; raises ValueError for an argument out of range."""
    if objective not in OBJECTIVES:
        raise ValueError(f"plan: objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if not max_error > 0:
        raise ValueError(f"plan: max_error must be positive, got {max_error}")
    if precision == "float32":
        return tuple(stem for stem in candidates.registered() if not stem.lossy)
    names = {stem.name for stem in candidates.registered()}
    if isinstance(precision, str) or not set(precision) <= names:
        raise ValueError(
            f"plan: precision must be 'float32' or a set out of {sorted(names)}, got {precision!r}"
        )
    return tuple(stem for stem in candidates.registered() if stem.name in precision)


def arguments(example_inputs: Any) -> Inputs:
    """Example inputs in any of their spellings as positional and keyword arguments."""
    if isinstance(example_inputs, Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, dict):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    kind = type(example_inputs).__name__
    raise ValueError(f"plan: example_inputs must be a tensor, a tuple or a dict, got {kind}")
