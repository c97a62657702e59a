"""Contenders in turns: the one way in which this package takes times.

In every round each contender gets one burst, see `rounds`: a pause, untimed calls, then timed ones, each on an input
that was never seen before. Outputs of timed calls are checked, see `checks`: who is wrong is thrown out, not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from .checks import Checks
from .clock import Clock, ForeignLoad
from .compare import Comparison, compare_rounds, flatten
from .contender import Contender
from .provenance import Measurement
from .rotation import Arguments
from .rounds import TWIN, Rounds
from .slots import Inputs

NOISY = 0.05  # A/A noise above which a row is marked
FOREIGN_CORES = 0.3  # cores kept busy by others above which times are taken again


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
    cold_bytes: int = (
        0  # touched between two uses of the same weights and inputs; 0: warm, both are used again
    )
    between_bytes: int = (
        0  # read before each timed call, and then its inputs, as by the other layers of a network
    )


@dataclass
class Turns:
    """What came out: seconds by contender and round, who was thrown out and why.

    Attributes:
        samples: name -> ``[rounds][calls]`` seconds.
        errors: name -> largest relative error of its checked outputs.
        thrown_out: name -> reason.
        foreign_cores: mean number of cores kept busy by other processes, None if unknown.
        threads: torch.get_num_threads() during the run.
        rotated_bytes: touched between two uses of the same weights and inputs; 0 in a warm run.
        throttled_rounds: rounds whose times were dropped, since cores were throttled in them.
        slowdown: part of the machine's peak that was lost from before the run to after it, 0 where nobody looked.
        ceilings: the machine's peaks on both sides of the run, empty where nobody looked.
    """

    samples: dict[str, list[list[float]]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    thrown_out: dict[str, str] = field(default_factory=dict)
    foreign_cores: float | None = None
    threads: int = 0
    rotated_bytes: int = 0
    throttled_rounds: int = 0
    slowdown: float = 0.0
    ceilings: dict[str, Measurement] = field(default_factory=dict)

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
            if name.endswith(TWIN) and self.samples[name]:
                ratio = compare_rounds(self.samples[name.removesuffix(TWIN)], self.samples[name]).ratio
                return abs(ratio.value - 1)
        return 0.0

    def compare(self, baseline: str, contender: str) -> Comparison:
        return compare_rounds(self.samples[baseline], self.samples[contender], self.noise())


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

    Whoever raises, is wrong, changes its inputs or cannot prove what it claims is in `Turns.thrown_out`, with a reason.

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
    result = Turns(samples={c.name: [] for c in entries}, threads=torch.get_num_threads())
    load = ForeignLoad()
    with torch.inference_mode():
        checks = Checks(reference, tolerance) if reference else None
        Rounds(entries, Inputs(arguments), schedule, clock or Clock(), checks, result).all(progress)
    result.foreign_cores = load.cores()
    return result
