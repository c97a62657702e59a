"""What the machine draws while nothing is asked of it: the part of a measured energy that any work would have cost."""

from __future__ import annotations

from ..measure.clock import Clock
from ..measure.provenance import Measurement
from .hardware_table import DEFAULT
from .meter import EnergyMeter


def idle_power(
    seconds: float = 5, source: str | None = None, clock: Clock | None = None
) -> Measurement | None:
    """W over a window in which this process sleeps; None where no counter can say.

    Args:
        seconds: length of the window, made longer where the counter needs it.
        source: name of a source; default: the first counter that can be read.
        clock: tests put a synthetic one here.

    Raises:
        ValueError, RuntimeError: as for `EnergyMeter`.
    """
    clock = clock or Clock()
    meter = EnergyMeter(DEFAULT, source=source, clock=clock, watch=True)
    with meter:
        clock.sleep(max(seconds, meter.needed_s))
    return meter.power_w
