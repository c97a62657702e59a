"""What is known about a network at one thread number, and the sentences that say it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..measure.compare import NOISE_FLOOR
from ..measure.provenance import Measurement
from ..measure.turns import FOREIGN_CORES, NOISY, Turns
from ..planning.plans import Plan
from .tables import error, milliseconds

STOCK, CHANNELS_LAST, CONVERTED = (
    "stock",
    "stock in channels_last",
    "converted",
)  # where a plan speaks for itself


@dataclass(frozen=True)
class Picture:
    """A picture that the network made, with others beside it.

    Attributes:
        png: its bytes.
        alt: what it shows, in words.
        caption: what stands below it.
    """

    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class NetworkResult:
    """What is known about a network at one thread number. A plan alone is enough.

    Attributes:
        plan: what becomes of each layer, and why.
        turns: times taken after planning, on fresh inputs; None lets the plan's own certification speak.
        ours: the contender in `turns` that is the converted network; all others are stock.
        difference: relative difference of the converted network's output to the stock one's; None for the plan's.
        scores: contender -> quality of its output, in words; `score_name` is the column's heading.
        score_name: what the score is called, with its unit.
        per_joule: contender -> score per joule, in words; "-" below the floor of the score.
        pictures: what to show.
        notes: sentences that belong to the result.
    """

    plan: Plan
    turns: Turns | None = None
    ours: str = "greenkernels"
    difference: float | None = None
    scores: Mapping[str, str] = field(default_factory=dict)
    score_name: str = ""
    per_joule: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()

    @property
    def threads(self) -> str:
        return "1 thread" if self.plan.threads == 1 else f"{self.plan.threads} threads"

    @property
    def error(self) -> float | None:
        return self.plan.network.error if self.difference is None else self.difference

    @property
    def noise(self) -> float:
        return self.plan.network.noise if self.turns is None else self.turns.noise()

    @property
    def foreign_cores(self) -> float | None:
        return self.plan.network.foreign_cores if self.turns is None else self.turns.foreign_cores

    def times(self) -> dict[str, Measurement]:
        """Contender -> time of a call; those thrown out are left out."""
        if self.turns is not None:
            return {name: self.turns.time(name) for name in self.turns.ranked()}
        network = self.plan.network
        named = {
            STOCK: network.stock,
            CHANNELS_LAST: network.stock_channels_last,
            CONVERTED: network.converted,
        }
        return {name: time for name, time in named.items() if time is not None}

    def best_stock(self) -> str | None:
        times = {name: t.value for name, t in self.times().items() if name not in (self.ours, CONVERTED)}
        return min(times, key=times.__getitem__, default=None)

    def speedup(self, name: str | None = None) -> Measurement | None:
        """Best stock time over that contender's, paired by rounds; without a name, the converted network's."""
        if self.turns is None:
            return self.plan.network.speedup if name in (None, CONVERTED) else None
        name, best = name or self.ours, self.best_stock()
        if best is None or name not in self.times():
            return None
        return self.turns.compare(best, name).ratio


def summary(result: NetworkResult) -> str:
    """What won, by how much, with which interval and error; or that nothing did, and why."""
    plan, speedup, times = result.plan, result.speedup(), result.times()
    replaced = f"{len(plan.replaced)} of {len(plan.layers)} layers replaced"
    if not plan.accepted:
        return f"nothing is replaced. {plan.reason[:1].upper()}{plan.reason[1:]}."
    if result.turns is not None and result.ours in result.turns.thrown_out:
        return f"the converted network was thrown out: {result.turns.thrown_out[result.ours]}."
    differ = "" if result.error is None else f" Outputs differ by {error(result.error)} (relative)."
    if speedup is None:
        return f"{replaced}; the network was not timed ({plan.reason}).{differ}"
    best, ours = times[result.best_stock()], times[result.ours if result.turns else CONVERTED]
    return (
        f"the converted network is {word(speedup, result.noise)} the best stock form: {speedup.value:.2f}x "
        f"({interval(speedup)}), "
        f"{milliseconds(ours)} ms instead of {milliseconds(best)} ms a call, {replaced}.{differ}"
    )


def word(speedup: Measurement, noise: float) -> str:
    """The verdict of `measure.compare`, as words before "the best stock form"."""
    band = max(noise, NOISE_FLOOR)
    if speedup.low > 1 + band:
        return "faster than"
    return "slower than" if speedup.high < 1 - band else "not told apart from"


def interval(speedup: Measurement) -> str:
    """The 95 % interval in words."""
    if not math.isfinite(speedup.high):
        return "one round, so no interval"
    return f"95 % interval {speedup.low:.2f} to {speedup.high:.2f}"


def warnings(result: NetworkResult) -> list[str]:
    """What makes the times doubtful."""
    found = []
    if result.noise > NOISY:
        found.append(f"noisy: a network timed against itself differs by {result.noise:.0%}")
    if (result.foreign_cores or 0.0) > FOREIGN_CORES:
        found.append(f"other processes kept {result.foreign_cores:.1f} cores busy: take these times again")
    if not result.plan.measured:
        found.append("kernels were chosen by rule, without timing")
    thrown_out = result.turns.thrown_out if result.turns else {}
    found += [f"{name} was thrown out: {why}" for name, why in thrown_out.items()]
    return [f"{result.threads}: {text}." for text in found]
