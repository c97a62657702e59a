"""The rounds of one run of turns: who comes next, what a burst is, and when enough is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .checks import CHECK_EVERY, Checks, NotPlainError, unchanged
from .clock import Clock
from .compare import NOISE_FLOOR
from .contender import Contender
from .rotation import tensors_in
from .slots import ColdSlots, Inputs, Slot, WarmSlots
from .throttling import Throttling

if TYPE_CHECKING:
    from .turns import Schedule, Turns

TWIN = " (again)"  # suffix of the second copy of a contender, the A/A comparison
EXTRA = 1 << 20  # numbers of inputs from here on are for calls that are repeated within one timing
POOL_BYTES = (
    64 << 20
)  # of inputs that short calls are repeated on; fewer calls within a timing where that is too little


@dataclass
class Rounds:
    """The state of one run; see `turns.take_turns`."""

    contenders: list[Contender]
    inputs: Inputs
    schedule: Schedule
    clock: Clock
    checks: Checks | None
    result: Turns
    inner: dict[str, int] = field(default_factory=dict)  # calls within one timing, by contender
    random: random.Random = field(default_factory=lambda: random.Random(0))
    others: Tensor | None = None  # what stands for the other layers of a network

    def all(self, progress: Callable[[float], None] | None) -> None:
        """Rounds until all are taken or the time is up."""
        schedule = self.schedule
        self.slots = self.cold_slots() if schedule.cold_bytes else WarmSlots(self.inputs)
        self.others = torch.zeros(schedule.between_bytes // 4) if schedule.between_bytes else None
        begin, throttling = self.clock.now(), Throttling()
        for number in range(2 * schedule.rounds):  # those in which cores were throttled are taken again
            before = {name: len(rounds) for name, rounds in self.result.samples.items()}
            self.round(number)
            if throttling.seen() and number + 1 - self.result.throttled_rounds > schedule.min_rounds:
                self.drop_round(before)
                continue
            if number < 2 and math.isfinite(schedule.drop_beyond):  # one round says less than two
                self.drop_slow(schedule.drop_beyond ** (2 - number))
            taken = number + 1 - self.result.throttled_rounds
            spent = self.clock.now() - begin
            if progress:
                progress(min(1.0, max(taken / schedule.rounds, spent / schedule.budget_s)))
            enough = spent > schedule.budget_s and taken >= schedule.min_rounds and self.settled()
            if taken == schedule.rounds or enough:
                break

    def drop_round(self, before: dict[str, int]) -> None:
        """Leaves out the times of the round just taken: cores were slowed down in it."""
        for name, rounds in self.result.samples.items():
            del rounds[before[name] :]
        self.result.throttled_rounds += 1

    def cold_slots(self) -> ColdSlots:
        for contender in self.contenders:
            if contender.fresh is None:
                self.throw_out(contender, "cannot run cold: it has no copies to rotate over")
        able = self.remaining()
        made = ColdSlots(
            self.inputs, able, self.schedule.untimed + self.schedule.timed, self.schedule.cold_bytes
        )
        self.result.rotated_bytes = made.bytes
        return made

    def round(self, number: int) -> None:
        self.inputs.new_round()
        if self.checks:
            self.checks.new_round()
        first = number % len(self.contenders)  # nobody profits from always coming after the same neighbour
        for contender in self.contenders[first:] + self.contenders[:first]:
            if contender.name in self.result.thrown_out:
                continue
            try:
                self.burst(contender, number)
            except NotPlainError as error:
                self.throw_out(contender, str(error))
            except Exception as error:  # a contender may fail in any way; the others go on
                reason = (str(error).splitlines() or [""])[0]
                self.throw_out(contender, f"raised {type(error).__name__}: {reason}")
        if self.checks:
            self.checks.compare_samples(self.remaining(), self.inputs)
            self.result.errors.update(self.checks.errors)
            for name, reason in self.checks.wrong.items():
                self.result.thrown_out.setdefault(name, reason)

    def burst(self, contender: Contender, number: int) -> None:
        """A pause, untimed calls, timed calls; then the outputs are looked at."""
        schedule, name = self.schedule, contender.name
        length, known = schedule.untimed + schedule.timed, self.inner.get(name, 1)
        burst = range(number * length, (number + 1) * length)
        repeats = 0 if contender.timer else (known - 1) * schedule.timed
        extra = [EXTRA + (number << 14) + i for i in range(repeats)]
        slots = self.slots.take(contender, [*extra, *burst])
        repeated, untimed = slots[: len(extra)], slots[len(extra) : len(extra) + schedule.untimed]
        self.clock.sleep(schedule.pause_s)
        once = 0.0
        for slot in untimed:
            once, _ = self.timing(slot, [], 1)
        if name not in self.inner:
            self.inner[name] = self.calls_in_a_timing(once)
            if self.inner[name] > 1:
                return self.burst(contender, number)
        seconds, output = [], None
        for i, slot in enumerate(slots[len(extra) + schedule.untimed :]):
            others = repeated[i * (known - 1) : (i + 1) * (known - 1)]
            taken, output = self.timing(slot, others, known)
            seconds.append(taken)
            if self.checks:
                self.checks.sample(name, slot.content, output)
        self.result.samples[name].append(seconds)
        self.look_at(contender, slots[-1], output, number)
        self.slots.give_back(contender, slots)
        return None

    def calls_in_a_timing(self, once: float) -> int:
        """So many that a clock of coarse steps can time them, each on an input of its own."""
        if self.schedule.cold_bytes or self.schedule.between_bytes:
            return 1
        wanted = math.ceil(self.schedule.min_window_s / max(once, 1e-7))
        room = POOL_BYTES // max(1, self.inputs.bytes * self.schedule.timed)
        return max(1, min(wanted, room))

    def timing(self, slot: Slot, others: list[Slot], calls: int) -> tuple[float, Any]:
        """Seconds a call, and the output of the call on `slot`: the last one or, as often, any of them."""
        if self.others is not None:
            self.run_others(slot)
        if slot.contender.timer:
            return slot.contender.timer(slot.arguments, calls)
        picked = self.random.choice([len(others), self.random.randint(0, len(others))])
        order = [*others[:picked], slot, *others[picked:]]
        jobs = [(each.contender.call, each.arguments) for each in order]
        before, after, output = jobs[: picked + 1], jobs[picked + 1 :], None
        begin = self.clock.now()
        for call, arguments in before:
            output = call(*arguments)
        for call, arguments in after:
            call(*arguments)
        return (self.clock.now() - begin) / calls, output

    def run_others(self, slot: Slot) -> None:
        """Read what other layers would read, on all threads; then the inputs, which the layer before just wrote."""
        self.others.sum()
        for tensor in tensors_in(slot.arguments):
            tensor.sum()

    def look_at(self, contender: Contender, slot: Slot, output: Any, number: int) -> None:
        reason = contender.proof() if contender.proof else None
        if reason is None and self.checks and number % CHECK_EVERY == 0:
            if not unchanged(slot.arguments, self.inputs.prepared(contender, slot.content)):
                reason = "changed its inputs"
            self.checks.in_full(contender, slot.content, self.inputs(slot.content), output)
        if reason is not None:
            self.throw_out(contender, reason)

    def throw_out(self, contender: Contender, reason: str) -> None:
        self.result.thrown_out[contender.name] = reason

    def remaining(self) -> list[Contender]:
        return [c for c in self.contenders if c.name not in self.result.thrown_out]

    def drop_slow(self, factor: float) -> None:
        """Whoever is that far behind gets no more turns; its times stay."""
        # The fastest call so far, not the median: load by others must not throw out a good contender.
        fastest = {c.name: self.fastest(c.name) for c in self.remaining()}
        limit = min(fastest.values(), default=0.0) * factor
        self.contenders = [c for c in self.contenders if c.keep or fastest.get(c.name, math.inf) <= limit]

    def settled(self) -> bool:
        """False while a contender looks faster than the best baseline but disturbed turns leave it open."""
        alive = self.remaining()
        baselines = [c.name for c in alive if c.keep and not c.name.endswith(TWIN)]
        if not baselines:
            return True
        best = min(baselines, key=lambda name: self.result.time(name).value)
        comparisons = [self.result.compare(best, c.name) for c in alive if not c.keep]
        return not any(c.verdict == "no difference" and c.ratio.value > 1 + NOISE_FLOOR for c in comparisons)

    def fastest(self, name: str) -> float:
        return min((s for calls in self.result.samples[name] for s in calls), default=math.inf)
