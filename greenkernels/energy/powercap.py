"""Energy of processors and memory on Linux: the powercap tree, RAPL's counters as files.

Packages and their memory ("dram") are read. Cores and the uncore are inside of a package and would count twice, as
would the same package seen over another bus (mmio) and the whole platform (psys).
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from ..measure.clock import Clock
from .devices import Device, State, UnreadableError, update_period

ROOT = "/sys/class/powercap"
MOST_W = 1000.0  # where a package does not say how much it may draw


def root() -> Path:
    """The tree: ``GREENKERNELS_POWERCAP``, else the kernel's."""
    return Path(os.environ.get("GREENKERNELS_POWERCAP") or ROOT)


def devices(clock: Clock) -> list[Device]:
    """Every package and its memory.

    Raises:
        UnreadableError: there are none, one of them cannot be read, or one stands still.
    """
    zones = _zones(root())
    if not zones:
        raise UnreadableError(
            f"{root()} has no RAPL counters: a virtual machine, or not Linux on Intel or AMD"
        )
    return [_device(zone, clock) for zone in zones]


def _zones(tree: Path) -> list[Path]:
    found = []
    for zone in sorted(tree.glob("intel-rapl:*")):
        name = _text(zone / "name")
        if name.startswith("package") or name == "dram":
            found.append(zone)
    return found


def _text(path: Path) -> str:
    """What a file says; "" if it is not there or not for us."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _device(zone: Path, clock: Clock) -> Device:
    name = _text(zone / "name")
    if name == "dram":  # intel-rapl:0:1 lies in intel-rapl:0
        parent = zone.name.rpartition(":")[0]
        name = f"dram of {_text(zone.parent / parent / 'name') or parent}"
    joules = partial(_joules, str(zone / "energy_uj"))
    limit = _text(zone / "constraint_0_max_power_uw")
    return Device(
        name=name,
        joules=joules,
        state=partial(_state, zone, root().parent.parent),
        update_s=_update_s(str(zone), joules, clock),
        wraps_at_j=_microjoules(str(zone / "max_energy_range_uj")),
        # A package may draw more than its limit for a moment; twice that it cannot.
        most_w=2 * int(limit) / 1e6 if limit.isdigit() and int(limit) else MOST_W,
    )


_periods: dict[str, float] = {}  # of the zones that were watched once


def _update_s(zone: str, joules: partial[float], clock: Clock) -> float:
    if zone not in _periods:
        _periods[zone] = update_period(joules, clock)
    return _periods[zone]


def _joules(path: str) -> float:
    return _microjoules(path)


def _microjoules(path: str) -> float:
    """J in a file of microjoules. Opened anew each time: an open file outlives the device that is taken away."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return int(os.read(file, 64)) / 1e6
        finally:
            os.close(file)
    except PermissionError:
        pattern = f"{root()}/intel-rapl:*/energy_uj"
        raise UnreadableError(
            f"{path} is for root alone; until the next start, this opens it: sudo chmod a+r {pattern}"
        ) from None
    except (OSError, ValueError) as problem:
        raise UnreadableError(f"{path} cannot be read: {problem}") from None


def _state(zone: Path, system: Path) -> State:
    """Limit, clocks, temperature and throttling; ``system`` is what /sys is here."""
    limit = _text(zone / "constraint_0_power_limit_uw")
    cpus = system / "devices/system/cpu"
    clocks = [_text(path) for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    kilohertz = [int(text) for text in clocks if text.isdigit()]
    hot = _text(cpus / "cpu0/thermal_throttle/package_throttle_count")
    return State(
        clock_hz=1e3 * sum(kilohertz) / len(kilohertz) if kilohertz else None,
        temperature_c=_temperature(system),
        power_limit_w=int(limit) / 1e6 if limit.isdigit() else None,
        throttle_count=int(hot) if hot.isdigit() else None,
    )


def _temperature(system: Path) -> float | None:
    for zone in sorted(system.glob("class/thermal/thermal_zone*")):
        if _text(zone / "type") in ("x86_pkg_temp", "k10temp"):
            text = _text(zone / "temp")
            return int(text) / 1e3 if text.lstrip("-").isdigit() else None
    return None
