"""The gate for CUDA kernels, without a GPU: what nvcc made of them against budget.json. ``make gpu-gate``.

For each kernel and architecture: registers, spills, occupancy, and what the hottest loop is made of (resources.py,
sass.py); for each stem that the budget simulates: bank conflicts and sectors (greenkernels.ptxsim). Exit status 1 if
anything is over its budget or has none.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from budget import Verdict, judge, judge_simulation
from resources import MissingToolError, Toolchain
from rich.console import Console
from rich.table import Table
from sass import kernels_of
from simulated import hot_lines

HERE = Path(__file__).resolve().parent
WIDTH = 120  # of the table, in a log too
COLUMNS = ("registers", "spill_bytes", "occupancy", "ffma_share", "mma_share", "lds128_share", "loop")


def main() -> int:
    """Prints a row for each kernel, then each breach; returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--budget", type=Path, default=HERE / "budget.json")
    arguments.add_argument(
        "--arch", type=int, action="append", help="such as 80; default: those of the budget"
    )
    arguments.add_argument("--no-simulation", action="store_true", help="the static part alone")
    chosen = arguments.parse_args()
    budget = json.loads(chosen.budget.read_text())
    try:
        toolchain = Toolchain.find()
    except MissingToolError as missing:
        print(missing, file=sys.stderr)
        return 2
    if toolchain.version != budget["nvcc"]:
        print(f"budgets are for nvcc {budget['nvcc']}, this is {toolchain.version}: numbers may differ")
    verdicts = static_verdicts(toolchain, budget, chosen.arch or budget["architectures"])
    breaches = [f"{v.kernel} sm_{v.architecture}: {b}" for v in verdicts for b in v.breaches]
    if not chosen.no_simulation:
        for entry in budget["simulations"]:
            breaches += [f"{entry['stem']}: {b}" for b in judge_simulation(entry, hot_lines(entry))]
    Console(width=WIDTH).print(table_of(verdicts))
    for breach in breaches:
        print(f"FAIL {breach}")
    print(f"{len(verdicts)} kernels, {len(breaches)} breaches")
    return 1 if breaches else 0


def static_verdicts(toolchain: Toolchain, budget: dict, architectures: list[int]) -> list[Verdict]:
    """Compiles every translation unit for every architecture and judges its kernels."""
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in architectures:
            for source in toolchain.sources():
                cubin, resources = toolchain.assemble(source, architecture, Path(folder))
                loops = kernels_of(toolchain.disassemble(cubin))
                for name, used in resources.items():
                    verdicts.append(judge(budget, toolchain, architecture, name, used, loops[name]))
    return verdicts


def table_of(verdicts: list[Verdict]) -> Table:
    """A row for each kernel and architecture."""
    table = Table(title="CUDA kernels: static measures, nothing is timed")
    for name in ("kernel", "sm", *(name.replace("_", " ") for name in COLUMNS), ""):
        table.add_column(name, justify="left" if name == "kernel" else "right", no_wrap=name == "kernel")
    for verdict in verdicts:
        numbers = [verdict.measures.get(name) for name in COLUMNS]
        cells = ["-" if n is None else f"{n:.3g}" if isinstance(n, float) else str(n) for n in numbers]
        state = "FAIL" if verdict.breaches else "ok"
        table.add_row(verdict.kernel, str(verdict.architecture), *cells, state)
    return table


if __name__ == "__main__":
    sys.exit(main())
