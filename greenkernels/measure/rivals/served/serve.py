"""A rival in a process of its own: answers requests, one JSON line each, with the tensors in shared memory.

Runs under the rival's own Python, so it imports the standard library and the program it is told to serve, nothing
else. That program defines ``load(spec, arrays, threads) -> (version, call)``: `arrays` are views of float32 shared
memory by name, and ``call()`` computes one output, any contiguous buffer of float32.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import mmap
import os
import signal
import sys
import time


class Served:
    """The program of one rival and the memory that it shares with whoever asks."""

    def __init__(self, request):
        memory = memoryview(mmap.mmap(request["memory"], 0))
        self.arrays = {
            name: memory[offset : offset + 4 * _product(shape)].cast("f", shape)
            for name, (offset, shape) in request["arrays"].items()
        }
        self.output = self.arrays.pop("output").cast("B")
        spec = importlib.util.spec_from_file_location("served", request["program"])
        program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(program)
        self.version, self.call = program.load(request["spec"], self.arrays, request["threads"])

    def time(self, calls):
        """Seconds a call by this process's clock; the last output goes to the shared memory afterwards."""
        begin = time.perf_counter()
        for _ in range(calls):
            output = self.call()
        seconds = (time.perf_counter() - begin) / calls
        view = memoryview(output).cast("B")
        if len(view) != len(self.output):
            raise ValueError(f"output has {len(view)} bytes, expected {len(self.output)}")
        self.output[:] = view
        return seconds


def serve(requests, answers):
    """Answers until the requests end."""
    served = None
    for line in requests:
        request = json.loads(line)
        try:
            if "program" in request:
                served = Served(request)
                answer = {"version": served.version}
            else:
                answer = {"seconds": served.time(request["calls"])}
        except Exception as error:  # told to whoever asks; this process goes on
            first = (str(error).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {first}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _product(shape):
    count = 1
    for extent in shape:
        count *= extent
    return count


def _die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() == 1:  # it died before the call
        sys.exit(1)


if __name__ == "__main__":
    _die_with_parent()
    with os.fdopen(os.dup(1), "w") as private:
        os.dup2(2, 1)  # what the rival prints must not get among the answers
        serve(sys.stdin, private)
