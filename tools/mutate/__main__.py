"""Random changes of csrc/cpu, each of one token: do the C++ tests notice? Goes on where the last run ended.

A copy of the tree in build/mutate is changed, and of it what reads the changed file is compiled; the test programs with
such a part run, up to the first that fails. The rows are in docs/mutations.json; one whose file has changed since is
taken again. Survivors that compute the same get their reason in tools/mutate/reasons.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import limits
import mutations
import programs
import record

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "docs" / "mutations.json", ROOT / "docs" / "mutations.md"
REASONS = ROOT / "tools" / "mutate" / "reasons.json"
TREE = ROOT / "build" / "mutate"
BUILD = TREE / "build"
FLAGS = ("-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1")
SEED = 16
PRODUCTS = "3e6"  # that a case of the tests may take, as under ThreadSanitizer


def main() -> int:
    """Prints a line for each change; returns 0."""
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop then, between two changes")
    parser.add_argument("--count", type=int, default=record.COUNT, help="changes that compile and alter code")
    parser.add_argument("--list", action="store_true", help="print the changes in their order, build nothing")
    parser.add_argument("--page", action="store_true", help="write the page from the rows, build nothing")
    chosen = parser.parse_args()
    if chosen.list:
        for _, mutation in zip(range(chosen.count), mutations.drawn(ROOT, "csrc/cpu", SEED), strict=False):
            print(f"{mutation.file}:{mutation.line}: {mutation.old} -> {mutation.new}")
        return 0
    if not chosen.page:
        run(chosen.count, time.monotonic() + 60 * chosen.minutes)
    rows, reasons = record.known(ROOT, RESULTS), json.loads(REASONS.read_text())
    PAGE.write_text(record.page(PAGE.read_text(), rows, reasons))
    print(record.summary(rows, reasons))
    return 0


def run(count: int, deadline: float) -> None:
    """Takes changes until `count` rows count, or the time has come."""
    os.environ["GREENKERNELS_TEST_PRODUCTS"] = PRODUCTS
    rows = record.known(ROOT, RESULTS)
    taken = {record.identity(row) for row in rows}
    built = baseline()
    for mutation in mutations.drawn(ROOT, "csrc/cpu", SEED):
        if record.counted(rows) >= count or time.monotonic() > deadline:
            return
        if record.identity(mutation) in taken:
            continue
        begin = time.perf_counter()
        row = mutation._asdict() | {"sha256": record.digest(ROOT / mutation.file)} | built.outcome(mutation)
        rows.append(row)
        record.write(RESULTS, SEED, rows)
        told = " ".join([row["result"], row.get("by", ""), row.get("how", "")]).rstrip()
        place = f"{mutation.file}:{mutation.line}: {mutation.old} -> {mutation.new}"
        print(
            f"{record.counted(rows)}/{count} {place}: {told} ({time.perf_counter() - begin:.0f} s)",
            flush=True,
        )


def copy_tree() -> None:
    """What CMake needs; files that are the same keep their time, so that they are not compiled again."""
    TREE.mkdir(parents=True, exist_ok=True)
    wanted = {Path("CMakeLists.txt")}
    for folder in ("csrc/api", "csrc/cpu", "csrc/raw", "tests/cpp"):
        wanted |= {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
    for name in wanted:
        to = TREE / name
        if not (to.exists() and to.read_bytes() == (ROOT / name).read_bytes()):
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to)
    for folder in ("csrc", "tests"):
        for path in (TREE / folder).rglob("*"):
            if path.is_file() and path.relative_to(TREE) not in wanted:
                path.unlink()


def baseline() -> programs.Built:
    """The tree built as it is, and how long each test program takes."""
    copy_tree()
    cache = shutil.which("ccache")
    launcher = (f"-DCMAKE_CXX_COMPILER_LAUNCHER={cache}",) if cache else ()
    configure = ("cmake", "-G", "Ninja", "-S", TREE, "-B", BUILD, *FLAGS, *launcher)
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(("cmake", "--build", BUILD), check=True, stdout=subprocess.DEVNULL)
    built = programs.of_cmake(TREE, BUILD)
    times = BUILD / "times.json"
    seconds = json.loads(times.read_text()) if times.exists() else {}
    for program in built.programs:
        key = f"{program.path.name} {record.digest(program.path)}"
        if key not in seconds:
            seconds[key] = limits.cpu_of((program.path,))
            times.write_text(json.dumps(seconds))
        program.cpu_s = seconds[key]
    return built


if __name__ == "__main__":
    sys.exit(main())
