"""Rows of a benchmark as a table for the terminal: cold before warm, losses included."""

from __future__ import annotations

from itertools import groupby

from ..report.tables import each_joule, error, millijoules, milliseconds, ratio, text_table
from .provenance import Kind, Measurement
from .rows import Row

HEADERS = (
    "case",
    "threads",
    "cache",
    "contender",
    "ms [quartiles]",
    "best rival / this",
    "of FMA",
    "error",
)


def table(rows: list[Row]) -> str:
    """Every contender, fastest first, and the ratio against the fastest rival of its case; joules by their kinds."""
    kinds = list(dict.fromkeys(row.energy_j.kind for row in rows if row.energy_j is not None))
    judged = {row.extra["per_joule_of"]: None for row in rows if row.extra.get("per_joule")}
    lines = []
    ordered = sorted(
        rows, key=lambda row: (row.suite, row.case, row.threads, row.cache)
    )  # "cold" before "warm"
    for (case, threads, cache), group in groupby(ordered, key=lambda row: (row.case, row.threads, row.cache)):
        of_case = list(group)
        rivals = [r for r in of_case if not r.ours and r.time_s and not r.thrown_out]
        best = min(rivals, key=lambda r: r.time_s.value, default=None)
        for row in sorted(of_case, key=lambda r: r.time_s.value if r.time_s else float("inf")):
            against = best.time_s / row.time_s if best and row.time_s else None
            cells = (
                milliseconds(row.time_s, spread=True),
                ratio(against),
                share(row.share_of("fma")),
                error(row.max_relative_error),
                *(millijoules(joules_of(row, kind)) for kind in kinds),
                row.thrown_out or ("noisy" if row.noisy else ""),
                *(each_joule(score_per_joule(row, score)) for score in judged),
            )
            lines.append((case, str(threads), cache, named(row), *cells))
    headers = (
        *HEADERS,
        *(f"mJ ({kind.value})" for kind in kinds),
        "note",
        *(f"{score} / J" for score in judged),
    )
    note = headers.index("note")
    return text_table(headers, lines, right=(1, *range(4, note), *range(note + 1, len(headers))))


def score_per_joule(row: Row, score: str | None = None) -> Measurement | None:
    """What the row says of its contender's score per joule; None below its floor, and where it is of another score."""
    found = row.extra.get("per_joule", {}).get(row.contender)
    wanted = found and score in (None, row.extra["per_joule_of"])
    return Measurement.from_json(found) if wanted else None


def joules_of(row: Row, kind: Kind) -> Measurement | None:
    """J of that kind: a column holds one."""
    return row.energy_j if row.energy_j is not None and row.energy_j.kind is kind else None


def named(row: Row) -> str:
    """The contender with the version and flags that it ran with."""
    return " ".join(
        part for part in (row.contender, row.version, f"({row.flags})" if row.flags else "") if part
    )


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
