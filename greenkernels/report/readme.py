"""The results in the README: tables between markers, written from committed rows, never by hand."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..measure.machine import csrc_hash
from ..measure.rows import Row, Run
from .tables import error, markdown_table

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MIN_RUNS = 3  # full runs before a number may stand in the README


@dataclass
class Line:
    """One case at one thread number over several runs: the best rival against the best of ours."""

    suite: str
    case: str
    threads: int
    rival: str
    ours: str
    rival_s: float
    ours_s: float
    ratios: list[float]
    error: float | None
    noisy: bool
    extra: dict[str, object]


def load_runs(folder: Path) -> list[Run]:
    """Every run in the folder, oldest first."""
    return sorted((Run.load(path) for path in folder.glob("*.json")), key=lambda run: run.date)


def lines_of(runs: Sequence[Run]) -> list[Line]:
    """Medians over runs, case by case, in the order of the rows; a case with too few runs is left out."""
    cases: dict[tuple[str, str, int], list[list[Row]]] = {}
    for run in runs:
        of_run: dict[tuple[str, str, int], list[Row]] = {}
        for row in run.rows:
            of_run.setdefault((row.suite, row.case, row.threads), []).append(row)
        for key, rows in of_run.items():
            cases.setdefault(key, []).append(rows)
    lines = (_line(key, rows) for key, rows in cases.items() if len(rows) >= MIN_RUNS)
    return [line for line in lines if line is not None]


def _line(key: tuple[str, str, int], by_run: list[list[Row]]) -> Line | None:
    rival, ours = (_fastest(by_run, side) for side in (False, True))
    if rival is None or ours is None:
        return None
    pairs = [(_seconds(rows, rival), _seconds(rows, ours)) for rows in by_run]
    pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
    rows = [row for rows in by_run for row in rows if row.contender == ours]
    return Line(
        *key,
        rival=rival,
        ours=ours,
        rival_s=statistics.median(a for a, _ in pairs),
        ours_s=statistics.median(b for _, b in pairs),
        ratios=[a / b for a, b in pairs],
        error=max((r.max_relative_error for r in rows if r.max_relative_error is not None), default=None),
        noisy=any(row.noisy for row in rows),
        extra=rows[-1].extra,
    )


def _fastest(by_run: list[list[Row]], ours: bool) -> str | None:
    """The contender with the least median time among those that ran, unrefuted, in every run."""
    times: dict[str, list[float]] = {}
    for rows in by_run:
        for row in rows:
            if row.ours == ours and row.time_s is not None and row.thrown_out is None:
                times.setdefault(row.contender, []).append(row.time_s.value)
    full = {name: statistics.median(values) for name, values in times.items() if len(values) == len(by_run)}
    return min(full, key=full.__getitem__, default=None)


def _seconds(rows: Iterable[Row], contender: str) -> float | None:
    return next((row.time_s.value for row in rows if row.contender == contender and row.time_s), None)


def results_text(folder: Path, root: Path) -> str:
    """The text between the markers."""
    runs = load_runs(folder)
    sections = []
    machines: dict[str, list[Run]] = {}
    for run in runs:
        machines.setdefault(_machine(run), []).append(run)
    for machine, of_machine in machines.items():
        sections += _section(machine, of_machine, csrc_hash(root))
    if not sections:
        return (
            f"No results yet: a number stands here after {MIN_RUNS} full runs "
            f"(`greenkernels bench --processes {MIN_RUNS}`, then `python -m greenkernels.report`)."
        )
    return "\n\n".join(sections)


def _machine(run: Run) -> str:
    cpu = run.machine["cpu"]
    return f"{cpu['name']} (family/model {cpu['family_model']}), {cpu['cores']} core(s)"


def _section(machine: str, runs: list[Run], current: str) -> list[str]:
    newest = runs[-1]
    same = [run for run in runs if run.source["csrc_hash"] == newest.source["csrc_hash"]]
    lines = lines_of(same)
    if not lines:
        return []
    stale = newest.source["csrc_hash"] != current
    head = f"**{machine}**, torch {newest.versions['torch']}, float32, {newest.date[:10]}."
    if stale:
        head += " **Stale: the kernels have changed since.**"
    headers = ["case", "threads", "best torch", "ms", "ours", "ms", "ratio [range over runs]", "error", ""]
    rows = [_cells(line) for line in lines]
    note = (
        "Medians over the runs; warm; layout conversions of whole networks inside the time. Error: relative to "
        "float64. Times of a row were taken in turns in one process."
    )
    return [head, markdown_table(headers, rows, right=(1, 3, 5, 6, 7)), note]


def _cells(line: Line) -> list[str]:
    middle, low, high = statistics.median(line.ratios), min(line.ratios), max(line.ratios)
    remarks = ["loses" if high < 1 else "even" if low < 1 else "", "noisy" if line.noisy else ""]
    if "relative_difference" in line.extra:
        remarks.append(f"difference to torch {error(line.extra['relative_difference'])}")
    return [
        line.case,
        str(line.threads),
        line.rival.removeprefix("torch "),
        f"{line.rival_s * 1e3:.3g}",
        line.ours.removeprefix("greenkernels "),
        f"{line.ours_s * 1e3:.3g}",
        f"{middle:.2f}x [{low:.2f}, {high:.2f}]",
        error(line.error),
        ", ".join(remark for remark in remarks if remark),
    ]


def write_between_markers(readme: Path, text: str) -> bool:
    """Put `text` between the markers; True if the file changed.

    Raises:
        ValueError: the file has not exactly one pair of markers.
    """
    old = readme.read_text(encoding="utf-8")
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise ValueError(f"{readme}: must have one {BEGIN} and, after it, one {END}")
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2]
    new = f"{before}{BEGIN}\n{text}\n{END}{after}"
    if new == old:
        return False
    readme.write_text(new, encoding="utf-8")
    return True
