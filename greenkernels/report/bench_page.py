"""The page of benchmark rows: every contender of every case, whoever won, was noisy, stale or thrown out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..measure.rows import Row, Run
from . import plots
from .bench_plots import plots_of
from .cases import Case, Standing, by_machine, cases_of, require_one_kind, thread_words
from .html import Page
from .tables import error, milliseconds
from .verdicts import counted

CACHES = ("cold", "warm")
COUNTS = (("Gop/s", "flops"), ("plain Gop/s", "direct_flops"))  # really done, and of the plain algorithm


def bench_page(
    runs: Sequence[Run], out: str | Path, current: Mapping | None = None, figures: str | Path | None = None
) -> list[Path]:
    """Write the page of these runs.

    Args:
        runs: oldest first; several machines get a section each.
        out: the HTML file; written whole or not at all.
        current: `kernel_facts` of the checkout; rows of other kernels are marked stale. None marks nothing.
        figures: a folder for each plot as SVG and PNG; None keeps them in the page alone.

    Returns:
        The files written, the page first. Without matplotlib there are no plots, and the page says so.

    Raises:
        MixedKindsError: quantities of different kinds would stand in one column.
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError("bench_page: there must be at least one run")
    page, drawn = Page("greenkernels benchmarks"), []
    machines = {
        machine: cases_of(of_machine, current, least=1) for machine, of_machine in by_machine(runs).items()
    }
    for machine, cases in machines.items():
        verdicts = counted(case.word for case in cases)
        page.text(
            f"{machine}: the best of ours against the best rival, {len(cases)} cases: {verdicts}.", "lead"
        )
    for number, (machine, cases) in enumerate(machines.items()):
        suites = dict.fromkeys(case.key.suite for case in cases)
        page.heading(machine)
        page.contents({f"{suite}-{number}": _entry(suite, cases) for suite in suites})
        _about(page, by_machine(runs)[machine])
        if any(case.stale for case in cases):
            page.text("What is stale: the kernels have changed since.", "warning")
        for suite in suites:
            page.heading(suite, 2, f"{suite}-{number}")
            drawn += _suite(page, suite, [case for case in cases if case.key.suite == suite], number)
    written = [page.save(Path(out))]
    return written + [path for plot in drawn if figures for path in plot.save(Path(figures))]


def _entry(suite: str, cases: Sequence[Case]) -> str:
    """``csr_matmul: 3 ahead, 1 lose``."""
    return f"{suite}: {counted(case.word for case in cases if case.key.suite == suite)}"


def _about(page: Page, runs: Sequence[Run]) -> None:
    rows = []
    for run in runs:
        commit = str(run.source.get("commit") or "-")[:12] + (
            " and changes" if run.source.get("dirty") else ""
        )
        facts = (run.versions.get("torch"), run.versions.get("python"), commit, run.source.get("csrc_hash"))
        suites = ", ".join(dict.fromkeys(row.suite for row in run.rows))
        rows.append((run.date[:16].replace("T", " "), suites, *(str(fact or "-") for fact in facts)))
    page.table(
        ("date, UTC", "suites", "torch", "python", "commit", "hash of csrc/"), rows, caption="Oldest first"
    )
    page.folded(f"{len(rows)} run(s)")


def _suite(page: Page, suite: str, cases: Sequence[Case], number: int) -> list[plots.Plot]:
    """Plots, then a table for each cache and thread number, cold first."""
    try:
        drawn = plots_of(suite, cases, number)
    except ImportError as missing:
        drawn = []
        page.text(f"No plots: {missing}.", "warning")
    for plot in drawn:
        page.plot(plot)
    for cache in CACHES:
        for threads in sorted({case.key.threads for case in cases}):
            chosen = [case for case in cases if (case.key.cache, case.key.threads) == (cache, threads)]
            if chosen:
                _table(page, f"{suite}, {cache}, {thread_words(threads)}", chosen)
    return drawn


def _table(page: Page, caption: str, cases: Sequence[Case]) -> None:
    """One row a contender, fastest first within its case; columns that nobody fills are left out."""
    pairs = [(case, standing) for case in cases for standing in _in_order(case)]
    columns: dict[str, list[str]] = {
        "case": [case.name for case, _ in pairs],
        "contender": [standing.contender for _, standing in pairs],
        "ms [range over runs]": [milliseconds(s.time, spread=len(s.rows) > 1) for _, s in pairs],
        "best rival / this": [_against(case, s) for case, s in pairs],
        "error": [error(s.error) for _, s in pairs],
    }
    require_one_kind([s.time for _, s in pairs])
    columns |= _amounts([s for _, s in pairs])
    columns["note"] = [_note(case, s) for case, s in pairs]
    styles = ["loses" if case.word == "loses" and s is case.best else "" for case, s in pairs]
    right = [i for i, name in enumerate(columns) if name not in ("case", "contender", "note")]
    page.table(list(columns), list(zip(*columns.values(), strict=True)), right, caption, styles)
    page.points(list(dict.fromkeys(_who(s) for _, s in pairs)))
    page.folded("contenders with their versions and flags")


def _in_order(case: Case) -> list[Standing]:
    return sorted(case.standings, key=lambda s: s.time.value if s.time else float("inf"))


def _who(standing: Standing) -> str:
    """The contender with version and flags."""
    facts = (standing.last.version, standing.last.flags)
    return " · ".join([standing.contender, *(fact for fact in facts if fact)])


def _against(case: Case, standing: Standing) -> str:
    if standing.thrown_out is not None:
        return "-"
    ratio = case.ratio(standing)
    return (
        f"{ratio.value:.2f}x"
        if len(ratio.repeats) == 1
        else f"{ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]"
    )


def _amounts(standings: Sequence[Standing]) -> dict[str, list[str]]:
    """Columns of speeds, shares of ceilings and joules, where the rows have them."""
    columns: dict[str, list[str]] = {}
    for heading, field in COUNTS:
        rates = [s.median_of(_rate(field)) for s in standings]
        columns[heading] = ["-" if rate is None else f"{rate / 1e9:.3g}" for rate in rates]
    for ceiling in dict.fromkeys(name for s in standings for name in s.last.ceilings):
        shares = [s.median_of(lambda row, c=ceiling: row.share_of(c)) for s in standings]
        columns[f"% of {ceiling}"] = ["-" if share is None else f"{share:.0%}" for share in shares]
    energies = [s.energy for s in standings]
    for kind in dict.fromkeys(
        energy.kind for energy in energies if energy is not None
    ):  # a column holds one kind
        cells = [e.value if e is not None and e.kind is kind else None for e in energies]
        columns[f"J ({kind.value})"] = ["-" if cell is None else f"{cell:.3g}" for cell in cells]
    return {heading: cells for heading, cells in columns.items() if any(cell != "-" for cell in cells)}


def _rate(field: str) -> Callable[[Row], float | None]:
    """Operations a second by that count of the row's work."""

    def of(row: Row) -> float | None:
        amount = getattr(row.work, field) if row.work else None
        return amount / row.time_s.value if amount is not None and row.time_s else None

    return of


def _note(case: Case, standing: Standing) -> str:
    notes = [f"thrown out: {standing.thrown_out}"] if standing.thrown_out else []
    if standing is case.best:
        notes.append(case.word)
    if standing is case.rival:
        notes.append("best rival")
    if any(row.noisy for row in standing.rows.values()):
        notes.append("noisy")
    if case.stale:
        notes.append("stale")
    if len(standing.rows) < case.runs:
        notes.append(f"{len(standing.rows)} of {case.runs} runs")
    return ", ".join(note for note in notes if note)
