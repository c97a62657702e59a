"""docs/coverage.md: the shares, and each line that no test ran with the reason for it."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import lines

from greenkernels.measure.machine import cpu_facts

PROMISED = 95.0  # percent of the lines of each
REASONS = Path(__file__).with_name("reasons.json")
NO_REASON = "**no reason known**"

HEAD = """# Line coverage

Which lines the tests run. `make coverage` counts them, writes this page and fails below {promised:g} %; the reasons
stand in `tools/coverage/reasons.json`.

| lines of | run by | counted by | lines | run | share |
|---|---|---|---|---|---|
| `csrc/cpu` | the C++ tests, at every instruction set of the machine | gcov | {cpp} |
| `greenkernels` | the Python tests, child processes included | coverage.py | {python} |

Counted on {date}, {machine}. A line of a kernel counts once, for all its copies: one that runs at any instruction set
has run. What only another machine can run is among the lines below.
"""


class Reason(NamedTuple):
    """Why lines do not run: of files like `files`, where a line of the run, or the one above it, matches `line`."""

    files: str
    line: str
    reason: str


def write(root: Path, cpp: lines.Lines, python: lines.Lines) -> int:
    """Writes the page; returns 1 if a share is unknown or below the promise or lines have no reason, else 0.

    What was not counted has no lines.
    """
    reasons = [Reason(**entry) for entry in json.loads(REASONS.read_text())]
    facts = cpu_facts()
    text = HEAD.format(
        promised=PROMISED,
        cpp=shares(cpp),
        python=shares(python),
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        machine=facts["name"],
    )
    for title, counted in (("csrc/cpu", cpp), ("greenkernels", python)):
        if counted:
            text += f"\n## Lines of {title} that no test runs\n\n| lines | why |\n|---|---|\n"
            text += "".join(f"{row}\n" for row in rows(root, counted, reasons))
    (root / "docs" / "coverage.md").write_text(text)
    unexplained = text.count(NO_REASON)
    enough = all(counted and lines.share(counted) >= PROMISED for counted in (cpp, python))
    print(f"csrc/cpu: {shares(cpp)}; greenkernels: {shares(python)}; {unexplained} unexplained")
    return int(not enough or unexplained > 0)


def shares(counted: lines.Lines) -> str:
    """The three last cells of a row of the first table."""
    if not counted:
        return "not counted | | "
    ran = [line for file in counted.values() for line in file.values()]
    return f"{len(ran):,} | {sum(ran):,} | {lines.share(counted):.1f} %"


def rows(root: Path, counted: lines.Lines, reasons: list[Reason]) -> Iterator[str]:
    """A row for all lines of one file that have the same reason."""
    for name, file in counted.items():
        source = (root / name).read_text().splitlines()
        of_reason: dict[str, list[str]] = {}
        for first, last in lines.missed(file):
            text = "\n".join(source[max(0, first - 2) : last])
            of_reason.setdefault(reason_for(name, text, reasons), []).append(
                str(first) if first == last else f"{first}-{last}"
            )
        for reason, spans in of_reason.items():
            yield f"| `{name}` {', '.join(spans)} | {reason} |"


def reason_for(name: str, text: str, reasons: list[Reason]) -> str:
    """The first that fits."""
    for reason in reasons:
        if fnmatch(name, reason.files) and re.search(reason.line, text, re.MULTILINE):
            return reason.reason
    return NO_REASON
