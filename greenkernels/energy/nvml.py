"""NVIDIA GPUs through nvidia-ml-py: the counter of energy, or sampled power where a GPU has none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch

from ..measure.clock import Clock
from .devices import Device, IntegratedPower, State, UnreadableError, update_period

# Part-time sampling and calibration of the sensor: Yang et al., "Accurate and Convenient Energy Measurements for GPUs",
# SC24, arXiv:2312.02741.
TOLERANCE = 0.05
SAMPLE_S = 0.05  # between two readings of the power, which changes every 0.1 s or sooner
INSTANT_S = 0.1  # what an instantaneous reading of the power is a mean over
AVERAGE_S = 1.0  # and any other, from Ampere on
_FIELD_POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT, mW
_CLOCK_SM, _TEMPERATURE_GPU = 1, 0
_REASONS = {
    "SwPowerCap": "power limit",
    "HwPowerBrakeSlowdown": "power brake",
    "HwSlowdown": "hardware slowdown",
    "HwThermalSlowdown": "too hot",
    "SwThermalSlowdown": "too hot",
    "SyncBoost": "slower GPU of a group",
}


@cache
def session() -> Any:
    """nvidia-ml-py, initialized once a process.

    Raises:
        UnreadableError: it is not installed, or there is no driver.
    """
    try:
        import pynvml
    except ImportError:
        raise UnreadableError("nvidia-ml-py is not installed: pip install 'greenkernels[nvidia]'") from None
    with _Translated(pynvml):
        pynvml.nvmlInit()
    return pynvml


class _Translated:
    """Turns the errors of NVML into `UnreadableError` with its own words."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._library.NVMLError):
            raise UnreadableError(f"NVML says: {error}") from None


def devices(clock: Clock) -> list[Device]:
    """The GPUs that torch computes on, found by UUID since NVML numbers them in another order.

    Raises:
        UnreadableError: there are none, or one has neither energy nor power.
    """
    library = session()
    handles = list(_handles(library))
    if not handles:
        raise UnreadableError("no GPU is visible")
    return [_device(library, handle, clock) for handle in handles]


def _handles(library: Any) -> Iterator[Any]:
    with _Translated(library):
        for uuid in visible_uuids(library):
            yield library.nvmlDeviceGetHandleByUUID(uuid)


def visible_uuids(library: Any) -> list[str]:
    """UUIDs of torch's devices; without CUDA in torch, of those that ``CUDA_VISIBLE_DEVICES`` names.

    Raises:
        UnreadableError: it names them by number, which is not NVML's unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    if torch.cuda.is_available():
        found = (torch.cuda.get_device_properties(i).uuid for i in range(torch.cuda.device_count()))
        return [f"GPU-{uuid}" for uuid in found]
    everything = [
        library.nvmlDeviceGetUUID(library.nvmlDeviceGetHandleByIndex(i))
        for i in range(library.nvmlDeviceGetCount())
    ]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return everything
    return [_named(word.strip(), everything) for word in named.split(",") if word.strip()]


def _named(word: str, everything: list[str]) -> str:
    """The UUID that one word of ``CUDA_VISIBLE_DEVICES`` stands for: its beginning, or its number."""
    if not word.isdigit():
        found = [uuid for uuid in everything if uuid.startswith(word)]
        if len(found) != 1:
            raise UnreadableError(
                f"CUDA_VISIBLE_DEVICES names {word}, which is {len(found)} of the GPUs here"
            )
        return found[0]
    if len(everything) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise UnreadableError(
            f"CUDA_VISIBLE_DEVICES names {word}, a number in CUDA's own order: name UUIDs, or set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
    if int(word) >= len(everything):
        raise UnreadableError(f"CUDA_VISIBLE_DEVICES names {word}, and there are {len(everything)} GPUs")
    return everything[int(word)]


_periods: dict[str, float | None] = {}  # UUID -> time between two changes of its counter; None if it has none


def _device(library: Any, handle: Any, clock: Clock) -> Device:
    """By its counter if it has one that moves, else by its power."""
    uuid = library.nvmlDeviceGetUUID(handle)
    name = f"{library.nvmlDeviceGetName(handle)} {uuid}"
    joules = partial(_counted_joules, library, handle)
    if uuid not in _periods:
        try:
            _periods[uuid] = update_period(joules, clock)
        except UnreadableError:
            _periods[uuid] = None
    state, period = partial(_state, library, handle), _periods[uuid]
    if period is not None:
        return Device(f"{name}, energy counter", joules, state, period, tolerance=TOLERANCE)
    watts, mean_s = _power_sensor(library, handle)
    integral = IntegratedPower(watts, clock)
    return Device(
        f"{name}, sampled power", integral.joules, state, mean_s, sample_s=SAMPLE_S, tolerance=TOLERANCE
    )


def _counted_joules(library: Any, handle: Any) -> float:
    with _Translated(library):
        millijoules = library.nvmlDeviceGetTotalEnergyConsumption(handle)
    return millijoules / 1e3


def _power_sensor(library: Any, handle: Any) -> tuple[Callable[[], float], float]:
    """Reads W, and over which time it averages: the instantaneous field where there is one."""
    instant, average = partial(_instant_watts, library, handle), partial(_average_watts, library, handle)
    try:
        instant()
    except UnreadableError:
        average()  # neither: says so
        return average, AVERAGE_S
    return instant, INSTANT_S


def _instant_watts(library: Any, handle: Any) -> float:
    with _Translated(library):
        (field,) = library.nvmlDeviceGetFieldValues(handle, [_FIELD_POWER_INSTANT])
        if field.nvmlReturn:
            raise library.NVMLError(field.nvmlReturn)
    return field.value.uiVal / 1e3


def _average_watts(library: Any, handle: Any) -> float:
    with _Translated(library):
        power = library.nvmlDeviceGetPowerUsage(handle)
    return power / 1e3


def _state(library: Any, handle: Any) -> State:
    """Whatever of it this GPU tells."""

    def told(name: str, *arguments: int) -> Any:
        try:
            return getattr(library, name)(handle, *arguments)
        except library.NVMLError:
            return None

    try:
        watts: float | None = _power_sensor(library, handle)[0]()
    except UnreadableError:
        watts = None
    clock_mhz, limit_mw = told("nvmlDeviceGetClockInfo", _CLOCK_SM), told("nvmlDeviceGetEnforcedPowerLimit")
    return State(
        power_w=watts,
        clock_hz=None if clock_mhz is None else clock_mhz * 1e6,
        temperature_c=told("nvmlDeviceGetTemperature", _TEMPERATURE_GPU),
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        throttled=_reasons(library, told("nvmlDeviceGetCurrentClocksEventReasons")),
    )


def _reasons(library: Any, bits: int | None) -> tuple[str, ...] | None:
    if bits is None:
        return None
    found = (
        words for name, words in _REASONS.items() if bits & getattr(library, f"nvmlClocksEventReason{name}")
    )
    return tuple(dict.fromkeys(found))
