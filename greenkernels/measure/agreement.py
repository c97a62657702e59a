"""Two runs on one machine side by side: what became faster or slower beyond noise, and how far their ratios agree.

A contender is compared by its ratio to the fastest rival that both runs have, which ran in turns with it: the clock of
the machine cancels, where times alone would follow the weather.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..report.cases import Case, Key, Standing, by_machine, cases_of, load_runs, thread_words
from ..report.tables import text_table
from .compare import NOISE_FLOOR
from .provenance import Measurement
from .rows import Run

AGREES = 0.05  # relative difference of two ratios that are called the same
LONGEST = 40  # lines of one kind that are printed
HEADERS = ("suite", "case", "threads", "cache", "contender", "against", "before", "after", "change", "noise")


@dataclass(frozen=True)
class Change:
    """One contender on one case, in both runs.

    Attributes:
        key: the case.
        contender: who.
        ours: whether it is this package's.
        baseline: the rival that its times are divided by.
        before, after: time of the baseline / time of the contender: higher is better.
        band: relative noise of either run: the A/A noise, half of the quartiles' distance, at least `NOISE_FLOOR`.
        noisy: a row of either run is marked so.
    """

    key: Key
    contender: str
    ours: bool
    baseline: str
    before: float
    after: float
    band: float
    noisy: bool

    @property
    def ratio(self) -> float:
        return self.after / self.before

    @property
    def word(self) -> str:
        if 1 - self.band <= self.ratio <= 1 + self.band:
            return "same"
        return "slower" if self.ratio < 1 else "faster"

    @property
    def agrees(self) -> bool:
        return abs(self.ratio - 1) <= AGREES

    def cells(self) -> tuple[str, ...]:
        key, change = self.key, f"{self.ratio - 1:+.1%}{' (noisy)' if self.noisy else ''}"
        where = (key.suite, key.case, str(key.threads), key.cache, self.contender, self.baseline)
        return (*where, f"{self.before:.2f}x", f"{self.after:.2f}x", change, f"{self.band:.1%}")


def compared(before: Path, after: Path) -> tuple[str, int]:
    """What to print of two files or folders of rows, and how many of ours became slower, noisy rows aside.

    Raises:
        ValueError: a file cannot be read, or the two share no machine or no measurement.
    """
    found = changes(load_runs(before), load_runs(after))
    if not found:
        raise ValueError(
            f"{before} and {after}: must share a measurement of one machine beside a rival, got none"
        )
    ours = [change for change in found if change.ours]
    slower, faster = ([c for c in ours if c.word == word] for word in ("slower", "faster"))
    parts = [listed("slower", slower), listed("faster", faster)]
    parts += [f"{name}: {agreement(some)}" for name, some in (("ours", ours), ("all", found)) if some]
    counted = sum(not change.noisy for change in slower)
    parts.append(f"{counted} regression(s) beyond noise, noisy rows aside")
    return "\n".join(part for part in parts if part), counted


def changes(before: Sequence[Run], after: Sequence[Run]) -> list[Change]:
    """Every contender that both have on a case, beside the fastest rival of it that both have."""
    first, second = by_machine(before), by_machine(after)
    found: list[Change] = []
    for machine in first.keys() & second.keys():
        old = {case.key: case for case in cases_of(first[machine], None, least=1)}
        new = {case.key: case for case in cases_of(second[machine], None, least=1)}
        for key in old.keys() & new.keys():
            found += _of_case(old[key], new[key])
    return sorted(found, key=lambda change: (change.key, change.contender))


def _of_case(old: Case, new: Case) -> Iterator[Change]:
    after = {standing.contender: standing for standing in new.ranked()}
    both = [(s, after[s.contender]) for s in old.ranked() if s.contender in after]
    base = next((pair for pair in both if not pair[0].ours), None)
    if base is None:
        return
    for pair in both:
        if pair is base:
            continue
        ratios = [_ratio(b, s) for b, s in zip(base, pair, strict=True)]
        band = max([NOISE_FLOOR, old.band, new.band, *(_spread(s) for s in (*base, *pair))])
        names = (pair[0].contender, pair[0].ours, base[0].contender)
        yield Change(old.key, *names, *ratios, band, old.noisy or new.noisy)


def _ratio(baseline: Standing, standing: Standing) -> float:
    """Run by run where they shared runs, and the median of these."""
    runs = baseline.rows.keys() & standing.rows.keys()
    pairs = [(baseline.rows[n].time_s, standing.rows[n].time_s) for n in runs]
    ratios = [b.value / s.value for b, s in pairs if b and s]
    return statistics.median(ratios) if ratios else baseline.time.value / standing.time.value


def _spread(standing: Standing) -> float:
    """Half of the distance of the quartiles of its runs, relative to the median."""
    times: list[Measurement] = [row.time_s for row in standing.rows.values() if row.time_s is not None]
    return statistics.median((time.high - time.low) / 2 / time.value for time in times)


def listed(word: str, found: Sequence[Change]) -> str:
    """A table of them, those that changed most first."""
    if not found:
        return ""
    order = sorted(found, key=lambda change: -abs(change.ratio - 1))
    lines = text_table(HEADERS, [change.cells() for change in order[:LONGEST]], right=(2, *range(6, 10)))
    more = f"\n... and {len(order) - LONGEST} more" if len(order) > LONGEST else ""
    return f"{word} by more than noise:\n{lines}{more}\n"


def agreement(found: Sequence[Change]) -> str:
    """How many ratios agree within `AGREES`, for all and by cache and threads."""

    def share(some: Sequence[Change]) -> str:
        good = sum(change.agrees for change in some)
        return f"{good} of {len(some)} ({good / len(some):.1%})"

    groups: dict[str, list[Change]] = {}
    for change in found:
        groups.setdefault(f"{change.key.cache}, {thread_words(change.key.threads)}", []).append(change)
    parts = "; ".join(f"{name} {share(some)}" for name, some in sorted(groups.items()))
    return f"ratios that agree within {AGREES:.0%}: {share(found)}; {parts}"
