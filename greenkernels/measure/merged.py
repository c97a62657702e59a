"""Runs of many machines in one file: what was measured is taken over as it is, each measurement once.

A file of rows holds one run (schema 2, `Run.save`) or, merged, any number of them (schema 3).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .rows import READABLE, Row, Run, write_json

MERGED = 3  # the schema of a merged file


@dataclass
class Merged:
    """Runs and what was left out of them.

    Attributes:
        runs: oldest first.
        left_out: what was there twice, in words.
    """

    runs: list[Run]
    left_out: list[str] = field(default_factory=list)

    def save(self, path: Path) -> Path:
        """All or nothing."""
        return write_json(path, {"schema": MERGED, "runs": [run.to_json() for run in self.runs]})


def runs_in(path: Path) -> list[Run]:
    """Every run in a file of rows, merged or not.

    Raises:
        ValueError: it cannot be read, is no such file, or of a schema that nobody here knows.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as problem:
        raise ValueError(f"{path}: must be a file of benchmark rows: {problem}") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema not in (*READABLE, MERGED):
        known = " or ".join(map(str, (*READABLE, MERGED)))
        raise ValueError(f"{path}: schema must be {known}, got {schema}")
    try:
        return (
            [Run.from_json(run, path) for run in data["runs"]]
            if schema == MERGED
            else [Run.from_json(data, path)]
        )
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{path}: must hold rows of schema {schema}, but it misses {problem}") from None


def files_of(sources: Iterable[Path]) -> list[Path]:
    """The files named, and those in the folders named.

    Raises:
        ValueError: one is not there, or a folder has none.
    """
    found: list[Path] = []
    for source in sources:
        files = sorted(source.glob("*.json")) if source.is_dir() else [source]
        if not files:
            raise ValueError(f"{source}: must hold files of benchmark rows (*.json), got none")
        found += files
    if not found:
        raise ValueError(
            "--merge needs files of benchmark rows, or folders of them: bench --merge A.json B.json"
        )
    return found


def merge(sources: Iterable[Path]) -> Merged:
    """All runs of these files and folders.

    A run that is there twice is taken once, and an interrupted run is left out where that is there which completed it.

    Raises:
        ValueError: a file cannot be read; a contender is twice on one case of one run; two runs of one machine hold the
            same measurement but are not the same run, so that one of them was changed.
    """
    merged, origin = Merged([]), {}
    for path in files_of(sources):
        for run in runs_in(path):
            _require_once(run, path)
            same = next((other for other in merged.runs if other == run), None)
            if same is not None:
                merged.left_out.append(f"{path}: the run of {run.date} is in {origin[id(same)]} too")
                continue
            origin[id(run)] = path
            merged.runs.append(run)
    _leave_out_completed(merged, origin)
    _require_no_conflict(merged.runs, origin)
    merged.runs.sort(key=lambda run: run.date)
    return merged


def _key(row: Row) -> tuple[Any, ...]:
    """Who was measured on what."""
    return (row.suite, row.case, row.contender, row.threads, row.dtype, row.cache)


def _require_once(run: Run, path: Path) -> None:
    seen = set()
    for row in run.rows:
        if row.time_s is None:
            continue  # says why somebody is absent
        if _key(row) in seen:
            raise ValueError(
                f"{path}: a run must time each contender once on a case, got {_words(row)} twice in that of {run.date}"
            )
        seen.add(_key(row))


def _words(row: Row) -> str:
    return f"{row.contender} on {row.suite} {row.case} ({row.threads} threads, {row.dtype}, {row.cache})"


def _leave_out_completed(merged: Merged, origin: dict[int, Path]) -> None:
    """`greenkernels bench --resume` writes the rows of the interrupted run again."""
    for run in [run for run in merged.runs if run.partial]:
        whole = next((other for other in merged.runs if _completes(other, run)), None)
        if whole is not None:
            merged.left_out.append(
                f"{origin[id(run)]}: the interrupted run of {run.date} is completed in {origin[id(whole)]}"
            )
            merged.runs = [other for other in merged.runs if other is not run]


def _completes(whole: Run, part: Run) -> bool:
    same = whole is not part and (whole.machine, whole.source) == (part.machine, part.source)
    return same and len(whole.rows) > len(part.rows) and all(row in whole.rows for row in part.rows)


def _require_no_conflict(runs: Sequence[Run], origin: dict[int, Path]) -> None:
    """Two runs never agree in every reading of a time, so that a copied row is no second measurement."""
    seen: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        machine = json.dumps(run.machine, sort_keys=True)
        for row in run.rows:
            if row.time_s is None or not row.time_s.repeats:
                continue
            other = seen.setdefault((machine, _key(row), row.time_s.repeats), run)
            if other is not run:
                both = f"{origin[id(run)]} and {origin[id(other)]}"
                raise ValueError(
                    f"{both}: the runs of {run.date} and {other.date} must not share measurements unless they are the "
                    f"same, got {_words(row)} in both"
                )
