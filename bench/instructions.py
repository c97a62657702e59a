"""Seconds and instructions of one call of a kernel on numpy arrays, at each instruction set level of this CPU.

    python bench/instructions.py --setup SETUP STATEMENT [--isa avx2,avx512] [--calls 10] [--callgrind FILE]

as in timeit, with ``np`` and ``raw``, the module greenkernels_raw, at hand; one thread. Instructions come from the
CPU's counter (perf_event) where it can be read, else from valgrind, which has levels up to AVX2 and takes some ten
seconds for each: two runs, of which one makes ``--calls`` calls more. ``--callgrind`` also keeps which functions they
are in, at the first level, for ``callgrind_annotate FILE``.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import importlib.util
import os
import platform
import re
import shutil
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

SYSCALLS = {"x86_64": 298, "aarch64": 241}  # perf_event_open
HARDWARE, INSTRUCTIONS, ATTRIBUTE_BYTES = 0, 1, 112
USER_ONLY = 1 | 1 << 5 | 1 << 6  # begins disabled; counts neither the system nor a hypervisor
ENABLE, DISABLE, RESET = 0x2400, 0x2401, 0x2403
REPEATS = 15
# What a process under valgrind runs: the module by its path, so that no torch is imported.
CHILD = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("greenkernels_raw", sys.argv[1])
raw = importlib.util.module_from_spec(spec)
spec.loader.exec_module(raw)
raw.set_num_threads(1)
if sys.argv[2]:
    raw.set_isa(sys.argv[2])
names = {"np": np, "raw": raw}
exec(sys.argv[3], names)
code = compile(sys.argv[4], "statement", "eval")
for _ in range(int(sys.argv[5])):
    eval(code, names)
"""


class NoCounter(OSError):
    """Instructions cannot be counted in this way here; the message says why."""


class Counter:
    """The CPU's counter of instructions of this thread, outside of the system."""

    def __init__(self) -> None:
        number = SYSCALLS.get(platform.machine())
        if number is None or not sys.platform.startswith("linux"):
            raise NoCounter(f"no perf_event on {sys.platform} {platform.machine()}")
        attribute = struct.pack("IIQQQQQ", HARDWARE, ATTRIBUTE_BYTES, INSTRUCTIONS, 0, 0, 0, USER_ONLY)
        buffer = ctypes.create_string_buffer(attribute, ATTRIBUTE_BYTES)
        libc = ctypes.CDLL(None, use_errno=True)
        self.file = libc.syscall(number, buffer, 0, -1, -1, 0)
        if self.file < 0:
            error = os.strerror(ctypes.get_errno())
            mend = "virtual machines may have none; kernel.perf_event_paranoid must be 2 or less"
            raise NoCounter(f"perf_event_open: {error} ({mend})")

    def of(self, call: Any) -> int:
        """Instructions that a call takes."""
        fcntl.ioctl(self.file, RESET, 0)
        fcntl.ioctl(self.file, ENABLE, 0)
        call()
        fcntl.ioctl(self.file, DISABLE, 0)
        return struct.unpack("Q", os.read(self.file, 8))[0]


def by_valgrind(library: str, isa: str, setup: str, statement: str, calls: int) -> float:
    """Instructions a call, from two runs.

    Raises:
        NoCounter: valgrind is missing, or the level is one that it does not have.
    """
    tool = ("--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
    child = (library, isa, setup, statement)
    more, once = (references(under_valgrind(tool, (*child, str(count)))) for count in (calls + 1, 1))
    return (more - once) / calls


def under_valgrind(tool: tuple[str, ...], child: tuple[str, ...]) -> str:
    """What valgrind prints of a process of its own."""
    if shutil.which("valgrind") is None:
        raise NoCounter("valgrind is missing")
    paths = os.pathsep.join(path for path in sys.path if path)
    steady = {"PYTHONHASHSEED": "0", "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    command = ["valgrind", *tool, sys.executable, "-S", "-c", CHILD, *child]
    done = subprocess.run(command, env=os.environ | steady, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line and not line.startswith("==")]
        raise NoCounter(f"valgrind: {said[-1] if said else 'the process was killed'}")
    return done.stderr


def references(text: str) -> int:
    """Instructions that valgrind saw, from what it prints."""
    return int(re.search(r"I\s+refs:\s+([\d,]+)", text)[1].replace(",", ""))


def load_raw() -> ModuleType:
    """greenkernels_raw of ``make raw``, else the one that is compiled on first use."""
    if importlib.util.find_spec("greenkernels_raw"):
        import greenkernels_raw

        return greenkernels_raw
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from greenkernels.raw import _module

    return _module()


def row(raw: ModuleType, isa: str, setup: str, statement: str, calls: int) -> tuple[float, float | None, str]:
    """Median of seconds a call, instructions a call or None, and what counted them, or why nobody did."""
    import numpy as np

    before, names = raw.set_isa(isa), {"np": np, "raw": raw}
    threads = raw.num_threads()
    raw.set_num_threads(1)
    try:
        exec(setup, names)
        code = compile(statement, "statement", "eval")
        seconds = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            eval(code, names)
            seconds.append(time.perf_counter() - begin)
        try:
            counter = Counter()
            counts = [counter.of(lambda: eval(code, names)) for _ in range(calls)]
            return statistics.median(seconds), statistics.median(counts), "perf_event"
        except NoCounter as reason:
            try:
                count = by_valgrind(raw.__file__, isa, setup, statement, calls)
                return statistics.median(seconds), count, "valgrind"
            except NoCounter as other:
                return statistics.median(seconds), None, f"{reason}; {other}"
    finally:
        raw.set_isa(before)
        raw.set_num_threads(threads)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("statement")
    parser.add_argument("--setup", default="")
    parser.add_argument("--isa", default="", help="levels, as in avx2,avx512; default: all of this CPU")
    parser.add_argument("--calls", type=int, default=10, help="that instructions are counted over")
    parser.add_argument("--callgrind", metavar="FILE", help="keep in which functions they are")
    options = parser.parse_args()
    raw = load_raw()
    levels = options.isa.split(",") if options.isa else raw.isa_levels()
    if options.callgrind:
        tool = ("--tool=callgrind", f"--callgrind-out-file={options.callgrind}")
        child = (raw.__file__, levels[0], options.setup, options.statement, str(options.calls))
        under_valgrind(tool, child)
        print(f"wrote {options.callgrind}; callgrind_annotate {options.callgrind} shows it")
    for isa in levels:
        seconds, count, source = row(raw, isa, options.setup, options.statement, options.calls)
        words = f"{count:16,.0f} instructions ({source})" if count is not None else f"not counted: {source}"
        print(f"{isa:12} {seconds * 1e6:10.1f} us {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
