"""Runs what the bench command was asked for: suite by suite, job by job, and keeps rows whatever ends it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import typer

from .bench_table import table
from .clock import Clock
from .pace import Pace
from .progress import Advance, progress_bar
from .rows import Row, Run
from .stopping import Stopped, stops
from .suite import FULL, QUICK, Case, CaseUnavailable, run_case

SAVE_EVERY_S = 20.0  # so much of a run is lost at most where the process is killed


@dataclass(frozen=True)
class Wish:
    """What to measure with: the options of the command."""

    quick: bool
    threads: list[int]
    caches: list[str]
    peers: bool
    case: str = ""
    sweeps: bool = True  # every case of a sweep, and not only the few that show its shape
    minutes: float = 0.0  # for everything; 0: as long as it takes
    done: list[Row] = field(default_factory=list)  # rows of an interrupted run that this one completes

    def jobs(self, cases: Sequence[Case]) -> Iterator[tuple[Case, int, str]]:
        """Case, thread number and cache, without those that are done."""
        done = {(row.case, row.threads, row.cache) for row in self.done}
        for case in cases:
            if self.wants(case):
                for threads in self.threads:
                    for cache in self.caches:
                        if cache in case.caches and (case.name, threads, cache) not in done:
                            yield case, threads, cache

    def wants(self, case: Case) -> bool:
        return case.quick if self.quick else self.sweeps or not case.sweep

    def left_out(self, cases: Sequence[Case]) -> int:
        """Cases of sweeps that this run does without."""
        return 0 if self.quick else sum(not self.wants(case) for case in cases)


class Bench:
    """One run over suites. Its rows are in the files that it has written, also where it was ended early."""

    def __init__(self, suites: dict[str, list[Case]], wish: Wish, target: Path) -> None:
        """``target`` is a folder for new files, or the file to complete."""
        self.suites, self.wish, self.target = suites, wish, target
        self.jobs = {name: list(wish.jobs(cases)) for name, cases in suites.items()}
        count = sum(map(len, self.jobs.values()))
        self.pace = Pace(count, wish.minutes * 60 or float("inf"))
        self.count, self.done = count, 0

    def all(self) -> int:
        """Measure, print and write; returns the exit status."""
        bare = []
        with stops(), progress_bar("bench") as advance:
            for number, name in enumerate(self.suites, 1):
                if self.pace.up:
                    waiting = " ".join(list(self.suites)[number - 1 :])
                    typer.echo(f"the time is up; not measured: greenkernels bench {waiting}", err=True)
                    return 0
                where = f"{name} ({number} of {len(self.suites)})"
                typer.echo(f"{where}: {len(self.jobs[name])} measurements, {self.pace.words()}", err=True)
                status, rows = self.suite(name, advance)
                if status:
                    return status
                bare += [name] if not rows and self.jobs[name] else []
        return 1 if len(bare) == len(self.suites) else 0

    def suite(self, name: str, advance: Advance) -> tuple[int, int]:
        """Measure one suite, print its table and write its rows. Exit status and number of rows."""
        run = Run.now(self.wish.done, partial=True)
        path, status, rows, left_out = self.file_of(name, run), 0, list(self.wish.done), {}
        clock, complete = Clock(), False
        saved = clock.now()
        try:
            complete = True
            for case, threads, cache in self.jobs[name]:
                if self.pace.up:
                    complete = False
                    break
                try:
                    rows += self.job(name, case, threads, cache, advance)
                except CaseUnavailable as problem:
                    left_out[case.name] = str(problem)
                if clock.now() - saved > SAVE_EVERY_S:
                    replace(run, rows=rows).save(path)
                    saved = clock.now()
        except (Stopped, KeyboardInterrupt) as stop:
            complete, status = (
                False,
                getattr(stop, "status", 130),
            )  # as a shell reports a program that was stopped
        for case, why in left_out.items():
            typer.echo(f"{case} was left out: {why}", err=True)
        if rows:
            typer.echo(table(rows))
            typer.echo(f"wrote {replace(run, rows=rows, partial=not complete).save(path)}")
            if not complete:
                why = "interrupted" if status else "the time is up"
                typer.echo(f"{why}; the rest: greenkernels bench --resume {path}", err=True)
        return status, len(rows)

    def job(self, suite: str, case: Case, threads: int, cache: str, advance: Advance) -> list[Row]:
        """The rows of one case at one thread number, warm or cold."""
        note = f"{suite}: {case.name}, {cache}, {threads} threads"
        schedule = self.pace.schedule(QUICK if self.wish.quick else FULL)

        def share(part: float) -> None:
            advance((self.done + part) / self.count, note)

        try:
            return run_case(suite, case, threads, schedule, share, self.wish.peers, cache == "cold")
        finally:
            self.done += 1
            self.pace.done()

    def file_of(self, name: str, run: Run) -> Path:
        if self.target.suffix == ".json":
            return self.target
        stamp = run.date.replace(":", "").replace("-", "").removesuffix("+0000")
        return self.target / f"{name}-{stamp}.json"


def again(names: Sequence[str], wish: Wish, processes: int, folder: Path) -> int:
    """The same run in fresh processes: page placement and clocks differ between processes, not within one.

    Returns:
        The exit status of the first that failed, or 0. A process that is told to stop tells the one that it waits for.
    """
    command = [sys.executable, "-m", "greenkernels", "bench", *names, "--out", str(folder)]
    command += ["--threads", ",".join(map(str, wish.threads)), "--minutes", str(wish.minutes)]
    command += ["--case", wish.case, "--cache", "both" if len(wish.caches) > 1 else wish.caches[0]]
    flags = {"--quick": wish.quick, "--peers": wish.peers}
    command += [flag for flag, wanted in flags.items() if wanted] + ["--all" if wish.sweeps else "--thinned"]
    for number in range(processes):
        typer.echo(f"run {number + 1} of {processes}")
        with subprocess.Popen(command) as process:
            try:
                with stops():
                    status = process.wait()
            except Stopped as stop:
                process.terminate()
                process.wait()  # it writes what it has
                return stop.status
        if status != 0:
            return status
    return 0
