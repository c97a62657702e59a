"""The ``bench`` command: its options, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from ..report.cases import by_machine
from .agreement import compared
from .bench_run import Bench, Wish, again
from .kernel_sources import hash_of_suite
from .machine import checkout
from .merged import merge as merged_runs
from .progress import progress_bar
from .rows import Row, Run
from .selftest import a_against_a, layer, report
from .suite import Case, load_suite, suite_names
from .threads import thread_numbers

CACHES = {"warm": ["warm"], "cold": ["cold"], "both": ["warm", "cold"]}
MINUTES = {False: 54.0, True: 1.5}  # of a run of all suites, by whether it is a quick one


def bench(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            help="Stems of kernels or networks; default: all. With --merge and --compare: files or folders."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option(help="A few small cases, warm: shows that it works.")] = False,
    threads: Annotated[
        str, typer.Option(help="Thread numbers, as in 1,2. Default: one, and all cores.")
    ] = "",
    cache: Annotated[
        str, typer.Option(help="warm (weights and inputs used again), cold (from memory), or both.")
    ] = "both",
    case: Annotated[str, typer.Option(help="Only cases with this in their name.")] = "",
    every: Annotated[
        bool | None,
        typer.Option(
            "--all/--thinned",
            help="Every case of every sweep, or the few that show its shape. Default: all where suites or a case are "
            "named.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Fewer rounds a case where that is needed to end in time; 0: no end. Default: 54 for a run of all "
            "suites (quick: 1.5), else 0.",
        ),
    ] = None,
    peers: Annotated[bool, typer.Option(help="Also against the other software that is installed.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Full runs, each in a fresh process.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the rows; default: bench/results. With --merge: the file to write."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Measure nothing: put rows of many machines into one file.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Measure nothing: what changed beyond noise from one run to another."),
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="File of an interrupted run, to complete.")] = None,
    selftest: Annotated[bool, typer.Option(help="Only compare a layer with itself, 20 times.")] = False,
) -> None:
    """Measure kernels and networks against their rivals, in turns; one JSON file of rows a suite and run."""
    if selftest:
        compare_with_itself()
        return
    if merge or compare:
        paths = [Path(source) for source in suites or []]
        merge_rows(paths, out) if merge else compare_rows(paths)
        return
    try:
        before = interrupted(resume) if resume else None
        names = [before.rows[0].suite] if before else suites or suite_names()
        loaded = {name: cases_named(case, load_suite(name)) for name in names}
        caches = ["warm"] if quick else caches_named(cache)
        done = before.rows if before else []
        sweeps = bool(suites or case) or any_sweep(done, loaded) if every is None else every
        if minutes is None:
            minutes = 0.0 if suites or case or before or every else MINUTES[quick]
        wish = Wish(quick, thread_numbers(threads), caches, peers, case, sweeps, minutes, done)
    except (FileNotFoundError, ValueError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    folder = out or checkout() / "bench" / "results"
    left_out = sum(wish.left_out(cases) for cases in loaded.values())
    if left_out:
        typer.echo(f"left out: {left_out} cases of sweeps; --all measures them", err=True)
    status = (
        again(names, wish, processes, folder)
        if processes > 1
        else Bench(loaded, wish, resume or folder).all()
    )
    if status:
        raise typer.Exit(status)
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


def compare_rows(sources: list[Path]) -> None:
    """Print what changed between two runs; exit status 1 where one of ours became slower beyond noise."""
    try:
        if len(sources) != 2:
            raise ValueError(f"--compare needs two files or folders of rows, got {len(sources)}")
        text, regressions = compared(*sources)
    except ValueError as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None
    typer.echo(text)
    if regressions:
        raise typer.Exit(1)


def any_sweep(rows: list[Row], suites: dict[str, list[Case]]) -> bool:
    """Whether a case of a sweep is among them: then the run that they are of was of all cases."""
    return any(case.sweep for row in rows for case in suites[row.suite] if case.name == row.case)


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
