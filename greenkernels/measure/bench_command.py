"""The ``bench`` command: runs benchmark suites and writes their rows."""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from ..report.tables import error, milliseconds, ratio, text_table
from .machine import checkout
from .progress import progress_bar
from .rows import Row, Run
from .suite import FULL, QUICK, load_suite, run_case, suite_names
from .threads import thread_numbers


def bench(
    suites: Annotated[
        list[str] | None, typer.Argument(help="Stems of kernels or networks; default: all.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A few small cases, briefly: shows that it works.")] = False,
    threads: Annotated[
        str, typer.Option(help="Thread numbers, as in 1,2. Default: one, and all cores.")
    ] = "",
    processes: Annotated[int, typer.Option(min=1, help="Full runs, each in a fresh process.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for the rows; default: bench/results.")] = None,
) -> None:
    """Measure kernels and networks against their rivals, in turns; one JSON file of rows a suite and run."""
    try:
        names = suites or suite_names()
        loaded = {name: load_suite(name) for name in names}
        counts = thread_numbers(threads)
    except (FileNotFoundError, ValueError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    folder = out or checkout() / "bench" / "results"
    if processes > 1:
        again(names, quick, counts, processes, folder)
        return
    for name, cases in loaded.items():
        wanted = [case for case in cases if case.quick or not quick]
        rows: list[Row] = []
        with progress_bar(name) as advance:
            jobs = [(case, n) for case in wanted for n in counts]
            for i, (case, n) in enumerate(jobs):

                def report(share: float, i: int = i, note: str = case.name, of: int = len(jobs)) -> None:
                    advance((i + share) / of, note)

                rows += run_case(name, case, n, QUICK if quick else FULL, report)
        typer.echo(table(rows))
        run = Run.now(rows)
        stamp = run.date.replace(":", "").replace("-", "").removesuffix("+0000")
        typer.echo(f"wrote {run.save(folder / f'{name}-{stamp}.json')}")
    typer.echo(f"all rows on one page: python -m greenkernels.report --rows {folder} --html bench.html")


def again(names: list[str], quick: bool, counts: list[int], processes: int, folder: Path) -> None:
    """The same run in fresh processes: page placement and clocks differ between processes, not within one."""
    command = [sys.executable, "-m", "greenkernels", "bench", *names, "--out", str(folder)]
    command += ["--threads", ",".join(map(str, counts)), *(["--quick"] if quick else [])]
    for number in range(processes):
        typer.echo(f"run {number + 1} of {processes}")
        if subprocess.run(command, check=False).returncode != 0:
            raise typer.Exit(1)


def table(rows: list[Row]) -> str:
    """Every contender, the ratio against the fastest rival of its case; losses included."""
    lines = []
    for (case, threads), group in groupby(rows, key=lambda row: (row.case, row.threads)):
        of_case = list(group)
        rivals = [r for r in of_case if not r.ours and r.time_s and not r.thrown_out]
        best = min(rivals, key=lambda r: r.time_s.value, default=None)
        for row in sorted(of_case, key=lambda r: r.time_s.value if r.time_s else float("inf")):
            against = best.time_s / row.time_s if best and row.time_s else None
            note = row.thrown_out or ("noisy" if row.noisy else "")
            cells = (
                milliseconds(row.time_s, spread=True),
                ratio(against),
                error(row.max_relative_error),
                note,
            )
            lines.append((case, str(threads), row.contender, *cells))
    headers = ("case", "threads", "contender", "ms [quartiles]", "best rival / this", "error", "note")
    return text_table(headers, lines, right=(1, 3, 4, 5))
