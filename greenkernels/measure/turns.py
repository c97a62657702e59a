"""Contenders in turns: the one way in which this package takes times.

In every round each contender gets one burst: a pause, untimed calls on inputs kept for that, then timed calls on
inputs in rotation. Before each round all inputs change in place, so that a contender which remembers results by
address or version gains nothing; outputs of timed calls are checked, and who is wrong is thrown out, not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from .clock import Clock, ForeignLoad
from .compare import NOISE_FLOOR, Comparison, compare_rounds, flatten
from .contender import Contender
from .provenance import Measurement
from .rotation import Arguments, change_in_place, clone, relative_error, variations

# Outputs are checked every so many rounds: a reference in float64 costs ten calls. Prime to the 3 calls of a burst,
# so that another input is checked each time.
CHECK_EVERY = 4
NOISY = 0.05  # A/A noise above which a row is marked
FOREIGN_CORES = 0.3  # cores kept busy by others above which times are taken again
TWIN = " (again)"  # suffix of the second copy of a contender, the A/A comparison


@dataclass(frozen=True)
class Schedule:
    """How long to measure. The defaults suit calls of 0.1 to 100 ms."""

    rounds: int = 9
    min_rounds: int = 3  # taken even when the time is up
    timed: int = 3  # calls in a burst that are timed, one an input in rotation
    untimed: int = 2  # calls in a burst before that, at least one: the thread pool wakes up, caches fill
    pause_s: float = (
        0.005  # lets the thread pool of the contender before go to sleep (seen: 4x on a small product)
    )
    budget_s: float = math.inf  # ends the run, once what looks faster is known to be
    min_window_s: float = (
        200e-6  # a shorter call is repeated inside one timing: 1000x the resolution of the clock
    )
    drop_beyond: float = (
        math.inf
    )  # give no more turns to who is this many times slower than the best after two rounds


@dataclass
class Turns:
    """What came out: seconds by contender and round, who was thrown out and why.

    Attributes:
        samples: name -> [rounds][calls] seconds.
        errors: name -> largest relative error of its checked outputs.
        thrown_out: name -> reason.
        foreign_cores: mean number of cores kept busy by other processes, None if unknown.
        threads: torch.get_num_threads() during the run.
    """

    samples: dict[str, list[list[float]]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    thrown_out: dict[str, str] = field(default_factory=dict)
    foreign_cores: float | None = None
    threads: int = 0

    def ranked(self) -> list[str]:
        """Contenders that stayed in, fastest first; the A/A twin left out."""
        names = [
            n for n in self.samples if n not in self.thrown_out and not n.endswith(TWIN) and self.samples[n]
        ]
        return sorted(names, key=lambda name: self.time(name).value)

    def time(self, name: str) -> Measurement:
        return flatten(self.samples[name])

    @property
    def disturbed(self) -> bool:
        """True if the times should be taken again: other processes were busy, or A/A differs too much."""
        return self.noise() > NOISY or (self.foreign_cores or 0.0) > FOREIGN_CORES

    def noise(self) -> float:
        """A/A noise: relative difference of a contender to its twin; 0 where no twin ran."""
        for name in self.samples:
            if name.endswith(TWIN):
                ratio = compare_rounds(self.samples[name.removesuffix(TWIN)], self.samples[name]).ratio
                return abs(ratio.value - 1)
        return 0.0

    def compare(self, baseline: str, contender: str) -> Comparison:
        return compare_rounds(self.samples[baseline], self.samples[contender], self.noise())


@dataclass
class _Run:
    """The state of one run of turns; see `take_turns`."""

    contenders: list[Contender]
    inputs: list[Arguments]
    schedule: Schedule
    clock: Clock
    reference: Callable[..., Any] | None
    tolerance: float
    result: Turns
    inner: dict[str, int] = field(default_factory=dict)  # calls inside one timing, by contender
    expected: dict[int, Any] = field(
        default_factory=dict
    )  # this round's reference output, by number of input

    def all_rounds(self, progress: Callable[[float], None] | None) -> None:
        """Rounds until all are taken or the time is up."""
        schedule, begin = self.schedule, self.clock.now()
        for number in range(schedule.rounds):
            self.round(number)
            if number < 2 and math.isfinite(schedule.drop_beyond):  # one round says less than two
                self.drop_slow(schedule.drop_beyond ** (2 - number))
            spent = self.clock.now() - begin
            if progress:
                progress(min(1.0, max((number + 1) / schedule.rounds, spent / schedule.budget_s)))
            if spent > schedule.budget_s and number + 1 >= schedule.min_rounds and self.settled():
                break

    def round(self, number: int) -> None:
        for arguments in self.inputs:
            change_in_place(arguments)
        self.expected.clear()
        first = number % len(self.contenders)  # nobody profits from always coming after the same neighbour
        for contender in self.contenders[first:] + self.contenders[:first]:
            if contender.name in self.result.thrown_out:
                continue
            try:
                self.burst(contender, number)
            except Exception as error:  # a contender may fail in any way; the others go on
                reason = (str(error).splitlines() or [""])[0]
                self.result.thrown_out[contender.name] = f"raised {type(error).__name__}: {reason}"

    def burst(self, contender: Contender, number: int) -> None:
        schedule, timer = self.schedule, contender.timer or self.timed_here(contender)
        prepare = contender.prepare or (lambda arguments: arguments)
        inputs = [prepare(arguments) for arguments in self.inputs]
        timed, warm_up = inputs[: schedule.timed], inputs[schedule.timed :]
        self.clock.sleep(schedule.pause_s)
        once = 0.0
        for arguments in warm_up:
            once, _ = timer(arguments, 1)
        inner = self.inner.setdefault(
            contender.name, max(1, math.ceil(schedule.min_window_s / max(once, 1e-7)))
        )
        seconds, output, which = [], None, 0
        for i in range(schedule.timed):
            which = (number + i) % len(timed)
            taken, output = timer(timed[which], inner)
            seconds.append(taken)
        self.result.samples[contender.name].append(seconds)
        if number % CHECK_EVERY == 0:
            self.check(contender, which, clone(output))

    def timed_here(self, contender: Contender) -> Callable[[Arguments, int], tuple[float, Any]]:
        call, clock = contender.call, self.clock

        def timer(arguments: Arguments, inner: int) -> tuple[float, Any]:
            output = None
            begin = clock.now()
            for _ in range(inner):
                output = call(*arguments)
            return (clock.now() - begin) / inner, output

        return timer

    def check(self, contender: Contender, which: int, output: Any) -> None:
        if self.reference is None:
            return
        name, allowed = contender.name, self.tolerance if contender.tolerance is None else contender.tolerance
        if which not in self.expected:
            self.expected[which] = self.reference(*self.inputs[which])
        error = relative_error(output, self.expected[which])
        self.result.errors[name] = max(error, self.result.errors.get(name, 0.0))
        if error > allowed:
            self.result.thrown_out[name] = f"relative error {error:.1e}, allowed {allowed:.1e}"

    def drop_slow(self, factor: float) -> None:
        """Whoever is that far behind gets no more turns; its times stay."""
        # The fastest call so far, not the median: load by others must not throw out a good contender.
        fastest = {
            c.name: self.fastest(c.name) for c in self.contenders if c.name not in self.result.thrown_out
        }
        limit = min(fastest.values(), default=0.0) * factor
        self.contenders = [c for c in self.contenders if c.keep or fastest.get(c.name, math.inf) <= limit]

    def settled(self) -> bool:
        """False while a contender looks faster than the best baseline but disturbed turns leave it open."""
        baselines = [c.name for c in self.contenders if c.keep and not c.name.endswith(TWIN)]
        if not baselines:
            return True
        best = min(baselines, key=lambda name: self.result.time(name).value)
        rivals = [c.name for c in self.contenders if not c.keep and c.name not in self.result.thrown_out]
        comparisons = [self.result.compare(best, name) for name in rivals]
        return not any(c.verdict == "no difference" and c.ratio.value > 1 + NOISE_FLOOR for c in comparisons)

    def fastest(self, name: str) -> float:
        return min((s for calls in self.result.samples[name] for s in calls), default=math.inf)


def take_turns(
    contenders: Sequence[Contender],
    arguments: Arguments,
    schedule: Schedule = Schedule(),
    *,
    reference: Callable[..., Any] | None = None,
    tolerance: float = math.inf,
    twin: str | None = None,
    clock: Clock | None = None,
    progress: Callable[[float], None] | None = None,
) -> Turns:
    """Time all contenders on the same inputs, in turns, under inference mode.

    Args:
        contenders: names must differ.
        arguments: one input; the run works on variations of copies of it and leaves it alone.
        schedule: rounds, burst and limits.
        reference: gives the right output for the same arguments (in float64 where that is affordable).
        tolerance: relative error beyond which a contender is thrown out.
        twin: name of the contender that runs twice, so that `Turns.noise` knows what no difference looks like.
        clock: where seconds come from.
        progress: called with the share done, 0 to 1.
    """
    entries = list(contenders)
    for contender in contenders:
        if contender.name == twin:
            entries.append(replace(contender, name=twin + TWIN, keep=True))
    if len({c.name for c in entries}) != len(entries):
        raise ValueError(f"take_turns: names of contenders must differ, got {[c.name for c in entries]}")
    clock = clock or Clock()
    result = Turns(samples={c.name: [] for c in entries}, threads=torch.get_num_threads())
    inputs = variations(arguments, schedule.timed + schedule.untimed)
    load = ForeignLoad()
    with torch.inference_mode():
        _Run(entries, inputs, schedule, clock, reference, tolerance, result).all_rounds(progress)
    result.foreign_cores = load.cores()
    return result
