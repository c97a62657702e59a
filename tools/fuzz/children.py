"""Runs draws in processes of their own, so that a case that kills its process is found, named and left behind.

A child notes the name of each case in a file before it runs it. One that dies, or stands still, is started again
without that case.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_BYTES = 256  # of a name
_STILL = 120  # seconds that one case may take; its process is awake in them
_START = 600  # and that it may take before its first case: torch is loaded then


def serve(path: str) -> None:
    """A child: for each line with an op and a range of draws, one line with the results."""
    import cases  # torch, which the parent does without while children run

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it when the draws under way are done
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), _BYTES) as noted:

        def begun(name: str) -> None:
            noted[:] = name.encode().ljust(_BYTES, b"\0")

        for line in sys.stdin:
            print(json.dumps(_results(json.loads(line), begun, cases)), flush=True)


def _results(piece: dict[str, Any], begun: Any, cases: Any) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    wrong = {}
    for number in range(piece["begin"], piece["end"]):
        draw = cases.draw_of(piece["op"], number)
        for name, reason in cases.cases(draw, begun, piece["without"]):
            if name != cases.named(draw):
                counts[name.partition("/")[2].partition(":")[0]] += 1
            if reason:
                wrong[name] = reason
    return {"counts": counts, "wrong": wrong}


class Child:
    """One process, which is there when it is needed."""

    def __init__(self, program: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._noted = Path(self._folder.name) / "case"
        self._program = [*program, str(self._noted)]
        self._process: subprocess.Popen[str] | None = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._noted.write_bytes(bytes(_BYTES))
            # More threads than cores are asked for at times: they must sleep while they wait.
            environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
            self._process = subprocess.Popen(
                self._program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        return self._process

    def results(self, op: str, begin: int, end: int) -> dict[str, Any]:
        """Of these draws: the number of cases of each stratum, and what was wrong by name."""
        killed: dict[str, str] = {}
        while True:
            piece = {"op": op, "begin": begin, "end": end, "without": sorted(killed)}
            answer = self._answer(json.dumps(piece))
            if answer:
                found = json.loads(answer)
                found["wrong"].update(killed)
                return found
            name = self._noted.read_bytes().rstrip(b"\0").decode()
            if not name or name in killed:
                raise RuntimeError(f"the process of {op} draws {begin} to {end} ends outside of a case")
            killed[name] = self._ended()

    def _answer(self, line: str) -> str:
        """What the child says; nothing if it died or stands still."""
        process = self._started()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return ""
        last, still = b"", 0  # counted in waits, not on a clock: while all are stopped nobody stands still
        while still < (_STILL if last.strip(b"\0") else _START):
            if select.select([process.stdout], [], [], 1.0)[0]:
                return process.stdout.readline()
            now = self._noted.read_bytes()
            last, still = now, still + 1 if now == last else 0
        process.kill()
        return ""

    def _ended(self) -> str:
        """Why the process ended."""
        status = self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None
        if status == -signal.SIGKILL:
            return f"killed: took more than {_STILL} seconds, or all memory"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def close(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
        self._folder.cleanup()
