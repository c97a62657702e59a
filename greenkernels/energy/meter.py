"""EnergyMeter: joules of what runs in a block, with their source; None and a reason where there are none."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import torch

from ..measure.clock import Clock
from ..measure.provenance import Kind, Measurement
from .backends import DeviceReading, Reading, Request, choose, working_device
from .breakdown import Estimate
from .hardware_table import DEFAULT
from .links import Transfer
from .model import Joules

if TYPE_CHECKING:
    from typing_extensions import Self


class EnergyMeter:
    """Meters the work in a ``with`` block.

    A counter of the hardware that this process computes on is read at both ends: an NVIDIA GPU's ("nvml"), the
    processor's ("rapl"), another's ("zeus"). It counts whatever runs there, other processes included. A block in which
    it changes fewer than 20 times has no joules but a reason; `greenkernels.energy.measure` repeats the work instead.

    Without a counter the source is "model": every torch operation in the block of this thread is counted. That takes
    time of its own on each operation, which is in ``time_s``, and compiled functions run eagerly. With ``estimate``
    nothing is counted and the block runs undisturbed.

    Args:
        hardware: table of the analytic model.
        estimate: what `greenkernels.energy.estimate` said of the one call that the block makes.
        source: name of a source; default: the first counter that can be read, else "model".
        clock: tests put a synthetic one here.
        watch: look at counters, clocks, temperatures and throttling meanwhile, in a thread that ends with the block;
            without it they are None, and a meter reads two registers and nothing else. Long blocks of "rapl" need it,
            whose counters begin again after some minutes.
        idle_power_w: what `greenkernels.energy.idle_power` said, for ``idle_subtracted_j``.

    Attributes:
        energy_j: J, a Measurement with its kind; None inside of the block, and where a part is unknown.
        time_s: s, measured by the clock; None inside of the block.
        source: where ``energy_j`` comes from; None where there is none.
        reason: why there is none, or what else there is to say.
        devices: what each device said: updates, clocks, temperature, throttling; empty for the model.
        parts: modelled J of compute, memory, communication and static power; None for a counter.
        transfers: bytes that this process sent over each link; empty for a counter.

    Raises:
        ValueError: no such table or source.
        RuntimeError: the named source cannot be read here, or the meter is entered while it runs.
    """

    def __init__(
        self,
        hardware: str = DEFAULT,
        estimate: Estimate | None = None,
        source: str | None = None,
        clock: Clock | None = None,
        *,
        watch: bool = False,
        idle_power_w: Measurement | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._backend = choose(source, self._clock)
        self._window = self._backend.window(Request(hardware, estimate, watch, self._clock))
        self._on_gpu = working_device() == "cuda"
        self._idle_power_w = idle_power_w
        self._running = False
        self._forget()

    def _forget(self) -> None:
        self.time_s: Measurement | None = None
        self._reading: Reading | None = Reading(None, "the block has not ended")

    def _read(self) -> Reading:
        """What the window gave, worked out when it is asked for: the program that is metered does not wait for it."""
        if self._reading is None:
            self._reading = self._window.reading(self.time_s)
        return self._reading

    @property
    def energy_j(self) -> Measurement | None:
        return self._read().energy_j

    @property
    def source(self) -> str | None:
        return None if self.energy_j is None else self._backend.name

    @property
    def reason(self) -> str:
        return self._read().reason

    @property
    def devices(self) -> tuple[DeviceReading, ...]:
        return self._read().devices

    @property
    def parts(self) -> Joules | None:
        return self._read().parts

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        return self._read().transfers

    @property
    def needed_s(self) -> float:
        """Shortest block that its source has joules for: 20 updates of the slowest counter; 0 for the model."""
        return self._window.needed_s

    @property
    def power_w(self) -> Measurement | None:
        """Mean power of a measured block."""
        if self.energy_j is None or self.energy_j.kind is not Kind.MEASURED:
            return None
        return per(self.energy_j, self.time_s.value, "W")

    @property
    def idle_subtracted_j(self) -> Measurement | None:
        """Measured J above idle, where ``idle_power_w`` was given."""
        if self.power_w is None or self._idle_power_w is None:
            return None
        return above_idle(self.energy_j, self.time_s.value, self._idle_power_w)

    def __enter__(self) -> Self:
        if self._running:
            raise RuntimeError("EnergyMeter: already running; use a meter of its own for a block inside")
        self._forget()
        self._settle()
        self._window.start()
        self._running = True
        self._begin = self._clock.now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._settle()
        seconds = self._clock.now() - self._begin
        self._running = False
        self._window.stop()
        self.time_s = Measurement(seconds, "s", Kind.MEASURED)
        self._reading = None if kind is None else Reading(None, f"the block raised {kind.__name__}")

    def _settle(self) -> None:
        """Waits for a GPU to finish what it was given."""
        if self._on_gpu:
            torch.cuda.synchronize()


def per(energy_j: Measurement, amount: float, unit: str) -> Measurement:
    """Energy divided by an exact amount: J a call, or W."""
    value, low, high = (part / amount for part in (energy_j.value, energy_j.low, energy_j.high))
    return Measurement(value, unit, energy_j.kind, low, high)


def above_idle(energy_j: Measurement, seconds: float, idle_power_w: Measurement) -> Measurement:
    """Measured J without what idling would have cost in that time."""
    return Measurement(
        energy_j.value - idle_power_w.value * seconds,
        "J",
        energy_j.kind,
        energy_j.low - idle_power_w.high * seconds,
        energy_j.high - idle_power_w.low * seconds,
    )
