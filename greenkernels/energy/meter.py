"""EnergyMeter: joules of what runs in a block, with their source; None and a reason where there are none."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ..measure.clock import Clock
from ..measure.provenance import Kind, Measurement
from .backends import Request, choose
from .breakdown import Estimate
from .hardware_table import DEFAULT

if TYPE_CHECKING:
    from typing_extensions import Self


class EnergyMeter:
    """Meters the work in a ``with`` block of this thread.

    Without a counter the source is "model": every torch operation in the block is counted. That takes time of its own
    on each operation, which is in ``time_s``, and compiled functions run eagerly. With ``estimate`` nothing is counted
    and the block runs undisturbed.

    Args:
        hardware: table of the analytic model.
        estimate: what `greenkernels.energy.estimate` said of the one call that the block makes.
        source: name of a source; default: the first counter that can be read, else "model".
        clock: tests put a synthetic one here.

    Attributes:
        energy_j: J, a Measurement with its kind; None inside of the block, and where a part is unknown.
        time_s: s, measured by the clock; None inside of the block.
        source: where ``energy_j`` comes from; None where there is none.
        reason: why there is none, or what else there is to say.

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
    ) -> None:
        self._backend = choose(source)
        self._request = Request(hardware, estimate)
        self._clock = clock or Clock()
        self._window = None
        self._forget()
        self._backend.window(self._request)  # refuses a wrong request here, before any work

    def _forget(self) -> None:
        self.energy_j: Measurement | None = None
        self.time_s: Measurement | None = None
        self.source: str | None = None
        self.reason = "the block has not ended"

    def __enter__(self) -> Self:
        if self._window is not None:
            raise RuntimeError("EnergyMeter: already running; use a meter of its own for a block inside")
        self._forget()
        window = self._backend.window(self._request)
        window.start()
        self._window = window
        self._begin = self._clock.now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds = self._clock.now() - self._begin
        window, self._window = self._window, None
        window.stop()
        self.time_s = Measurement(seconds, "s", Kind.MEASURED)
        if kind is not None:
            self.reason = f"the block raised {kind.__name__}"
            return
        reading = window.reading(self.time_s)
        self.energy_j, self.reason = reading.energy_j, reading.reason
        self.source = None if reading.energy_j is None else self._backend.name
