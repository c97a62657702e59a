"""`measure`: joules of one call of a function, over several long windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..measure.clock import Clock
from ..measure.provenance import Kind, Measurement
from .backends import Backend, Reading, Request, choose
from .hardware_table import DEFAULT


@dataclass(frozen=True)
class EnergyPerCall:
    """What `measure` found; a field that needs a counter is None without one.

    Attributes:
        energy_j: J a call with its kind: spread over the trials of a counter, or the interval of the model.
        time_s: s a call, over the trials.
        source: where ``energy_j`` comes from; None where there is none.
        reason: why there is none, or what else there is to say.
        calls: in all trials together.
        power_w: mean power over the trials of a counter.
        idle_subtracted_j: J a call above idle.
        clock_hz: mean clock of the processor.
        temperature_c: at the end, in degrees Celsius.
    """

    energy_j: Measurement | None
    time_s: Measurement
    source: str | None
    reason: str
    calls: int
    power_w: Measurement | None = None
    idle_subtracted_j: Measurement | None = None
    clock_hz: Measurement | None = None
    temperature_c: Measurement | None = None


@dataclass(frozen=True)
class _Trial:
    seconds: float
    calls: int
    reading: Reading | None  # of a counter; None where the trial was only timed


def measure(
    fn: Callable[[], Any],
    min_seconds: float = 5,
    trials: int = 5,
    hardware: str = DEFAULT,
    source: str | None = None,
    clock: Clock | None = None,
) -> EnergyPerCall:
    """J of one call of ``fn``.

    A counter is read around each trial. The model counts one call, then times the trials without counting.

    Args:
        fn: takes no arguments and does the same work in each call.
        min_seconds: length of a trial; calls are repeated until it is full.
        trials: number of trials.
        hardware: table of the analytic model.
        source: name of a source; default: the first counter that can be read, else "model".
        clock: tests put a synthetic one here.

    Raises:
        ValueError: fewer than one trial, a trial that is not longer than 0 s, no such table or source.
        RuntimeError: the named source cannot be read here.
    """
    if trials < 1 or not min_seconds > 0:
        raise ValueError(f"measure: needs trials >= 1 and min_seconds > 0, got {trials} and {min_seconds}")
    backend, request, clock = choose(source), Request(hardware), clock or Clock()
    if not backend.counts_work:
        return _from_windows(
            backend, [_trial(fn, min_seconds, clock, backend, request) for _ in range(trials)]
        )
    window = backend.window(request)
    window.start()
    try:
        fn()
    finally:
        window.stop()
    timed = [_trial(fn, min_seconds, clock) for _ in range(trials)]
    time_s = _time(timed)
    reading = window.reading(time_s)
    return EnergyPerCall(
        reading.energy_j, time_s, _source(backend, reading), reading.reason, sum(t.calls for t in timed)
    )


def _from_windows(backend: Backend, trials: list[_Trial]) -> EnergyPerCall:
    """A counter's energy over each window, shared out over its calls; unknown where one window has none."""
    calls, time_s = sum(trial.calls for trial in trials), _time(trials)
    reasons = "; ".join(dict.fromkeys(trial.reading.reason for trial in trials if trial.reading.reason))
    if any(trial.reading.energy_j is None for trial in trials):
        return EnergyPerCall(None, time_s, None, reasons, calls)
    windows = [trial.reading.energy_j.value for trial in trials]
    kind = trials[0].reading.energy_j.kind
    energy_j, power_w = (
        Measurement.from_repeats([j / share(t) for j, t in zip(windows, trials, strict=True)], unit, kind)
        for share, unit in ((lambda t: t.calls, "J"), (lambda t: t.seconds, "W"))
    )
    return EnergyPerCall(energy_j, time_s, backend.name, reasons, calls, power_w)


def _source(backend: Backend, reading: Reading) -> str | None:
    return None if reading.energy_j is None else backend.name


def _time(trials: list[_Trial]) -> Measurement:
    return Measurement.from_repeats([t.seconds / t.calls for t in trials], "s", Kind.MEASURED)


def _trial(
    fn: Callable[[], Any],
    min_seconds: float,
    clock: Clock,
    backend: Backend | None = None,
    request: Request | None = None,
) -> _Trial:
    """Calls until the window is full; metered if a counter is given."""
    window = backend.window(request) if backend is not None else None
    calls = 0
    if window is not None:
        window.start()
    begin = clock.now()
    try:
        while True:
            fn()
            calls += 1
            seconds = clock.now() - begin
            if seconds >= min_seconds:
                break
    finally:
        if window is not None:
            window.stop()
    time_s = Measurement(seconds, "s", Kind.MEASURED)
    return _Trial(seconds, calls, None if window is None else window.reading(time_s))
