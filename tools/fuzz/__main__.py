"""Compares ops and modules with float64 on random cases, spread over strata: op, instruction set, dtype, sizes, layout.

A case is named by its stratum and a number and is drawn from that name alone, so that ``--case NAME`` runs it again,
anywhere. ``--cases`` or ``--minutes`` say how many; with ``--record`` a run goes on where docs/fuzz.json ended for the
kernels of this checkout, and writes to it, all or nothing. Exit status 1 if a result was wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import children  # noqa: E402
import record  # noqa: E402
from cases import MAKERS, strata, tried  # noqa: E402

for known in ("Sparse CSR", "Initializing zero-element"):
    warnings.filterwarnings("ignore", message=known)

PIECE = 32  # draws of an op between two answers of a child
_BETWEEN = 10.0  # seconds between two writes
CHILD = (sys.executable, str(Path(__file__).resolve().parent), "--child")


def main() -> int:
    """Runs what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--case", metavar="NAME", help="run one case, or one draw, and say what is wrong with it"
    )
    parser.add_argument("--cases", type=int, default=200_000, help="how many (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="as many as this long takes")
    parser.add_argument("--only", nargs="+", choices=MAKERS, default=list(MAKERS), metavar="OP")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--record", action="store_true", help="go on with docs/fuzz.json, and write to it")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        children.serve(chosen.child)
        return 0
    if chosen.case:
        wrong = tried(chosen.case)
        print("\n".join(f"{name}: {reason}" for name, reason in wrong.items()) or "right")
        return 1 if wrong else 0
    stale = record.stale_source() if chosen.record else None
    if stale:
        parser.error(f"{stale.relative_to(ROOT)} is newer than {record.binary()}: build it first")
    run = Run(chosen)
    run.all(chosen.processes)
    run.record.write()
    return 1 if run.record.wrong else 0


class Run:
    """Hands out pieces of ops to child processes, that with the fewest cases a stratum first."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.record = record.Record(
            record.kernels_of(tuple(MAKERS)), record.RESULTS if chosen.record else None
        )
        self._only, self._strata = chosen.only, {op: len(strata(op)) for op in chosen.only}
        self._most = None if chosen.minutes else self.record.cases + chosen.cases
        self._deadline = time.monotonic() + 60 * chosen.minutes if chosen.minutes else None
        self._begun = self._written = time.monotonic()
        self._seconds, self._first = self.record.run["seconds"], self.record.cases
        self._lock, self._busy, self._failed = threading.Lock(), set(), []

    def all(self, processes: int) -> None:
        """Until enough is done, with so many processes; Ctrl-C ends it after the draws under way."""
        threads = [threading.Thread(target=self._work) for _ in range(processes)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self._most = 0
            for thread in threads:
                thread.join()
        if self._failed:
            raise self._failed[0]

    def _work(self) -> None:
        child = children.Child(CHILD)
        try:
            while op := self._next():
                begin = self.record.ops[op]["draws"]
                found = child.results(op, begin, begin + PIECE)
                self._done(op, found)
        except (OSError, RuntimeError, ValueError) as error:
            self._failed.append(error)
        finally:
            child.close()

    def _next(self) -> str | None:
        """An op that no other process is at, whose draws follow on each other so."""
        with self._lock:
            over = self._deadline is not None and time.monotonic() > self._deadline
            if over or self._failed or (self._most is not None and self.record.cases >= self._most):
                return None
            free = [op for op in self._only if op not in self._busy]
            if not free:
                return None
            op = min(free, key=lambda op: self.record.ops[op]["cases"] / self._strata[op])
            self._busy.add(op)
            return op

    def _done(self, op: str, found: dict[str, dict[str, object]]) -> None:
        with self._lock:
            self._busy.discard(op)
            self.record.add(op, PIECE, found["counts"], found["wrong"])
            for name, reason in found["wrong"].items():
                print(f"python tools/fuzz --case {name}  # {reason}", flush=True)
            self._report(time.monotonic())

    def _report(self, now: float) -> None:
        seconds = now - self._begun
        self.record.run["seconds"] = round(self._seconds + seconds)
        if now - self._written > _BETWEEN:
            self._written = now
            self.record.write()
            cases, wrong = self.record.cases, len(self.record.wrong)
            rate = (cases - self._first) / seconds
            print(f"{cases} cases, {wrong} wrong, {rate:.0f} a second", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
