"""The rows of docs/mutations.json and the table of docs/mutations.md."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mutations import Mutation
from programs import CAUGHT, SURVIVED

Row = dict[str, Any]
COUNT, PROMISED = 200, 90.0  # changes that count, per cent of them that are caught
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def known(root: Path, results: Path) -> list[Row]:
    """Rows of earlier runs whose files are as they were."""
    rows = json.loads(results.read_text())["rows"] if results.exists() else []
    return [
        row for row in rows if (root / row["file"]).exists() and row["sha256"] == digest(root / row["file"])
    ]


def digest(path: Path) -> str:
    """What tells one file from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def identity(change: Mutation | Row) -> tuple[Any, ...]:
    """What tells one change from another."""
    told = change._asdict() if isinstance(change, Mutation) else change
    return told["file"], told["at"], told["old"], told["new"]


def counted(rows: list[Row]) -> int:
    """Rows that count: the change compiles and alters code."""
    return sum(row["result"] in (CAUGHT, SURVIVED) for row in rows)


def write(results: Path, seed: int, rows: list[Row]) -> None:
    """All or nothing, so that a run that is killed loses no row."""
    machine = platform.processor() or platform.machine()
    date = datetime.now(timezone.utc).date().isoformat()
    told = {"seed": seed, "date": date, "machine": machine, "rows": rows}
    part = results.with_suffix(".part")
    part.write_text(json.dumps(told, indent=1) + "\n")
    part.replace(results)


def summary(rows: list[Row], reasons: list[Row]) -> str:
    """How many were caught of those that can be."""
    explained = {identity(reason): reason["reason"] for reason in reasons}
    results = Counter(row["result"] for row in rows)
    same = sum(row["result"] == SURVIVED and bool(explained.get(identity(row))) for row in rows)
    total = results[CAUGHT] + results[SURVIVED] - same
    share = f" ({100 * results[CAUGHT] / total:.1f} %)" if total else ""
    return f"{results[CAUGHT]} of {total} caught{share}; {same} equivalent; {len(rows) - total - same} drawn again"


def page(text: str, rows: list[Row], reasons: list[Row]) -> str:
    """The page with the count and the survivors between its markers."""
    explained = {identity(reason): reason["reason"] for reason in reasons}
    lines = [f"Taken: {counted(rows)} of {COUNT}. {summary(rows, reasons)}.", ""]
    survivors = [row for row in rows if row["result"] == SURVIVED]
    if survivors:
        lines += ["| survivor | change | why |", "|---|---|---|"]
        for row in sorted(survivors, key=identity):
            why = explained.get(identity(row), "**no test notices**")
            lines.append(f"| `{row['file']}` {row['line']} | `{row['old']}` to `{row['new']}` | {why} |")
        lines.append("")
    head, _, rest = text.partition(BEGIN)
    return head + "\n".join([BEGIN, "", *lines, END]) + rest.partition(END)[2]
