"""What the benchmarks cover: kernels, modules and networks, their cases in bench/ and their rows in bench/results.

python tests/bench_coverage.py    # what has no committed row yet
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from greenkernels import nn, zoo
from greenkernels.measure import Run
from greenkernels.measure.suite import load_suite, suite_names
from greenkernels.report.cases import load_runs

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
CLASSIC = ("vgg16", "resnet18", "resnet50", "mobilenetv2")


def stems() -> set[str]:
    """Every kernel with a torch operator."""
    contracts = (ROOT / "csrc" / "api").glob("*.h")
    return {p.stem for p in contracts if (ROOT / "csrc" / "ops" / f"{p.stem}.cpp").exists()}


def suites_of_module(name: str) -> set[str]:
    """Suites that use the module, beyond importing it."""
    return {suite for suite in suite_names() if name in names_used(suite)}


@cache
def names_used(suite: str) -> set[str]:
    tree = ast.parse((ROOT / "bench" / f"test_bench_{suite}.py").read_text(encoding="utf-8"))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def cases() -> dict[str, set[str]]:
    """Suite -> names of its cases."""
    return {suite: {case.name for case in load_suite(suite)} for suite in suite_names()}


def measured(runs: list[Run]) -> dict[str, set[str]]:
    """Suite -> cases with a time of one of ours in any of the runs."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for row in run.rows:
            if row.ours and row.time_s is not None and row.thrown_out is None:
                found.setdefault(row.suite, set()).add(row.case)
    return found


def missing(have: dict[str, set[str]]) -> dict[str, list[str]]:
    """Kernels, modules and networks that no suite, or no row, is there for, by what they are."""
    modules = {name for name in nn.__all__ if not any(have.get(suite) for suite in suites_of_module(name))}
    classic = {
        c for c in CLASSIC if not any(re.match(rf"{c}\b", n) for n in have.get("classic_networks", ()))
    }
    # Rows of one network of the zoo may stand under its own name: those of the demo do.
    of_zoo = {n.name for n in zoo.registered()} - have.get("networks", set()) - have.keys()
    return {
        "kernels": sorted(stem for stem in stems() if not have.get(stem)),
        "modules": sorted(modules),
        "networks": sorted(classic | of_zoo),
    }


if __name__ == "__main__":
    for kind, names in missing(measured(load_runs(RESULTS))).items():
        print(f"{kind} without a row: {', '.join(names) or 'none'}")
