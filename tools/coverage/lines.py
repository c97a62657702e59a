"""What gcov and coverage.py counted, as one form: of each file, each line that can run and whether it ran."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

Lines = dict[str, dict[int, bool]]  # file below the root, line number, whether it ran


def of_gcov(root: Path, build: Path, below: str) -> Lines:
    """What the programs of the folder ``build`` ran of the sources under ``below``.

    A line stands in several objects, once per instruction set and instance of a template: it ran if one of
    these did.
    """
    lines: defaultdict[str, dict[int, bool]] = defaultdict(dict)
    for counts in sorted(build.rglob("*.gcda")):
        command = ("gcov", "--json-format", "--stdout", str(counts))
        told = subprocess.run(command, cwd=build, capture_output=True, text=True, check=True).stdout
        for file in (file for text in told.splitlines() for file in json.loads(text)["files"]):
            path = (build / file["file"]).resolve()
            if not path.is_relative_to(root / below):
                continue
            of_file = lines[str(path.relative_to(root))]
            for line in file["lines"]:
                number = line["line_number"]
                of_file[number] = of_file.get(number, False) or line["count"] > 0
    return dict(sorted(lines.items()))


def of_coverage_py(root: Path, report: Path) -> Lines:
    """What ``coverage json`` wrote into ``report``."""
    files = json.loads(report.read_text())["files"]
    return {
        str(Path(name).resolve().relative_to(root)): {
            **dict.fromkeys(file["executed_lines"], True),
            **dict.fromkeys(file["missing_lines"], False),
        }
        for name, file in sorted(files.items())
    }


def share(lines: Lines) -> float:
    """Lines that ran, in percent of those that can."""
    ran = [line for file in lines.values() for line in file.values()]
    return 100 * sum(ran) / len(ran)


def missed(file: dict[int, bool]) -> Iterator[tuple[int, int]]:
    """First and last line of each run of lines of which none ran; lines that cannot run do not end one."""
    for ran, numbers in groupby(sorted(file), key=file.__getitem__):
        if not ran:
            run = list(numbers)
            yield run[0], run[-1]
