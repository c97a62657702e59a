"""Thread numbers to measure with."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_numbers(text: str) -> list[int]:
    """``"1,2"`` as numbers; nothing means one thread, and all cores this process may use.

    Raises:
        ValueError: not a list of positive numbers.
    """
    if not text:
        return sorted({1, usable_cores()})
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise ValueError(f"--threads must be positive numbers with commas between, got {text!r}")
    return counts
