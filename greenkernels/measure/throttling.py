"""Whether cores were slowed down to stay cool or within their power: the system counts that, where it can."""

from __future__ import annotations

import contextlib
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
SLOWED = 0.1  # loss of the machine's peak from before a case to after it above which the case is taken again


def throttle_count(folder: Path = CPUS) -> int | None:
    """Throttling events of all cores and packages since boot; None where nobody counts, as in virtual machines."""
    found = None
    for counter in folder.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        with contextlib.suppress(OSError, ValueError):
            found = (found or 0) + int(counter.read_text())
    return found


class Throttling:
    """Tells, again and again, whether there were events since it was asked last."""

    def __init__(self) -> None:
        self._count = throttle_count()

    def seen(self) -> bool:
        if self._count is None:
            return False
        before, self._count = self._count, throttle_count()
        return self._count is not None and self._count > before
