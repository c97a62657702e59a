"""Hardware that has no source of its own here, through zeus (an extra): AMD GPUs, Apple's chips, NVIDIA Jetson."""

from __future__ import annotations

import importlib.util
import itertools
from functools import cache
from typing import Any

from ...measure.clock import Clock
from ...measure.provenance import Kind, Measurement
from ..devices import UnreadableError
from . import Backend, DeviceReading, Reading, Request

# zeus does not tell how often a counter changes, so a window has to be long for any of them.
LEAST_S = 5.0
# Parts of a chip in mJ that make up the whole; the first set of which all are there.
_WHOLES = (("total_energy_mj",), ("cpu_total_mj", "gpu_mj", "dram_mj", "ane_mj"))
_windows = itertools.count()


@cache
def monitor() -> Any:
    """zeus's monitor. Its own RAPL is left aside, for which it would start a process: the source "rapl" needs none.

    Raises:
        UnreadableError: zeus is not installed, or finds nothing that it can read.
    """
    if importlib.util.find_spec("zeus") is None:
        raise UnreadableError("zeus is not installed: pip install 'greenkernels[zeus]'")
    from zeus.monitor import ZeusMonitor

    try:
        found = ZeusMonitor(cpu_indices=[])
    except Exception as problem:  # of any driver that it looks for
        raise UnreadableError(f"zeus says: {problem}") from problem
    if not found.gpu_indices and not found.soc_is_present:
        raise UnreadableError("zeus finds no GPU and no chip that it can read")
    return found


class ZeusWindow:
    """One window of zeus's monitor."""

    needed_s = LEAST_S

    def __init__(self, request: Request) -> None:
        self._monitor = monitor()
        self._key = f"greenkernels {next(_windows)}"

    def start(self) -> None:
        self._monitor.begin_window(self._key)

    def stop(self) -> None:
        self._problem, self._found = "", None
        try:
            self._found = self._monitor.end_window(self._key)
        except Exception as problem:  # a device that was lost; what ran in the window goes on
            self._problem = f"zeus says: {problem}"

    def reading(self, time_s: Measurement) -> Reading:
        if self._found is None:
            return Reading(None, self._problem)
        if time_s.value < LEAST_S:
            return Reading(None, f"windows of {LEAST_S:g} s are needed, got {time_s.value:.3g} s")
        parts = {f"GPU {index}": joules for index, joules in self._found.gpu_energy.items()}
        if self._found.soc_energy is not None:
            parts["chip"] = _whole(self._found.soc_energy)
        devices = tuple(_device(name, joules) for name, joules in parts.items())
        lost = [f"{one.name}: {one.reason}" for one in devices if one.energy_j is None]
        if lost:
            return Reading(None, "; ".join(lost), devices)
        return Reading(Measurement(sum(parts.values()), "J", Kind.MEASURED), "", devices)


def _whole(chip: Any) -> float | None:
    """J of a chip from its parts; None where the parts are of a kind that is not known here."""
    for names in _WHOLES:
        values = [getattr(chip, name, None) for name in names]
        if all(value is not None for value in values):
            return sum(values) / 1e3
    return None


def _device(name: str, joules: float | None) -> DeviceReading:
    if joules is None:
        return DeviceReading(name, None, "its parts do not add up to a whole")
    if joules <= 0:
        return DeviceReading(name, None, "its counter stood still")
    return DeviceReading(name, Measurement(joules, "J", Kind.MEASURED))


def why_not(clock: Clock) -> str | None:
    try:
        monitor()
    except UnreadableError as problem:
        return str(problem)
    return None


BACKEND = Backend(name="zeus", rank=30, why_not=why_not, window=ZeusWindow)
