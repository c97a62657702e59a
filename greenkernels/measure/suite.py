"""Benchmark suites: what a file ``bench/test_bench_<name>.py`` offers, and how a case of it becomes rows."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from .ceilings import ceilings, joined
from .contender import Contender
from .copies import with_copies
from .machine import checkout, cold_bytes
from .provenance import Measurement
from .rotation import Arguments
from .rows import Row, describe, rows_from_turns
from .throttling import SLOWED
from .turns import FOREIGN_CORES, Schedule, Turns, take_turns
from .work import Work

PREFIX = "test_bench_"

FULL = Schedule(rounds=11, budget_s=4.0, drop_beyond=2.0)
QUICK = Schedule(rounds=3, budget_s=0.5)
COLD_ROUNDS = 7  # at most: nobody is dropped there, and copies have to be made
ATTEMPTS = 2  # at measuring a case without foreign load; the calmer one counts


@dataclass(frozen=True)
class Trial:
    """A case, ready to run.

    Attributes:
        contenders: rivals and ours; the first is the one that runs twice (A/A).
        arguments: one input.
        reference: the right output, in float64.
        tolerance: relative error beyond which a contender is thrown out.
        ours: names of the contenders that are this package's.
        extra: facts about the case, for the row.
        task: what rivals need to build the same work, one of `rivals.task`, or a function that gives it when rivals are
            asked for; None where no rival can take part.
        work: operations and bytes of one call, for contenders that do not say their own.
    """

    contenders: Sequence[Contender]
    arguments: Arguments
    reference: Callable[..., Any]
    tolerance: float
    ours: frozenset[str]
    extra: dict[str, object] = field(default_factory=dict)
    task: object | None = None
    work: Work | None = None


class CaseUnavailable(RuntimeError):
    """What a case needs cannot be had here; the message says what, and what to do. The other cases go on."""


@dataclass(frozen=True)
class Case:
    """A case by name; `prepare` builds it for the thread number that torch is set to, or raises CaseUnavailable."""

    name: str
    prepare: Callable[[], Trial]
    quick: bool = False  # also part of a quick run
    sweep: bool = False  # one of many points of a sweep: not part of a run of all suites, unless asked for
    caches: tuple[str, ...] = ("warm", "cold")  # where there are no copies to rotate over: warm alone


def suite_names() -> list[str]:
    """Suites of this checkout. Raises FileNotFoundError where there is none."""
    return sorted(path.stem.removeprefix(PREFIX) for path in _folder().glob(f"{PREFIX}*.py"))


def load_suite(name: str) -> list[Case]:
    """The cases of one suite.

    Raises:
        FileNotFoundError: this is no checkout.
        ValueError: no suite has that name.
    """
    path = _folder() / f"{PREFIX}{name}.py"
    if not path.is_file():
        raise ValueError(f"bench: suite must be one of {', '.join(suite_names())}, got {name!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return list(module.CASES)


def _folder() -> Path:
    root = checkout()
    if root is None:
        raise FileNotFoundError(
            "bench: the benchmarks need a source checkout (their cases are in its folder bench/), and this is an "
            "installed package; clone the repository and run `pip install -e .` in it"
        )
    return root / "bench"


def run_case(
    suite: str,
    case: Case,
    threads: int,
    schedule: Schedule,
    progress: Callable[[float], None] | None = None,
    peers: bool = False,
    cold: bool = False,
) -> list[Row]:
    """Rows of one case at one thread number; torch's thread number is set back afterwards.

    Args:
        peers: also every other software that is installed and can do the case's task; a row says why one is not in it.
        cold: rotate over copies of weights and inputs, so that no call finds them in a cache. All contenders that have
            copies get the same number of turns, for each one's copies push the others' out of the caches.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    if cold:
        schedule = replace(
            schedule, cold_bytes=cold_bytes(), drop_beyond=math.inf, rounds=min(schedule.rounds, COLD_ROUNDS)
        )
    try:
        trial, missing = with_rivals(case.prepare()) if peers else (case.prepare(), {})
        if cold:
            trial = replace(trial, contenders=[with_copies(contender) for contender in trial.contenders])
        turns = calmest(lambda: _turns_under_ceilings(trial, schedule, progress))
    finally:
        torch.set_num_threads(threads_before)
    facts = trial.extra | ({"rotated_bytes": turns.rotated_bytes} if cold else {})
    facts |= {"throttled_rounds": turns.throttled_rounds} if turns.throttled_rounds else {}
    facts |= {"slowdown": turns.slowdown} if turns.slowdown > SLOWED else {}
    rows = rows_from_turns(turns, suite, case.name, tuple(trial.ours), **facts)
    describe(rows, trial.contenders, trial.work)
    for row in rows:
        row.ceilings = turns.ceilings
    ran = {row.contender for row in rows}  # one of a rival's name may have been in the run without it
    for name, reason in missing.items():
        if name not in ran:
            reason = f"not in the run: {reason}"
            rows.append(Row(suite, case.name, name, False, None, threads, thrown_out=reason))
    for row in rows:
        row.cache = "cold" if cold else "warm"
    return rows


def with_rivals(trial: Trial) -> tuple[Trial, dict[str, str]]:
    """The trial with all rivals that can take part; and name -> why not, for the others."""
    if trial.task is None:
        return trial, {}
    from . import rivals

    found, missing = rivals.contenders(trial.task() if callable(trial.task) else trial.task)
    taken = {
        contender.name for contender in trial.contenders
    }  # a suite's own torch stands for the rivals' torch
    return replace(trial, contenders=[*trial.contenders, *(c for c in found if c.name not in taken)]), missing


def _turns_under_ceilings(
    trial: Trial, schedule: Schedule, progress: Callable[[float], None] | None
) -> Turns:
    before = ceilings()
    turns = _turns_of(trial, schedule, progress)
    after = ceilings()
    turns.slowdown, turns.ceilings = slowdown(before, after), joined(before, after)
    return turns


def _turns_of(trial: Trial, schedule: Schedule, progress: Callable[[float], None] | None) -> Turns:
    return take_turns(
        trial.contenders,
        trial.arguments,
        schedule,
        reference=trial.reference,
        tolerance=trial.tolerance,
        twin=trial.contenders[0].name,
        progress=progress,
    )


def slowdown(before: dict[str, Measurement], after: dict[str, Measurement]) -> float:
    """Part of the peak of multiply-adds that is lost after a case: cores were throttled, or shared with others."""
    if "fma" not in before or "fma" not in after:
        return 0.0
    return max(0.0, 1 - after["fma"].value / before["fma"].value)


def calmest(measure: Callable[[], Turns]) -> Turns:
    """Turns taken again while other processes were busy meanwhile or the machine lost much of its peak; after
    `ATTEMPTS`, those with the least of both.
    """
    taken: list[Turns] = []
    while len(taken) < ATTEMPTS:
        taken.append(measure())
        if (taken[-1].foreign_cores or 0.0) <= FOREIGN_CORES and taken[-1].slowdown <= SLOWED:
            break
    return min(taken, key=lambda turns: (turns.foreign_cores or 0.0) + turns.slowdown)
