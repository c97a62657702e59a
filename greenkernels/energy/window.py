"""A window over counters: read at both ends, watched meanwhile where that is asked for or needed.

    E = (E_last - E_first) + P * (T - (t_last - t_first)),  P = (E_last - E_first) / (t_last - t_first)

First and last are changes of the register that were seen. Unwatched they are the two readings, and the energy is known
to one update of the register only, which its interval says.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ..measure.clock import Clock
from ..measure.provenance import Kind, Measurement
from .backends import DeviceReading, Reading
from .devices import Device, State, UnreadableError

LEAST_UPDATES = 20  # fewer changes of a register in a window say too little
WATCH_S = 0.01  # shortest pause of a watch, so that it takes no time from the work
STATE_S = 0.5  # between two looks at clocks and temperature
DISAGREEMENT = 0.1  # share by which power and counter may differ unmentioned


class CounterWindow:
    """One window over several devices, whose joules add up; None where one of them is lost."""

    def __init__(self, devices: Sequence[Device], clock: Clock, watch: bool) -> None:
        self._clock = clock
        self._devices = devices
        pauses = [max(WATCH_S, device.update_s / 10) for device in devices] if watch else []
        pauses += [device.sample_s for device in devices if device.sample_s is not None]
        self._pause = min(pauses, default=None)
        self._watch = watch
        self._end_watch = None

    @property
    def needed_s(self) -> float:
        """Shortest window that a reading can be had from."""
        return max(map(_needed_s, self._devices))

    def start(self) -> None:
        self._tracks = [_Track(device, self._pause, self._watch) for device in self._devices]
        for track in self._tracks:
            track.look(self._clock.now())
        for track in self._tracks:
            track.read(self._clock.now())
        if self._pause is not None:
            self._end_watch = self._clock.every(self._pause, self._tick)

    def stop(self) -> None:
        if self._end_watch is not None:
            self._end_watch()
            self._end_watch = None
        now = self._clock.now()
        for track in self._tracks:
            track.read(now)
        for track in self._tracks:
            track.look(now, at_end=True)  # after all registers: it takes its time

    def _tick(self) -> None:
        now = self._clock.now()
        for track in self._tracks:
            track.read(now)
            track.look(now)

    def reading(self, time_s: Measurement) -> Reading:
        found = tuple(track.result(time_s.value) for track in self._tracks)
        lost = [f"{one.name}: {one.reason}" for one in found if one.energy_j is None]
        if lost:
            return Reading(None, "; ".join(lost), found)
        energy_j = found[0].energy_j
        for one in found[1:]:
            energy_j = energy_j + one.energy_j
        return Reading(energy_j, "; ".join(f"{one.name}: {one.reason}" for one in found if one.reason), found)


def _needed_s(device: Device) -> float:
    """Time for enough updates, the two that the ends of a window cut off not counted."""
    return (LEAST_UPDATES + 2) * device.update_s


class _Track:
    """What one device said in a window."""

    def __init__(self, device: Device, pause: float | None, watch: bool) -> None:
        self._device, self._pause, self._watch = device, pause, watch
        self._lost = ""
        self._last: float | None = None  # J in the register
        self._sum = 0.0  # J since the first reading, wraps undone
        self._changes: list[tuple[float, float]] = []  # (s, J since the first reading) when it had changed
        self._states: list[tuple[float, State]] = []

    def read(self, now: float) -> None:
        """Reads the register. A device that is lost stays lost: what it counts later leaves a gap."""
        if self._lost:
            return
        try:
            value = self._device.joules()
        except UnreadableError as problem:
            self._lost = str(problem)
            return
        step = 0.0 if self._last is None else value - self._last
        if step < 0 and self._device.wraps_at_j is not None:
            step += self._device.wraps_at_j
        if step < 0:
            self._lost = "its counter went back: it was reset"
        elif step > 0:
            self._sum += step
            self._changes.append((now, self._sum))
        self._last = value

    def look(self, now: float, at_end: bool = False) -> None:
        """Reads the rest in a watch, now and then: clocks and temperatures take longer to read than a register."""
        due = at_end or not self._states or now - self._states[-1][0] >= STATE_S
        if self._lost or not (self._watch and due):
            return
        try:
            self._states.append((now, self._device.state()))
        except UnreadableError as problem:
            self._lost = str(problem)

    def result(self, time_s: float) -> DeviceReading:
        device = self._device
        updates = self._updates(time_s)
        reason = self._lost or self._doubt(time_s, updates)
        facts = self._facts() | {"name": device.name, "updates": updates, "update_s": device.update_s}
        if reason:
            return DeviceReading(energy_j=None, reason=reason, **facts)
        energy, blur_s = self._sum, device.update_s
        if self._pause is not None and device.sample_s is None and self._pause < device.update_s:
            (begin, first), (end, last) = self._changes[0], self._changes[-1]
            energy, blur_s = (last - first) / (end - begin) * time_s, self._pause
        error = energy * (blur_s / time_s + device.tolerance)
        energy_j = Measurement(energy, "J", Kind.MEASURED, energy - error, energy + error)
        return DeviceReading(energy_j=energy_j, reason=self._disagreement(energy / time_s), **facts)

    def _updates(self, time_s: float) -> int:
        """Changes of the register: those seen by a watch, but never more than there can have been."""
        most = int(time_s / self._device.update_s) if self._device.update_s else len(self._changes)
        return most if self._pause is None else min(most, len(self._changes))

    def _doubt(self, time_s: float, updates: int) -> str:
        """Why the window says nothing, or ""."""
        device = self._device
        if not self._sum:
            return f"its counter stood still for {time_s:.3g} s"
        if updates < LEAST_UPDATES:
            needed_s = _needed_s(device)
            return f"its counter changed {updates} times in {time_s:.3g} s: windows of {needed_s:.3g} s are needed"
        if device.wraps_at_j is not None and (self._pause or time_s) * device.most_w > device.wraps_at_j:
            return f"its counter may have begun again more than once in {time_s:.3g} s: watch it meanwhile"
        if self._sum > time_s * device.most_w:
            return f"{self._sum / time_s:.0f} W is more than it can draw: its counter was reset"
        return ""

    def _facts(self) -> dict[str, object]:
        states = [state for _, state in self._states]
        clocks = [state.clock_hz for state in states if state.clock_hz is not None]
        counts = [state.throttle_count for state in states if state.throttle_count is not None]
        named = [state.throttled for state in states if state.throttled is not None]
        throttled = tuple(dict.fromkeys(word for words in named for word in words)) if named else None
        if counts:
            throttled = (*(throttled or ()), *(["too hot"] if counts[-1] > counts[0] else []))
        return {
            "clock_hz": Measurement.from_repeats(clocks, "Hz") if clocks else None,
            "temperature_c": next(
                (s.temperature_c for s in reversed(states) if s.temperature_c is not None), None
            ),
            "power_limit_w": states[-1].power_limit_w if states else None,
            "throttled": throttled,
        }

    def _disagreement(self, counted_w: float) -> str:
        """What to say where the power that was looked at tells of other joules than the counter does."""
        powers = [state.power_w for _, state in self._states if state.power_w is not None]
        if len(powers) < LEAST_UPDATES // 2 or self._device.sample_s is not None:
            return ""
        looked_w = statistics.fmean(powers)
        if abs(looked_w - counted_w) <= DISAGREEMENT * counted_w:
            return ""
        return f"its counter says {counted_w:.3g} W, its sensor of power {looked_w:.3g} W"
