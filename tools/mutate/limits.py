"""Runs a test program within limits that hold also where it is stopped meanwhile: CPU time, memory, standstill."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

MOST_BYTES = 8 << 30  # of memory: a size that went wrong must not take the machine's
STANDSTILL_S = 20  # without CPU time: threads that wait for each other
POLL_S = 0.02


def failure(command: tuple[str | Path, ...], cpu_s: int, standstill_s: float = STANDSTILL_S) -> str | None:
    """How the program fails: "exit 1", "signal 11", "CPU time" or "standstill"; None if it does not."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, preexec_fn=limit)
    idle_s, used = 0.0, -1
    try:
        while process.poll() is None:
            time.sleep(POLL_S)  # of ours: where we are stopped as well, none passes
            state, ticks = state_and_ticks(process.pid)
            idle_s = idle_s + POLL_S if ticks == used and state not in "TtDR" else 0.0
            used = ticks
            if idle_s > standstill_s:
                return "standstill"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    status = process.returncode
    if -status in (9, 24):  # SIGKILL at the hard limit, SIGXCPU
        return "CPU time"
    return None if status == 0 else f"exit {status}" if status > 0 else f"signal {-status}"


def state_and_ticks(pid: int) -> tuple[str, int]:
    """Of a process: the letter of its state, and the CPU time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[11]) + int(fields[12])


def cpu_of(command: tuple[str | Path, ...]) -> float:
    """CPU seconds of a run that has to pass."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
