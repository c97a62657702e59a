"""docs/fuzz.json: how many cases of each op ran on the kernels of this checkout, and which were wrong.

Counts belong to the sources of an op's kernels: where these changed they begin again, and what was found before moves
to "former". So results of different kernels are never added up.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inputs import MAP_LAYOUTS, SIZES
from verdicts import TOLERANCE

from greenkernels import _build
from greenkernels.measure.kernel_sources import SOURCES, stem_hashes
from greenkernels.measure.machine import cpu_facts

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "fuzz.json"
COLUMNS = " ".join(
    f"{size}/{layout}" for size in SIZES for layout in MAP_LAYOUTS
)  # of the counts of each isa/dtype
# The kernels of what is not named as they are.
STEMS = {
    "matmul": ("sgemm",),
    "csr_matmul_values_grad": ("csr_matmul",),
    "winograd_conv2d_input_grad": ("winograd_conv2d",),
    "winograd_conv2d_weight_grad": ("winograd_conv2d",),
    "StrassenLinear": ("strassen_gemm",),
    "SparseLinear": ("csr_matmul",),
    "HalfLinear": ("half_gemm",),
    "Int8Linear": ("int8_gemm",),
    "Int4Linear": ("int4_gemm",),
    "CodebookLinear": ("codebook_gemm",),
    "LinearLSTM": ("strassen_gemm", "csr_matmul"),
    "LinearGRU": ("strassen_gemm", "csr_matmul"),
    "DirectConv2d": ("direct_conv2d",),
    "DepthwiseConv2d": ("depthwise_conv2d",),
    "WinogradConv2d": ("winograd_conv2d",),
    "StrassenConv2d": ("strassen_conv2d",),
    "SparseConv2d": ("csr_conv2d", "csr_matmul"),
    "Int8Conv2d": ("int8_conv2d", "int8_winograd_conv2d"),
    "PairedMaxPool2d": (),  # operations of torch
    "SeparableConv2d": ("separable_conv2d",),
    "InvertedBottleneck": ("separable_conv2d",),
}


def kernels_of(ops: tuple[str, ...]) -> dict[str, str]:
    """For each op or module a hash over the sources of the kernels that it runs."""
    hashes = stem_hashes(ROOT)
    found = {}
    for op in ops:
        parts = [hashes[stem] for stem in STEMS.get(op, (op,))]
        found[op] = parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
    return found


def binary() -> Path:
    """The compiled kernels that are in use."""
    return Path(_build.status().path)


def stale_source() -> Path | None:
    """A source of the kernels that is newer than the binary, if there is one."""
    built = binary().stat().st_mtime
    sources = (path for path in (ROOT / "csrc").rglob("*") if path.suffix in SOURCES)
    return next((path for path in sources if path.stat().st_mtime > built), None)


class Record:
    """The results so far; ``path`` None: of this run alone, written nowhere."""

    def __init__(self, kernels: Mapping[str, str], path: Path | None) -> None:
        self.path = path
        before = json.loads(path.read_text()) if path and path.exists() else {}
        self.ops: dict[str, dict[str, Any]] = {}
        self.runs: list[dict[str, Any]] = before.get("runs", [])
        self.former: list[dict[str, Any]] = before.get("former", [])
        for op, found in before.get("ops", {}).items():
            if found["kernels"] == kernels.get(op):
                self.ops[op] = found | {"counts": _counts(before["columns"], found["counts"])}
            else:
                self.former.append({"op": op} | {key: found[key] for key in ("kernels", "cases", "wrong")})
        for op, kernel in kernels.items():
            self.ops.setdefault(op, {"kernels": kernel, "draws": 0, "cases": 0, "wrong": {}, "counts": {}})
        self.run = self._begun()

    def _begun(self) -> dict[str, Any]:
        """The entry of this run: an earlier one of this day, machine, commit and binary, or a new one."""
        described = ("git", "describe", "--always", "--exclude=*", "--abbrev=16", "--dirty=+")
        done = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=False)
        about = {
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "commit": done.stdout.strip() or "unknown",
            "build": hashlib.sha256(binary().read_bytes()).hexdigest()[:16],
            "machine": f"{cpu_facts()['name']}, {os.cpu_count()} cores",
        }
        same = (run for run in self.runs if about.items() <= run.items())
        run = next(same, None) or {**about, "cases": 0, "seconds": 0}
        if run not in self.runs:
            self.runs.append(run)
        return run

    def add(self, op: str, draws: int, counts: Mapping[str, int], wrong: Mapping[str, str]) -> None:
        """Notes the next draws of an op, with how many cases of each isa/dtype/size/layout there were."""
        found, cases = self.ops[op], sum(counts.values())
        found["draws"] += draws
        found["cases"] += cases
        found["wrong"].update(wrong)
        for stratum, count in counts.items():
            found["counts"][stratum] = found["counts"].get(stratum, 0) + count
        self.run["cases"] += cases

    @property
    def cases(self) -> int:
        return sum(found["cases"] for found in self.ops.values())

    @property
    def wrong(self) -> dict[str, str]:
        return {name: reason for found in self.ops.values() for name, reason in found["wrong"].items()}

    def write(self) -> None:
        """All or nothing, so that a run that is killed loses no result."""
        if self.path is None:
            return
        each = [count for found in self.ops.values() for count in found["counts"].values()]
        results = {
            "cases": self.cases,
            "wrong": self.wrong,
            "tolerance": TOLERANCE,
            "strata": len(each),
            "least_per_stratum": min(each, default=0),
            "runs": self.runs,
            "former": self.former,
            "columns": COLUMNS,
            "ops": {op: found | {"counts": _rows(found["counts"])} for op, found in sorted(self.ops.items())},
        }
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(results, indent=1) + "\n")
        temporary.replace(self.path)


def _rows(counts: Mapping[str, int]) -> dict[str, str]:
    """isa/dtype -> the numbers of cases of the columns, on one line of the file."""
    heads = sorted({"/".join(stratum.split("/")[:2]) for stratum in counts})
    return {
        head: " ".join(str(counts.get(f"{head}/{column}", 0)) for column in COLUMNS.split()) for head in heads
    }


def _counts(columns: str, rows: Mapping[str, str]) -> dict[str, int]:
    """The reverse, without the strata that have no case."""
    return {
        f"{head}/{column}": int(count)
        for head, row in rows.items()
        for column, count in zip(columns.split(), row.split(), strict=True)
        if int(count)
    }
