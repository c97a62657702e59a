"""What a counter is: a device whose joules can be read, and what else it tells about itself."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from ..measure.clock import Clock

POLL_S = 0.0005  # between two looks at a register, to find out how often it changes
PATIENCE_S = (
    1.0  # a register that does not change for so long stands still; NVML's changes every 0.1 s or sooner
)
CHANGES = 4  # whose gaps are averaged


class UnreadableError(Exception):
    """A device cannot be read; the text says why and, where something can be done, what."""


@dataclass(frozen=True)
class State:
    """What a device tells at one moment; None where it tells nothing.

    Attributes:
        power_w: what it draws now.
        clock_hz: of its processors.
        temperature_c: in degrees Celsius.
        power_limit_w: at which it slows down.
        throttled: why it runs below its clock; empty where it does not.
        throttle_count: how often it was too hot since it was switched on.
    """

    power_w: float | None = None
    clock_hz: float | None = None
    temperature_c: float | None = None
    power_limit_w: float | None = None
    throttled: tuple[str, ...] | None = None
    throttle_count: int | None = None


@dataclass(frozen=True)
class Device:
    """A register of joules.

    Attributes:
        name: of the device, for people.
        joules: reads the register, in J since some moment of the past. Raises `UnreadableError`.
        state: reads the rest. Raises `UnreadableError`.
        update_s: time between two changes of the register.
        wraps_at_j: where the register begins again at 0; None if it never does.
        most_w: more than a device of this kind can draw, to tell one wrap from two.
        sample_s: how often it has to be read meanwhile; None where it counts by itself.
        tolerance: error of the sensor, as a share.
    """

    name: str
    joules: Callable[[], float]
    state: Callable[[], State] = State
    update_s: float = 0.0
    wraps_at_j: float | None = None
    most_w: float = 1000.0
    sample_s: float | None = None
    tolerance: float = 0.0


def update_period(joules: Callable[[], float], clock: Clock) -> float:
    """Mean time between two changes of a register, watched until it has changed a few times.

    Raises:
        UnreadableError: it cannot be read, or stands still: such a one would report 0 J for anything.
    """
    last, begin, changes = joules(), clock.now(), []
    while len(changes) <= CHANGES:
        clock.sleep(POLL_S)
        value, now = joules(), clock.now()
        if value != last:
            last, begin = value, now
            changes.append(now)
        elif now - begin > PATIENCE_S:
            raise UnreadableError(f"its counter of energy stood still for {PATIENCE_S:g} s")
    return statistics.fmean(after - before for before, after in itertools.pairwise(changes))


class IntegratedPower:
    """A register made of power: the trapezoid rule over its samples. It has to be read again and again."""

    def __init__(self, watts: Callable[[], float], clock: Clock) -> None:
        self._watts, self._clock = watts, clock
        self._sum, self._last = 0.0, None

    def joules(self) -> float:
        """J since the first call, which gives 0."""
        now, power = self._clock.now(), self._watts()
        if self._last is not None:
            begin, before = self._last
            self._sum += (now - begin) * (power + before) / 2
        self._last = now, power
        return self._sum
