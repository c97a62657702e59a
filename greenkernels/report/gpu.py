"""The README's GPU table, from the files that ``tools/gpu_check.sh`` wrote and someone sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .tables import error, markdown_table

BEGIN, END = "<!-- gpu:begin -->", "<!-- gpu:end -->"
FOLDER = "gpu"  # within the folder of rows
SCHEMA = 2
HEADERS = ("kernel", "case", "best rival → ours, ms", "ours", "ratio", "eager", "mJ a call", "error")
EMPTY = "none yet"


def load(folder: Path) -> list[dict[str, Any]]:
    """The files of ``folder``, oldest first.

    Raises:
        ValueError: one is of another schema, or of a dry run: its times mean nothing.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("schema") != SCHEMA:
            raise ValueError(f"{path}: schema must be {SCHEMA}, got {data.get('schema')}")
        if data["kind"] != "measured":
            raise ValueError(f"{path}: must be measured, got a {data['kind']}")
        found.append(data)
    return sorted(found, key=lambda data: data["date"])


def section(files: Sequence[Mapping[str, Any]]) -> str:
    """The text between the markers: a table for each GPU, or one that waits for the first."""
    newest = {data["device"]: data for data in files}  # of each GPU
    if not newest:
        return markdown_table(HEADERS, [(EMPTY, *("",) * (len(HEADERS) - 1))])
    return "\n\n".join(part for data in newest.values() for part in _device(data))


def _device(data: Mapping[str, Any]) -> list[str]:
    tests = data["tests"]["summary"] if data["tests"] else "not run"
    versions = data["versions"]
    head = (
        f"**{data['device']}** (compute capability {data['capability']}), torch {versions['torch']}, CUDA "
        f"{versions['cuda']}, {data['date'][:10]}. Tests on it: {tests.strip('= ')}. Times are those of calls in a "
        "CUDA graph; eager: the ratio where Python launches each call. Joules: NVML. -: not measured."
    )
    if "note" in data:
        head += f" {data['note']}"
    return [head, markdown_table(HEADERS, _rows(data["rows"]), right=(4, 5, 6))]


def _rows(rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each case: the fastest of both sides, TF32 apart, since its results have other digits."""
    cases: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if "failed" not in row and not row["wrong"]:
            cases.setdefault((row["stem"], row["case"]), []).append(row)
    table = []
    for (stem, case), found in cases.items():
        ours = [row for row in found if row["ours"]]
        for word in ("", "TF32"):
            rivals = [row for row in found if not row["ours"] and ("TF32" in row["contender"]) == bool(word)]
            if ours and rivals:
                table.append(_row(stem, case, _fastest(ours), _fastest(rivals)))
    return table


def _row(stem: str, case: str, ours: Mapping[str, Any], rival: Mapping[str, Any]) -> list[str]:
    times = f"{rival['contender']} {_milli(rival['time_s'])} → {_milli(ours['time_s'])}"
    both = [row["energy_j"] for row in (rival, ours)]
    energy = "-" if None in both else " → ".join(map(_milli, both))
    ratio = f"{rival['time_s'] / ours['time_s']:.2f}x"
    one_by_one = [row["eager_s"] for row in (rival, ours)]
    eager = "-" if None in one_by_one else f"{one_by_one[0] / one_by_one[1]:.2f}x"
    shown = "-" if ours["error"] is None else error(ours["error"])
    return [stem, case, times, ours["contender"], ratio, eager, energy, shown]


def _fastest(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return min(rows, key=lambda row: row["time_s"])


def _milli(value: float) -> str:
    return f"{value * 1e3:.3g}"
