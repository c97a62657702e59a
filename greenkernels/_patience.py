"""How long a build waits for a compiler that may hang.

Needs nothing but the standard library, as _toolchain.py does, so that setup.py can load it without the package.
"""

from __future__ import annotations

import math
import os
import subprocess
import threading
from collections.abc import Callable, Sequence

VARIABLE = "GREENKERNELS_BUILD_TIMEOUT"
ANSWER_SECONDS = 60.0  # that a compiler may take to say its version


def seconds() -> float:
    """That a step of a build may take: what the variable says, or 20 minutes.

    Raises:
        ValueError: it is no positive number.
    """
    setting = os.environ.get(VARIABLE, "1200")
    try:
        found = float(setting)
    except ValueError:
        found = math.nan
    if not 0 < found < threading.TIMEOUT_MAX:
        raise ValueError(f"{VARIABLE} must be a positive number of seconds, got {setting!r}")
    return found


def ask(command: Sequence[str]) -> tuple[str, str]:
    """What a command that ends at once says, and what is wrong with it, or ""."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return "", f"gives no answer in {ANSWER_SECONDS:g} s"
    return answer.stdout, "fails" if answer.returncode else ""


class Alarm:
    """Calls a function, once, when so many seconds have passed since it was last put off.

    Attributes:
        rang: whether it did.
    """

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self.rang = False
        self._seconds, self._action = seconds, action
        self._start()

    def put_off(self) -> None:
        self.cancel()
        if not self.rang:
            self._start()

    def cancel(self) -> None:
        self._timer.cancel()

    def _start(self) -> None:
        self._timer = threading.Timer(self._seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        self.rang = True
        self._action()
