"""Runs the steps of docs/tutorial_winograd.md, and prints their table: time, speed, share of the peak, error.

``--write`` puts the table into the page. Close other programs first: it takes ten seconds.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path
from typing import Any

import torch

from greenkernels.measure.ceilings import ceilings
from greenkernels.measure.machine import cpu_facts
from greenkernels.report.readme import write_between_markers
from greenkernels.report.tables import markdown_table

PAGE = Path(__file__).resolve().parent / "tutorial_winograd.md"
BEGIN, END = "<!-- steps:begin -->", "<!-- steps:end -->"
HEADERS = ("step", "ms", "speed, GF/s", "share of the peak", "error")


def run_page() -> dict[str, Any]:
    """What the page's Python leaves behind."""
    names: dict[str, Any] = {"__name__": "page"}
    for code in re.findall(r"^```python[^\n]*\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)
    return names


def table(names: dict[str, Any], peak: float) -> str:
    """The steps as Markdown, and below it the machine and the date.

    Args:
        names: what `run_page` gives: "rows" of name, seconds, operations done, error; "FLOP" of the direct form.
        peak: operations a second.
    """
    rows = []
    for name, seconds, done, error in names["rows"]:
        speed, share = names["FLOP"] / seconds / 1e9, done / seconds / peak
        rows.append((name, f"{seconds * 1e3:.3g}", f"{speed:.3g}", f"{share:.1%}", f"{error:.1e}"))
    cpu, day = cpu_facts(), datetime.datetime.now(datetime.timezone.utc).date()
    where = (
        f"{cpu['name']} (family/model {cpu['family_model']}), one thread, peak {peak / 1e9:.0f} GF/s, {day}."
    )
    return f"{markdown_table(HEADERS, rows, right=(1, 2, 3, 4))}\n\n{where}"


def main() -> None:
    torch.set_num_threads(1)
    before = ceilings()["fma"].value
    names = run_page()
    made = table(names, max(before, ceilings()["fma"].value))
    print(made)
    if "--write" in sys.argv[1:]:
        write_between_markers(PAGE, made, BEGIN, END)


if __name__ == "__main__":
    main()
