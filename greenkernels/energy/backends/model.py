"""The analytic model as a source: counts the torch operations that run in the window. Works everywhere."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from ...measure.provenance import Measurement
from ..hardware_table import Hardware, hardware
from ..links import summed
from ..model import split_static
from ..tally import CountOperations, Tally
from . import Backend, Reading, Request

NOTHING_RAN = "no torch operation ran in this thread"


class ModelWindow:
    """Counts operations by torch dispatch, or takes the work from an estimate, which costs no time."""

    needed_s = 0.0

    def __init__(self, request: Request) -> None:
        self._hardware = request.hardware
        self._table = hardware(request.hardware)  # raises now, not at the end of the window
        self._known = request.estimate
        self._mode = None

    def start(self) -> None:
        if self._known is not None:
            self._tally, self._weight_bytes = self._known.tally(), self._known.weight_bytes
            return
        _count_once()
        self._tally = Tally()
        self._mode = CountOperations(self._tally.add)
        self._mode.__enter__()

    def stop(self) -> None:
        if self._mode is not None:
            self._mode.__exit__(None, None, None)
            self._weight_bytes = self._mode.weight_bytes
            self._mode = None

    def reading(self, time_s: Measurement) -> Reading:
        found, missing = self._tally.joules(self._hardware, self._weight_bytes)
        sent = summed([one for counts in self._tally.work.values() for one in counts.transfers])
        if missing:
            return Reading(None, "could not count: " + "; ".join(missing), transfers=sent)
        if found is None:
            return Reading(None, NOTHING_RAN)
        static = split_static(self._table, time_s)
        if static is None:
            reason = f"without static power, for which {self._hardware} has no figure"
            return Reading(found.total, reason, parts=found, transfers=sent)
        parts = replace(found, static=static)
        share = (static / parts.total).value if parts.total.value else 0.0
        reason = f"static power, {_basis(self._table)}, is {share:.0%} of it"
        return Reading(parts.total, reason, parts=parts, transfers=sent)


@functools.cache
def _count_once() -> None:
    """Torch imports for a second when a process counts for the first time: here, before the window's clock starts."""
    with CountOperations(lambda counted: None):
        torch.zeros(1).add_(1)


def _basis(table: Hardware) -> str:
    return "an estimate" if table.figures["static watt"].estimate else "a published figure"


BACKEND = Backend(name="model", rank=100, why_not=lambda clock: None, window=ModelWindow, counts_work=True)
