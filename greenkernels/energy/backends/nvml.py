"""NVIDIA GPUs as a source: their counter of energy first, sampled power second."""

from __future__ import annotations

from ...measure.clock import Clock
from .. import nvml
from ..devices import UnreadableError
from ..window import CounterWindow
from . import Backend, Request


def why_not(clock: Clock) -> str | None:
    try:
        nvml.devices(clock)
    except UnreadableError as problem:
        return str(problem)
    return None


def window(request: Request) -> CounterWindow:
    return CounterWindow(nvml.devices(request.clock), request.clock, request.watch)


BACKEND = Backend(name="nvml", rank=10, why_not=why_not, window=window, device="cuda")
