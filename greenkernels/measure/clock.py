"""The clock that measurements run on, and the load that other processes put on the machine meanwhile."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

# Bound now, before any contender runs: one that puts another function into module time changes nothing here.
_perf_counter, _sleep = time.perf_counter, time.sleep


class Clock:
    """Monotonic seconds, a pause and a beat. Tests put a synthetic clock in its place."""

    def now(self) -> float:
        return _perf_counter()

    def sleep(self, seconds: float) -> None:
        _sleep(seconds)

    def every(self, seconds: float, tick: Callable[[], None]) -> Callable[[], None]:
        """Calls ``tick`` in a thread, with that pause between two calls.

        Returns:
            A function that ends this: when it returns, the thread is gone.
        """
        done = threading.Event()

        def run() -> None:
            while not done.wait(seconds):
                tick()

        thread = threading.Thread(target=run, name="greenkernels clock", daemon=True)
        thread.start()

        def stop() -> None:
            done.set()
            thread.join()

        return stop


class CudaClock(Clock):
    """Waits for the current CUDA device before it looks: what was launched before counts, what comes later does not."""

    def now(self) -> float:
        torch.cuda.synchronize()
        return super().now()


def busy_seconds() -> float | None:
    """CPU seconds spent by all processes since boot, from /proc/stat; None where there is none."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, *rest = (int(x) for x in fields[1:])
    # Steal is time that the hypervisor gave to other guests: foreign load as much as any process here.
    steal = rest[0] if rest else 0
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class ForeignLoad:
    """Counts the cores that other processes kept busy between `start` and `cores`."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._begin = (time.perf_counter(), busy_seconds(), self._own_seconds())

    def cores(self) -> float | None:
        """Mean number of cores used by others; None where it cannot be read or the window is too short.

        /proc/stat counts in ticks of 10 ms, so that a window below 0.2 s would read noise.
        """
        begin_time, begin_busy, begin_own = self._begin
        busy, elapsed = busy_seconds(), time.perf_counter() - begin_time
        if busy is None or begin_busy is None or elapsed < 0.2:
            return None
        return max(0.0, (busy - begin_busy - (self._own_seconds() - begin_own)) / elapsed)

    @staticmethod
    def _own_seconds() -> float:
        spent = os.times()
        waited_for = spent.children_user + spent.children_system
        return spent.user + spent.system + waited_for + sum(map(_cpu_seconds, descendants(os.getpid())))


def descendants(ancestor: int) -> list[int]:
    """Processes started by that one, and by those: workers of rivals are no foreign load. Empty without /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it may end while we look
            parents[int(entry.parent.name)] = int(_stat_fields(entry)[1])
    found = [ancestor]
    for process in found:  # grows meanwhile
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def _cpu_seconds(process: int) -> float:
    """User and system time of a process and of the children it has waited for; 0 once it has ended."""
    try:
        ticks = _stat_fields(Path(f"/proc/{process}/stat"))[11:15]
    except OSError:
        return 0.0
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _stat_fields(path: Path) -> list[str]:
    """Fields after the name in parentheses, which may hold spaces: state, parent, ..."""
    return path.read_text().rpartition(")")[2].split()
