"""The ``bench`` command: runs benchmark suites and writes their rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import typer

from ..report.cases import by_machine
from .bench_table import table
from .kernel_sources import hash_of_suite
from .machine import checkout
from .merged import merge as merged_runs
from .progress import progress_bar
from .rows import Row, Run
from .selftest import a_against_a, layer, report
from .suite import FULL, QUICK, Case, CaseUnavailable, load_suite, run_case, suite_names
from .threads import thread_numbers

CACHES = {"warm": ["warm"], "cold": ["cold"], "both": ["warm", "cold"]}


@dataclass(frozen=True)
class Wish:
    """What to measure with: the options of the command."""

    quick: bool
    threads: list[int]
    caches: list[str]
    peers: bool
    case: str = ""
    done: list[Row] = field(default_factory=list)  # rows of an interrupted run that this one completes

    def jobs(self, cases: list[Case]) -> Iterator[tuple[Case, int, str]]:
        """Case, thread number and cache, without those that are done."""
        done = {(row.case, row.threads, row.cache) for row in self.done}
        for case in cases:
            for threads in self.threads:
                for cache in self.caches:
                    if (case.quick or not self.quick) and (case.name, threads, cache) not in done:
                        yield case, threads, cache


def bench(
    suites: Annotated[
        list[str] | None,
        typer.Argument(help="Stems of kernels or networks; default: all. With --merge: files or folders."),
    ] = None,
    quick: Annotated[bool, typer.Option(help="A few small cases, warm: shows that it works.")] = False,
    threads: Annotated[
        str, typer.Option(help="Thread numbers, as in 1,2. Default: one, and all cores.")
    ] = "",
    cache: Annotated[
        str, typer.Option(help="warm (weights and inputs used again), cold (from memory), or both.")
    ] = "both",
    case: Annotated[str, typer.Option(help="Only cases with this in their name.")] = "",
    peers: Annotated[bool, typer.Option(help="Also against the other software that is installed.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Full runs, each in a fresh process.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the rows; default: bench/results. With --merge: the file to write."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Measure nothing: put rows of many machines into one file.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="File of an interrupted run, to complete.")] = None,
    selftest: Annotated[bool, typer.Option(help="Only compare a layer with itself, 20 times.")] = False,
) -> None:
    """Measure kernels and networks against their rivals, in turns; one JSON file of rows a suite and run."""
    if selftest:
        compare_with_itself()
        return
    if merge:
        merge_rows([Path(source) for source in suites or []], out)
        return
    try:
        before = interrupted(resume) if resume else None
        names = [before.rows[0].suite] if before else suites or suite_names()
        loaded = {name: cases_named(case, load_suite(name)) for name in names}
        caches = ["warm"] if quick else caches_named(cache)
        wish = Wish(quick, thread_numbers(threads), caches, peers, case, before.rows if before else [])
    except (FileNotFoundError, ValueError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    folder = out or checkout() / "bench" / "results"
    if processes > 1:
        again(names, wish, processes, folder)
        return
    for name, cases in loaded.items():
        run_suite(name, cases, wish, resume or folder)
    rows = resume.parent if resume else folder
    typer.echo(f"all rows on one page: python -m greenkernels.report --rows {rows} --html bench.html")


def merge_rows(sources: list[Path], out: Path | None) -> None:
    """Write one file of all runs in the files and folders named, and say what is in it."""
    try:
        if out is None or out.suffix != ".json":
            raise ValueError(f"--merge needs --out FILE.json, got {out}")
        merged = merged_runs(sources)
    except ValueError as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    for words in merged.left_out:
        typer.echo(f"left out: {words}", err=True)
    for machine, runs in by_machine(merged.runs).items():
        rows = sum(len(run.rows) for run in runs)
        typer.echo(f"{machine}: {len(runs)} run(s), {rows} rows, {runs[0].date[:10]} to {runs[-1].date[:10]}")
    typer.echo(f"wrote {merged.save(out)}")
    typer.echo(f"all rows on one page: python -m greenkernels.report --rows {out} --html bench.html")


def run_suite(name: str, cases: list[Case], wish: Wish, target: Path) -> None:
    """Measure one suite, print its table and write its rows; those there are, if somebody interrupts.

    Args:
        target: a folder for a new file, or the file to complete.
    """
    rows, jobs, partial = list(wish.done), list(wish.jobs(cases)), False
    left_out: dict[str, str] = {}
    try:
        with progress_bar(name) as advance:
            for i, (case, threads, cache) in enumerate(jobs):

                def share(part: float, i: int = i, note: str = f"{case.name}, {cache}") -> None:
                    advance((i + part) / len(jobs), note)

                schedule = QUICK if wish.quick else FULL
                try:
                    rows += run_case(name, case, threads, schedule, share, wish.peers, cache == "cold")
                except CaseUnavailable as problem:
                    left_out[case.name] = str(problem)
    except KeyboardInterrupt:
        partial = True
    for case, why in left_out.items():
        typer.echo(f"{case} was left out: {why}", err=True)
    if rows:
        typer.echo(table(rows))
        run = Run.now(rows, partial)
        stamp = run.date.replace(":", "").replace("-", "").removesuffix("+0000")
        path = run.save(target if target.suffix == ".json" else target / f"{name}-{stamp}.json")
        typer.echo(f"wrote {path}")
        if partial:
            typer.echo(f"interrupted; the rest: greenkernels bench --resume {path}", err=True)
    if left_out and not rows:
        raise typer.Exit(1)
    if partial:
        raise typer.Exit(130)  # as a shell reports a program that was interrupted


def interrupted(path: Path) -> Run:
    """The run in that file.

    Raises:
        ValueError: it is complete, or it was measured with other kernels than those here.
    """
    run = Run.load(path)
    if not run.partial:
        raise ValueError(f"{path}: must be an interrupted run, and this one is complete")
    here, there = (hash_of_suite(facts, run.rows[0].suite) for facts in (Run.now([]).source, run.source))
    if there != here:
        raise ValueError(f"{path}: must come from the kernels of this checkout ({here}), got {there}")
    return run


def cases_named(text: str, cases: list[Case]) -> list[Case]:
    found = [case for case in cases if text in case.name]
    if not found:
        raise ValueError(f"--case must be a part of {', '.join(case.name for case in cases)}, got {text!r}")
    return found


def caches_named(name: str) -> list[str]:
    if name not in CACHES:
        raise ValueError(f"--cache must be one of {', '.join(CACHES)}, got {name!r}")
    return CACHES[name]


def compare_with_itself() -> None:
    torch.set_num_threads(1)  # threads that wait for a busy core would be what is measured
    with progress_bar("selftest") as advance:
        text, good = report(a_against_a(*layer(), progress=lambda share: advance(share, "")))
    typer.echo(text)
    if not good:
        raise typer.Exit(1)


def again(names: list[str], wish: Wish, processes: int, folder: Path) -> None:
    """The same run in fresh processes: page placement and clocks differ between processes, not within one."""
    command = [sys.executable, "-m", "greenkernels", "bench", *names, "--out", str(folder)]
    command += ["--threads", ",".join(map(str, wish.threads))]
    command += ["--case", wish.case, "--cache", "both" if len(wish.caches) > 1 else wish.caches[0]]
    command += [*(["--quick"] if wish.quick else []), *(["--peers"] if wish.peers else [])]
    for number in range(processes):
        typer.echo(f"run {number + 1} of {processes}")
        if subprocess.run(command, check=False).returncode != 0:
            raise typer.Exit(1)
