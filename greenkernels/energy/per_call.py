"""`measure` and `compare`: joules of one call of a function, over several long windows."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..measure.clock import Clock
from ..measure.provenance import Measurement
from .backends import DeviceReading, Request, choose
from .hardware_table import DEFAULT
from .idle import idle_power
from .meter import EnergyMeter, above_idle

# Pauses between trials are drawn anew each time: a sensor that looks at regular times would see a periodic load always
# in the same phase (Yang et al., SC24, arXiv:2312.02741). They also let the chip cool down.
GAPS_S = (0.1, 0.6)


@dataclass(frozen=True)
class EnergyPerCall:
    """What `measure` found; a field that needs a counter is None without one.

    Attributes:
        energy_j: J a call with its kind: spread over the trials of a counter, or the interval of the model.
        time_s: s a call, over the trials.
        source: where ``energy_j`` comes from; None where there is none.
        reason: why there is none, or what else there is to say.
        calls: in all trials together.
        window_s: length of a trial.
        power_w: mean power over the trials of a counter.
        idle_power_w: what the machine drew before, while nothing was asked of it.
        idle_subtracted_j: J a call above idle.
        updates: changes of the slowest counter in the shortest trial.
        clock_hz: mean clock of the processor.
        temperature_c: at the ends of the trials, in degrees Celsius.
        throttled: why it ran below its clock, in any trial; empty where it did not.
        devices: what each device said, trial by trial.
    """

    energy_j: Measurement | None
    time_s: Measurement
    source: str | None
    reason: str
    calls: int
    window_s: Measurement
    power_w: Measurement | None = None
    idle_power_w: Measurement | None = None
    idle_subtracted_j: Measurement | None = None
    updates: int | None = None
    clock_hz: Measurement | None = None
    temperature_c: Measurement | None = None
    throttled: tuple[str, ...] | None = None
    devices: tuple[tuple[DeviceReading, ...], ...] = ()

    @property
    def edp_js(self) -> Measurement | None:
        """Energy times time of a call, in J s; of the kind of the energy."""
        if self.energy_j is None:
            return None
        e, t = self.energy_j, self.time_s
        return Measurement(e.value * t.value, "J s", e.kind, e.low * t.low, e.high * t.high)


def measure(
    fn: Callable[[], Any],
    min_seconds: float = 5,
    trials: int = 5,
    hardware: str = DEFAULT,
    source: str | None = None,
    clock: Clock | None = None,
) -> EnergyPerCall:
    """J of one call of ``fn``.

    A counter is read around each trial, after one window of idling, with pauses of random length between trials. The
    model counts one call, then times the trials without counting.

    Args:
        fn: takes no arguments and does the same work in each call.
        min_seconds: length of a trial; calls are repeated until it is full, and until a counter changed 20 times.
        trials: number of trials.
        hardware: table of the analytic model.
        source: name of a source; default: the first counter that can be read, else "model".
        clock: tests put a synthetic one here.

    Raises:
        ValueError: fewer than one trial, a trial that is not longer than 0 s, no such table or source.
        RuntimeError: the named source cannot be read here.
    """
    return compare({"": fn}, min_seconds, trials, hardware, source, clock)[""]


def compare(
    functions: Mapping[str, Callable[[], Any]],
    min_seconds: float = 5,
    trials: int = 5,
    hardware: str = DEFAULT,
    source: str | None = None,
    clock: Clock | None = None,
) -> dict[str, EnergyPerCall]:
    """As `measure` for several functions, whose trials alternate: a chip that warms up does so for all of them.

    Returns:
        Name -> what was found.
    """
    if trials < 1 or not min_seconds > 0:
        raise ValueError(f"measure: needs trials >= 1 and min_seconds > 0, got {trials} and {min_seconds}")
    clock = clock or Clock()
    if choose(source, clock).counts_work:
        return {name: _modelled(fn, min_seconds, trials, hardware, clock) for name, fn in functions.items()}
    idle_w = idle_power(min_seconds, source, clock)
    meter = EnergyMeter(hardware, source=source, clock=clock, watch=True)
    found: dict[str, list[_Trial]] = {name: [] for name in functions}
    for _ in range(trials):
        for name, fn in functions.items():
            clock.sleep(random.uniform(*GAPS_S))
            with meter:
                calls = _repeat(fn, max(min_seconds, meter.needed_s), clock)
            found[name].append(_Trial(calls, meter.time_s, meter.energy_j, meter.reason, meter.devices))
    source = choose(source, clock).name
    return {name: _from_windows(source, several, idle_w) for name, several in found.items()}


@dataclass(frozen=True)
class _Trial:
    calls: int
    time_s: Measurement
    energy_j: Measurement | None
    reason: str
    devices: tuple[DeviceReading, ...]


def _repeat(fn: Callable[[], Any], seconds: float, clock: Clock) -> int:
    """Calls until the time is over; how many."""
    begin, calls = clock.now(), 0
    while True:
        fn()
        calls += 1
        if clock.now() - begin >= seconds:
            return calls


def _modelled(
    fn: Callable[[], Any], min_seconds: float, trials: int, hardware: str, clock: Clock
) -> EnergyPerCall:
    """One counted call, then trials that are only timed: counting takes time of its own."""
    window = choose("model", clock).window(Request(hardware, clock=clock))
    window.start()
    try:
        fn()
    finally:
        window.stop()
    calls, lengths = [], []
    for _ in range(trials):
        begin = clock.now()
        calls.append(_repeat(fn, min_seconds, clock))
        lengths.append(clock.now() - begin)
    time_s = Measurement.from_repeats([s / n for s, n in zip(lengths, calls, strict=True)], "s")
    reading = window.reading(time_s)
    name = None if reading.energy_j is None else "model"
    lengths_s = Measurement.from_repeats(lengths, "s")
    return EnergyPerCall(reading.energy_j, time_s, name, reading.reason, sum(calls), lengths_s)


def _from_windows(source: str, trials: list[_Trial], idle_w: Measurement | None) -> EnergyPerCall:
    """A counter's energy over each window, shared out over its calls; unknown where one window has none."""
    time_s = Measurement.from_repeats([t.time_s.value / t.calls for t in trials], "s")
    facts = {
        "reason": "; ".join(dict.fromkeys(t.reason for t in trials if t.reason)),
        "calls": sum(t.calls for t in trials),
        "window_s": Measurement.from_repeats([t.time_s.value for t in trials], "s"),
        "idle_power_w": idle_w,
        **_told(trials),
    }
    if any(t.energy_j is None for t in trials):
        return EnergyPerCall(None, time_s, None, **facts)
    energy_j = Measurement.from_repeats([t.energy_j.value / t.calls for t in trials], "J")
    power_w = Measurement.from_repeats([t.energy_j.value / t.time_s.value for t in trials], "W")
    above = None if idle_w is None else above_idle(energy_j, time_s.value, idle_w)
    return EnergyPerCall(energy_j, time_s, source, power_w=power_w, idle_subtracted_j=above, **facts)


def _told(trials: list[_Trial]) -> dict[str, Any]:
    """Updates, clocks, temperatures and throttling over all trials and devices."""
    devices = [device for t in trials for device in t.devices]
    updates = [device.updates for device in devices if device.updates is not None]
    clocks = [device.clock_hz.value for device in devices if device.clock_hz is not None]
    warmth = [device.temperature_c for device in devices if device.temperature_c is not None]
    throttled = [device.throttled for device in devices if device.throttled is not None]
    return {
        "updates": min(updates, default=None),
        "clock_hz": Measurement.from_repeats(clocks, "Hz") if clocks else None,
        "temperature_c": Measurement.from_repeats(warmth, "degree C") if warmth else None,
        "throttled": tuple(dict.fromkeys(w for words in throttled for w in words)) if throttled else None,
        "devices": tuple(t.devices for t in trials),
    }
