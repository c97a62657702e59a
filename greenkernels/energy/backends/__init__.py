"""Where joules come from: one file a source in this folder, found by itself.

A file defines ``BACKEND = Backend(...)``. A meter takes the first in order of ``rank`` that can read here: counters
of the hardware before models.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import torch

from ...measure.clock import Clock
from ...measure.provenance import Measurement
from ..breakdown import Estimate
from ..links import Transfer
from ..model import Joules


@dataclass(frozen=True)
class Request:
    """What a window is opened for.

    Attributes:
        hardware: table of the analytic model.
        estimate: what runs inside, if that is known beforehand.
        watch: look at counters, clocks and temperatures meanwhile, in a thread that ends with the window.
        clock: of the window.
    """

    hardware: str
    estimate: Estimate | None = None
    watch: bool = False
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True)
class DeviceReading:
    """What one device said in a window; None where it says nothing.

    Attributes:
        name: of the device.
        energy_j: measured J; its interval is what the updates of the counter and the sensor leave open.
        reason: why there are none, or what else there is to say.
        updates: changes of the counter in the window.
        update_s: time between two of them.
        clock_hz: of its processors, over the looks of a watch.
        temperature_c: at the end, in degrees Celsius.
        power_limit_w: at which it slows down.
        throttled: why it ran below its clock, at any look; empty where it did not.
    """

    name: str
    energy_j: Measurement | None
    reason: str = ""
    updates: int | None = None
    update_s: float | None = None
    clock_hz: Measurement | None = None
    temperature_c: float | None = None
    power_limit_w: float | None = None
    throttled: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Reading:
    """What a window gave.

    Attributes:
        energy_j: J with its kind, or None.
        reason: why there is none, or what else there is to say.
        devices: the parts, where devices were read.
        parts: compute, memory, communication and static J, where they were modelled.
        transfers: bytes that were sent over each link, where they were counted.
    """

    energy_j: Measurement | None
    reason: str = ""
    devices: tuple[DeviceReading, ...] = ()
    parts: Joules | None = None
    transfers: tuple[Transfer, ...] = ()


class Window(Protocol):
    """One window of one source.

    Attributes:
        needed_s: shortest window that it can say something about.
    """

    needed_s: float

    def start(self) -> None:
        """Called last before the work; begins anew."""

    def stop(self) -> None:
        """Called first after the work, also when it raised."""

    def reading(self, time_s: Measurement) -> Reading:
        """Called after `stop`, with the length of the window."""


@dataclass(frozen=True)
class Backend:
    """One source.

    Attributes:
        name: what ``source`` says: "nvml", "rapl", "zeus", "model".
        rank: lower comes first.
        why_not: why it cannot read on this machine, or None.
        window: opens a window.
        counts_work: True for a model, whose energy of a call needs one counted call; a counter reads whole windows.
        device: type of the torch devices whose joules it counts; None for any.
    """

    name: str
    rank: int
    why_not: Callable[[Clock], str | None]
    window: Callable[[Request], Window]
    counts_work: bool = False
    device: str | None = None


@cache
def registered() -> tuple[Backend, ...]:
    """Every source with a file in this folder, counters first."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    found = (importlib.import_module(f".{name}", __name__).BACKEND for name in names)
    return tuple(sorted(found, key=lambda backend: (backend.rank, backend.name)))


def working_device() -> str:
    """ "cuda" if this process computes on a GPU, else "cpu": a counter of the other one would count its idling."""
    return "cuda" if torch.cuda.is_available() and torch.cuda.is_initialized() else "cpu"


def choose(source: str | None = None, clock: Clock | None = None) -> Backend:
    """The named source, or the first that can read here and counts what this process computes on.

    Raises:
        ValueError: no source has that name.
        RuntimeError: it cannot read on this machine; the message says why.
    """
    clock = clock or Clock()
    if source is None:
        fitting = (b for b in registered() if b.device in (None, working_device()))
        return next(backend for backend in fitting if backend.why_not(clock) is None)
    for backend in registered():
        if backend.name == source:
            why_not = backend.why_not(clock)
            if why_not is not None:
                raise RuntimeError(f"energy: {source} cannot read here: {why_not}")
            return backend
    raise ValueError(
        f"energy: source must be one of {', '.join(b.name for b in registered())}, got {source!r}"
    )


def sources(clock: Clock | None = None) -> dict[str, str]:
    """Every source and why it cannot read on this machine; "" for one that can."""
    clock = clock or Clock()
    return {backend.name: backend.why_not(clock) or "" for backend in registered()}
