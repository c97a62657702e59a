"""Where joules come from: one file a source in this folder, found by itself.

A file defines ``BACKEND = Backend(...)``. A meter takes the first in order of ``rank`` that can read here: counters
of the hardware before models.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from ...measure.provenance import Measurement
from ..breakdown import Estimate


@dataclass(frozen=True)
class Request:
    """What a window is opened for.

    Attributes:
        hardware: table of the analytic model.
        estimate: what runs inside, if that is known beforehand.
    """

    hardware: str
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Reading:
    """What a window gave.

    Attributes:
        energy_j: J with its kind, or None.
        reason: why there is none, or what else there is to say.
    """

    energy_j: Measurement | None
    reason: str = ""


class Window(Protocol):
    """One window of one source."""

    def start(self) -> None:
        """Called last before the work."""

    def stop(self) -> None:
        """Called first after the work, also when it raised."""

    def reading(self, time_s: Measurement) -> Reading:
        """Called after `stop`, with the length of the window."""


@dataclass(frozen=True)
class Backend:
    """One source.

    Attributes:
        name: what ``source`` says: "nvml", "rapl", "model".
        rank: lower comes first.
        why_not: why it cannot read on this machine, or None.
        window: opens a window.
        counts_work: True for a model, whose energy of a call needs one counted call; a counter reads whole windows.
    """

    name: str
    rank: int
    why_not: Callable[[], str | None]
    window: Callable[[Request], Window]
    counts_work: bool = False


@cache
def registered() -> tuple[Backend, ...]:
    """Every source with a file in this folder, counters first."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    found = (importlib.import_module(f".{name}", __name__).BACKEND for name in names)
    return tuple(sorted(found, key=lambda backend: (backend.rank, backend.name)))


def choose(source: str | None = None) -> Backend:
    """The named source, or the first that can read here.

    Raises:
        ValueError: no source has that name.
        RuntimeError: it cannot read on this machine; the message says why.
    """
    if source is None:
        return next(backend for backend in registered() if backend.why_not() is None)
    for backend in registered():
        if backend.name == source:
            why_not = backend.why_not()
            if why_not is not None:
                raise RuntimeError(f"energy: {source} cannot read here: {why_not}")
            return backend
    raise ValueError(
        f"energy: source must be one of {', '.join(b.name for b in registered())}, got {source!r}"
    )
