"""Rows of several runs put together, case by case: every contender's time over the runs, and the best on both sides."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..measure.compare import NOISE_FLOOR
from ..measure.kernel_sources import hash_of_suite
from ..measure.merged import runs_in
from ..measure.provenance import Kind, Measurement, require_one_kind
from ..measure.rows import Row, Run
from .plots import SpeedUp
from .verdicts import verdict


class Key(NamedTuple):
    """What makes two rows comparable."""

    suite: str
    case: str
    threads: int
    dtype: str
    cache: str


@dataclass(frozen=True)
class Standing:
    """One contender on one case.

    Attributes:
        contender: who.
        rows: number of the run -> its row.
    """

    contender: str
    rows: dict[int, Row]

    @property
    def last(self) -> Row:
        return self.rows[max(self.rows)]

    @property
    def ours(self) -> bool:
        return self.last.ours

    @property
    def thrown_out(self) -> str | None:
        """The first reason in any run: who was wrong once is not ranked."""
        return next((row.thrown_out for row in self.rows.values() if row.thrown_out is not None), None)

    @property
    def time(self) -> Measurement | None:
        """Median over the runs of each run's median; low and high are the fastest and the slowest run."""
        return _over_runs([row.time_s for row in self.rows.values()])

    @property
    def energy(self) -> Measurement | None:
        return _over_runs([row.energy_j for row in self.rows.values()])

    @property
    def error(self) -> float | None:
        errors = [row.max_relative_error for row in self.rows.values()]
        return max((e for e in errors if e is not None), default=None)

    def median_of(self, value: Callable[[Row], float | None]) -> float | None:
        """Median over the runs of something that a row tells; None where none does."""
        found = [v for v in map(value, self.rows.values()) if v is not None]
        return statistics.median(found) if found else None


def _over_runs(quantities: Iterable[Measurement | None]) -> Measurement | None:
    """One quantity from one a run. Raises MixedKindsError where runs differ in kind."""
    found = [q for q in quantities if q is not None]
    kind = require_one_kind(found)
    if kind is None:
        return None
    values = [q.value for q in found]
    return Measurement(
        statistics.median(values), found[0].unit, kind, min(values), max(values), tuple(values)
    )


@dataclass(frozen=True)
class Case:
    """All contenders on one case, over runs with the same kernels and the same torch.

    Attributes:
        key: what was run.
        standings: every contender, in the order of the rows.
        runs: number of runs.
        least: runs that a contender needs to be ranked.
        stale: the kernels have changed since.
    """

    key: Key
    standings: list[Standing]
    runs: int
    least: int
    stale: bool

    @property
    def name(self) -> str:
        return self.key.case

    def ranked(self, ours: bool | None = None) -> list[Standing]:
        """Who ran often enough and was never thrown out, fastest first."""
        found = [s for s in self.standings if s.thrown_out is None and s.time and len(s.rows) >= self.least]
        return sorted((s for s in found if ours in (None, s.ours)), key=lambda s: s.time.value)

    @property
    def best(self) -> Standing | None:
        """The fastest of ours."""
        return next(iter(self.ranked(ours=True)), None)

    @property
    def rival(self) -> Standing | None:
        """The fastest of all rivals, torch or any other library, that shared enough runs with the best of ours."""
        best = self.best
        rivals = (s for s in self.ranked(ours=False) if not best or len(self._pairs(s, best)) >= self.least)
        return next(rivals, None)

    def ratios(self, standing: Standing | None = None) -> list[float]:
        """Best rival / that contender (or the best of ours), run by run; empty where there is no rival."""
        standing = standing or self.best
        return [] if standing is None or self.rival is None else self._pairs(self.rival, standing)

    @staticmethod
    def _pairs(over: Standing, under: Standing) -> list[float]:
        runs = [n for n in over.rows if n in under.rows and over.rows[n].time_s and under.rows[n].time_s]
        return [(over.rows[n].time_s / under.rows[n].time_s).value for n in runs]

    def ratio(self, standing: Standing | None = None) -> Measurement | None:
        """The median of `ratios`; low and high are the worst and the best run."""
        ratios = self.ratios(standing)
        if not ratios:
            return None
        kind = (standing or self.best).time.kind
        return Measurement(statistics.median(ratios), "", kind, min(ratios), max(ratios), tuple(ratios))

    @property
    def band(self) -> float:
        """Relative noise: the median A/A noise of the runs, at least that of equal code."""
        noises = [row.noise for row in (self.best or self.standings[0]).rows.values()]
        return max(NOISE_FLOOR, statistics.median(noises))

    @property
    def noisy(self) -> bool:
        return any(row.noisy for standing in self.standings for row in standing.rows.values())

    @property
    def word(self) -> str:
        """The verdict, see `verdicts`; "" where one side is missing."""
        ratios = self.ratios()
        return verdict(ratios, self.band) if ratios else ""


def load_runs(folder: Path) -> list[Run]:
    """Every run in the folder, or in that file, oldest first; of one date, by name. Merged files hold several."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    return sorted((run for path in files for run in runs_in(path)), key=lambda run: run.date)


def machine_of(run: Run) -> str:
    """The machine in words; numbers of two machines are never put together."""
    cpu = run.machine["cpu"]
    return f"{cpu['name']} (family/model {cpu['family_model']}), {cpu['cores']} core(s)"


def by_machine(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(machine_of(run), []).append(run)
    return found


def cases_of(runs: Sequence[Run], current: Mapping | None, least: int) -> list[Case]:
    """Cases of one machine's runs, oldest run first, in the order of the rows.

    Only runs with the same kernels (`hash_of_suite`) and the same torch are put together: for each case the newest such
    set that holds at least `least` runs. A set of other kernels than the `current` ones makes the case stale.

    Args:
        runs: of one machine.
        current: `kernel_facts` of the checkout; None if unknown.
        least: runs that a case needs.
    """
    sets: dict[Key, dict[tuple[object, object], dict[int, list[Row]]]] = {}
    for number, run in enumerate(runs):
        for row in run.rows:
            source = (hash_of_suite(run.source, row.suite), run.versions["torch"])
            key = Key(row.suite, row.case, row.threads, row.dtype, row.cache)
            sets.setdefault(key, {}).setdefault(source, {}).setdefault(number, []).append(row)
    cases = []
    for key, by_source in sets.items():
        full = {source: rows for source, rows in by_source.items() if len(rows) >= least}
        if full:
            source = max(full, key=lambda source: max(full[source]))
            stale = current is not None and source[0] != hash_of_suite(current, key.suite)
            cases.append(Case(key, _standings(full[source]), len(full[source]), least, stale))
    return cases


def _standings(by_run: dict[int, list[Row]]) -> list[Standing]:
    rows: dict[str, dict[int, Row]] = {}
    for number, of_run in by_run.items():
        for row in of_run:
            found = rows.setdefault(row.contender, {})
            if number not in found or row.time_s is not None:  # the one that ran, if there are two of a name
                found[number] = row
    return [Standing(contender, found) for contender, found in rows.items()]


def require_measured(cases: Sequence[Case]) -> None:
    """Raises MixedKindsError unless every time is measured."""
    times = [s.time for case in cases for s in case.standings]
    require_one_kind([*times, Measurement(0.0, "s", Kind.MEASURED)])


def speedup_of(case: Case) -> SpeedUp:
    """The case as a row of a plot; its interval is that from the worst run to the best, its side is the verdict's."""
    remarks = [case.word, *(["noisy"] if case.noisy else []), *(["stale"] if case.stale else [])]
    side = {"wins": 1, "ahead": 1, "loses": -1}.get(case.word, 0)
    return SpeedUp(case.name, case.ratio(), case.band, ", ".join(remarks), side)


def thread_words(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
