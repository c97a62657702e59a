"""RAPL's counters of processors and memory as a source; without root where the files may be read."""

from __future__ import annotations

from ...measure.clock import Clock
from .. import powercap
from ..devices import UnreadableError
from ..window import CounterWindow
from . import Backend, Request


def why_not(clock: Clock) -> str | None:
    try:
        powercap.devices(clock)
    except UnreadableError as problem:
        return str(problem)
    return None


def window(request: Request) -> CounterWindow:
    return CounterWindow(powercap.devices(request.clock), request.clock, request.watch)


BACKEND = Backend(name="rapl", rank=20, why_not=why_not, window=window, device="cpu")
