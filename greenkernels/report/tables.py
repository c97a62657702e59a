"""Plain tables for terminals and markdown; numbers in words that fit a column."""

from __future__ import annotations

from collections.abc import Sequence

from ..measure.provenance import Measurement, require_one_kind


def millijoules(energy: Measurement | None) -> str:
    """``12.3``; ``-`` where there is none."""
    return "-" if energy is None else f"{energy.value * 1e3:.3g}"


def milliseconds(time: Measurement | None, spread: bool = False) -> str:
    """``12.3`` or ``12.3 [12.1, 12.9]`` with the quartiles; ``-`` where there is no reading."""
    if time is None:
        return "-"
    digits = 1 if time.value >= 0.1 else 2 if time.value >= 0.01 else 3
    text = f"{time.value * 1e3:.{digits}f}"
    return f"{text} [{time.low * 1e3:.{digits}f}, {time.high * 1e3:.{digits}f}]" if spread else text


def times_column(times: Sequence[Measurement | None], spread: bool = False) -> list[str]:
    """A column of times; refuses to mix kinds."""
    require_one_kind(times)
    return [milliseconds(time, spread) for time in times]


def ratio(value: Measurement | None, spread: bool = False) -> str:
    if value is None:
        return "-"
    text = f"{value.value:.2f}x"
    return f"{text} [{value.low:.2f}, {value.high:.2f}]" if spread else text


def each_joule(value: Measurement | None) -> str:
    """Quality per joule; ``-`` where there is none, as below its floor."""
    return "-" if value is None else f"{value.value:.3g}"


def error(value: float | None) -> str:
    return "-" if value is None else "0" if value == 0 else f"{value:.1e}"


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned columns under a rule; columns in `right` are flushed to the right."""
    widths = [max(len(line[i]) for line in (headers, *rows)) for i in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            c.rjust(w) if i in right else c.ljust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([line(headers), "  ".join("-" * w for w in widths), *(line(row) for row in rows)])


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """The same in markdown."""
    rule = ["---:" if i in right else "---" for i in range(len(headers))]
    cells = [[c.replace("|", "\\|") for c in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (list(headers), rule, *cells))
