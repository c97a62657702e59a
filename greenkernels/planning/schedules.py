"""How long to measure: turns of a layer, turns of the whole network, and a time budget over both."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from torch import nn

from ..measure.clock import Clock
from ..measure.machine import cpu_facts
from ..measure.turns import Schedule
from .joules import on_cuda

# Rounds go on past the budget while what looks faster is not yet known to be. Who is 1.3 times slower than the best
# after one round, 1.15 times after two, gets no more turns: enough for tiles and formats that differ by less to stay.
LAYER_SCHEDULE = Schedule(rounds=15, min_rounds=3, drop_beyond=1.15, pause_s=0.003, budget_s=0.5)
# A call this long outlasts what two untimed calls are for (a pool that still spins, cold caches) within one.
LONG_CALL_S = 0.005
LONG_LAYER_SCHEDULE = replace(LAYER_SCHEDULE, rounds=9, timed=2, untimed=1)
NETWORK_SCHEDULE = Schedule(rounds=9, min_rounds=3, timed=2, drop_beyond=1.15, budget_s=1.0)
MOST_BETWEEN = 32 << 20  # bytes read between two calls of a layer, at most: 1 to 3 ms a call
BETWEEN_RATE = 10e9  # bytes/s at which they are taken to be read, where a time budget is shared out
LAYERS_SHARE = 0.6  # of a time budget; the rest is for the whole network
STOCK_NETWORKS = 3  # contenders of the last turns: stock in two formats, one of them twice


class Timed(Protocol):
    """What is timed.

    Attributes:
        contenders: how many take part.
        calls, seconds: in a forward of the network, and what they took in one.
    """

    contenders: int
    calls: int
    seconds: float


@dataclass
class Budget:
    """A time budget and what is left of it.

    Attributes:
        seconds: None for as long as verdicts take.
        clock: whose seconds.
        forward_s: time of one forward of the stock network.
    """

    seconds: float | None
    clock: Clock
    forward_s: float = 0.0

    def __post_init__(self) -> None:
        self.begin = self.clock.now()

    def left(self, share: float = 1.0) -> float:
        """Seconds until that share of it is spent."""
        if self.seconds is None:
            return math.inf
        return share * self.seconds - (self.clock.now() - self.begin)


def traffic_between(model: nn.Module) -> int:
    """Bytes that the rest of a network reads between two calls of a layer; 0 on CUDA, and where weights fit into L2.

    A kernel whose packed weight is larger (F(4x4) takes four times the bytes) wins less where they come from L3 or
    memory: all weights, so many that nothing stays in L2, and where the network outgrows L3, nothing there.
    """
    if on_cuda(model):
        return 0
    caches = cpu_facts()["caches_bytes"]
    l2 = caches.get("L2") or 1 << 21
    l3 = caches.get("L3") or 0
    weights = sum(tensor.nbytes for tensor in model.parameters())
    if weights <= l2:
        return 0
    return min(MOST_BETWEEN, max(8 * l2, weights if weights <= l3 else 2 * l3))


def layer_schedule(site: Timed, budget: Budget, between_bytes: int = 0) -> Schedule | None:
    """Turns of one layer or block; None where what is left of the budget does not pay for the fewest rounds."""
    long = site.seconds > LONG_CALL_S * site.calls
    schedule = replace(LONG_LAYER_SCHEDULE if long else LAYER_SCHEDULE, between_bytes=between_bytes)
    calls_s = site.contenders * (site.seconds + between_bytes / BETWEEN_RATE)
    return _within(schedule, calls_s, budget.left(LAYERS_SHARE), refuse=True)


def network_schedule(budget: Budget, converted: int) -> Schedule:
    """Turns of stock and so many converted networks; the fewest rounds in any case, or nothing would be certified."""
    contenders = STOCK_NETWORKS + converted
    return _within(NETWORK_SCHEDULE, contenders * budget.forward_s, budget.left(), refuse=False)


def _within(schedule: Schedule, calls_s: float, left_s: float, refuse: bool) -> Schedule | None:
    """The schedule cut to the rounds that fit; `calls_s` is the time of one call of every contender."""
    if math.isinf(left_s):
        return schedule
    round_s = calls_s * (schedule.timed + schedule.untimed)
    fit = int(left_s / round_s) if round_s > 0 else schedule.rounds
    if fit < schedule.min_rounds and refuse:
        return None
    rounds = min(schedule.rounds, max(schedule.min_rounds, fit))
    return replace(schedule, rounds=rounds, budget_s=max(1e-3, min(schedule.budget_s, left_s)))
