"""Compares ops with float64 on random cases, spread evenly over strata: op, instruction set, dtype, sizes, layout.

A case is named by its stratum and a number and is drawn from that name alone, so that ``--case NAME`` runs it again,
anywhere. ``--cases`` or ``--minutes`` say how many; with ``--record`` a run goes on where docs/fuzz.json ended and
writes to it, all or nothing. Exit status 1 if a result was wrong.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import convolutions  # noqa: E402
import products  # noqa: E402
import torch  # noqa: E402
from inputs import LAYOUTS, MAP_LAYOUTS, SIZES, TOLERANCE, Case, fault  # noqa: E402

from greenkernels import _isa  # noqa: E402

warnings.filterwarnings("ignore", message="Sparse CSR")

RESULTS = ROOT / "docs" / "fuzz.json"
MAKERS = products.MAKERS | convolutions.MAKERS
_PIECE = 2000  # cases between two writes


def strata() -> list[str]:
    """op/isa/dtype/size/layout, in an order that any beginning of it is a mixture."""
    names = [
        "/".join((op, isa, dtype, size, layout))
        for op, (_, dtypes) in MAKERS.items()
        for isa, dtype, size, layout in itertools.product(
            _isa.levels(), dtypes, SIZES, MAP_LAYOUTS if op in convolutions.MAKERS else LAYOUTS
        )
    ]
    random.Random(0).shuffle(names)
    return names


def drawn(name: str) -> tuple[Case, str, int]:
    """The case of a name, its instruction set and the number of threads."""
    op, isa, dtype, size, layout = name.partition(":")[0].split("/")
    choose = random.Random(name)
    threads = choose.choice([1, 2, 3])
    return MAKERS[op][0](choose, size, layout, getattr(torch, dtype)), isa, threads


def tried(name: str) -> str | None:
    """Why the result of a case is wrong, or None."""
    try:
        with _isa.forced(name.split("/")[1]):
            case, _, threads = drawn(name)
            torch.set_num_threads(threads)
            return fault(case, case.run(case.x))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def main() -> int:
    """Runs what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--case", metavar="NAME", help="run one case and say what is wrong with it")
    parser.add_argument("--cases", type=int, default=20_000, help="how many (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="as many as this long takes")
    parser.add_argument("--record", action="store_true", help="go on with docs/fuzz.json, and write to it")
    chosen = parser.parse_args()
    if chosen.case:
        wrong = tried(chosen.case)
        print(wrong or "right")
        return 1 if wrong else 0
    return 1 if run(chosen) else 0


def run(chosen: argparse.Namespace) -> list[str]:
    """The names of wrong cases."""
    names = strata()
    before = json.loads(RESULTS.read_text()) if chosen.record and RESULTS.exists() else {}
    same = before.get("strata") == len(names)
    begin = before["cases"] if same else 0
    wrong = list(before["wrong"]) if same else []
    start, index = time.monotonic(), begin
    end = begin + (1 << 62 if chosen.minutes else chosen.cases)
    while index < end and not (chosen.minutes and time.monotonic() - start > 60 * chosen.minutes):
        for index in range(index, min(end, index + _PIECE)):  # noqa: B020
            name = f"{names[index % len(names)]}:{index // len(names)}"
            reason = tried(name)
            if reason:
                wrong.append(name)
                print(f"python tools/fuzz --case {name}  # {reason}", flush=True)
        index += 1
        seconds = time.monotonic() - start
        print(f"{index} cases, {len(wrong)} wrong, {(index - begin) / seconds:.0f} a second", file=sys.stderr)
        if chosen.record:
            write(report(names, index, wrong, before.get("seconds", 0) * same + seconds))
    return wrong


def report(names: list[str], cases: int, wrong: list[str], seconds: float) -> dict[str, Any]:
    """Each stratum had cases // strata of them, the first cases % strata one more."""
    counts: Counter[str] = Counter()
    for place, name in enumerate(names):
        counts["/".join(name.split("/")[:3])] += cases // len(names) + (place < cases % len(names))
    commit = subprocess.run(
        ("git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "cases": cases,
        "wrong": wrong,
        "strata": len(names),
        "least_per_stratum": cases // len(names),
        "tolerance": TOLERANCE,
        "seconds": round(seconds),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {', '.join(_isa.levels())}",
        "cases_by_op_isa_dtype": dict(sorted(counts.items())),
    }


def write(results: dict[str, Any]) -> None:
    """All or nothing, so that a run that is killed loses no result."""
    temporary = RESULTS.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    temporary.replace(RESULTS)


if __name__ == "__main__":
    sys.exit(main())
