"""A progress bar for work that takes longer than two seconds; silent where nobody watches."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

PATIENCE_S = 2.0

Advance = Callable[[float, str], None]  # share done (0 to 1), what is going on


@contextlib.contextmanager
def progress_bar(title: str, enabled: bool = True) -> Iterator[Advance]:
    """Gives a function to report progress with; draws from the third second on, on a terminal with rich installed."""
    bar = _Bar(title) if enabled and sys.stderr.isatty() else None
    try:
        yield bar.update if bar else lambda share, note="": None
    finally:
        if bar:
            bar.close()


class _Bar:
    def __init__(self, title: str) -> None:
        self.title, self.begin = title, time.monotonic()
        self.shown = self.task = None

    def update(self, share: float, note: str = "") -> None:
        if self.shown is None and time.monotonic() - self.begin > PATIENCE_S:
            self.open()
        if self.shown is not None:
            text = f"{self.title}: {note}" if note else self.title
            self.shown.update(self.task, completed=share, description=text, refresh=True)

    def open(self) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            self.begin = float("inf")  # never asked again
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        # No refresh thread: it would take its turns on the cores that are being measured.
        self.shown = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        self.shown.start()
        self.task = self.shown.add_task(self.title, total=1.0)

    def close(self) -> None:
        if self.shown is not None:
            self.shown.stop()
