"""The results in the README: tables and figures between markers, made from committed rows, never by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..measure import kernel_facts
from ..measure.rows import Run
from . import gpu, plots
from .bench_plots import break_even_of
from .cases import Case, by_machine, cases_of, load_runs, require_measured, speedup_of, thread_words
from .files import write_whole
from .tables import error, markdown_table
from .verdicts import RUNS_OF_A_VERDICT, counted

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MIN_RUNS = 3  # full runs before a number may stand in the README
CACHES = ("cold", "warm")  # in this order, always: a real network finds its caches cold
NOTE = (
    "Milliseconds a call, medians over the runs: best rival → ours, then how many times as fast, with the slowest and "
    "the fastest run. The best rival is the fastest of all that ran. Cold: weights and maps rotate over 4x the last "
    "cache; `-` where no row has it yet. Layout conversions of whole networks are inside the time. Error: relative to "
    f"float64. wins: beyond noise over {RUNS_OF_A_VERDICT} runs or more; ahead: the same over fewer; loses: most runs "
    "do. [The exact rules](docs/results.md)."
)


@dataclass(frozen=True)
class Line:
    """One case at one thread number: cold and warm."""

    cold: Case | None
    warm: Case | None

    @property
    def caches(self) -> list[Case]:
        return [case for case in (self.cold, self.warm) if case is not None]

    @property
    def first(self) -> Case:
        """What counts: cold where it was taken."""
        return self.caches[0]

    @property
    def is_network(self) -> bool:
        """A whole network; its rows tell how many layers were replaced."""
        return any("replaced" in standing.last.extra for standing in self.first.standings)

    @property
    def is_sparse(self) -> bool:
        """A layer with zeros left out; its rows tell their share."""
        return any("zeros" in standing.last.extra for standing in self.first.standings)


def lines_of(cases: Sequence[Case]) -> list[Line]:
    """Cold and warm of each case side by side, in the order of the rows; only cases that both sides ran."""
    found: dict[tuple[object, ...], dict[str, Case]] = {}
    for case in cases:
        if case.ranked(ours=False) and any(s.ours for s in case.standings):
            found.setdefault((*case.key[:4],), {})[case.key.cache] = case
    return [Line(by_cache.get("cold"), by_cache.get("warm")) for by_cache in found.values()]


def results(folder: Path, root: Path) -> tuple[str, list[plots.Plot]]:
    """The text between the markers, and the figures that it shows.

    Raises:
        MixedKindsError: a time is not measured.
        ImportError: there are results, but no matplotlib to draw them.
    """
    sections, figures = [], []
    for machine, runs in by_machine(load_runs(folder)).items():
        cases = cases_of(runs, kernel_facts(root), MIN_RUNS)
        require_measured(cases)
        lines = lines_of(cases)
        if lines:
            drawn = _figures(machine, lines)
            figures += drawn
            sections += _section(machine, runs, lines, drawn)
    if sections:
        return "\n\n".join([*sections, NOTE]), figures
    text = (
        f"No results yet: a number stands here after {MIN_RUNS} full runs "
        f"(`greenkernels bench --processes {MIN_RUNS}`, then `python -m greenkernels.report`)."
    )
    return text, []


def _section(
    machine: str, runs: Sequence[Run], lines: Sequence[Line], figures: Sequence[plots.Plot]
) -> list[str]:
    """One machine: networks, a figure, layers."""
    newest = runs[-1]
    head = f"**{machine}**, torch {newest.versions['torch']}, float32, {newest.date[:10]}."
    if any(case.stale for line in lines for case in line.caches):
        head += " **Rows marked stale were taken with other kernels than those of this checkout.**"
    parts = [head]
    networks = [x for x in lines if x.is_network]
    layers = [x for x in lines if not x.is_network and not x.is_sparse]
    sparse = [x for x in lines if x.is_sparse]
    if networks:
        parts += [
            f"Whole networks ({counted(line.first.word for line in networks)}):",
            _table("network", networks),
        ]
    parts += [f"![{plot.alt}](docs/figures/{plot.name}.svg)" for plot in figures]
    for what, group in (("Single layers", layers), ("Sparse layers", sparse)):
        if group:
            summary = f"<summary>{what} ({counted(line.first.word for line in group)})</summary>"
            parts += [f"<details>\n{summary}", _table("layer", group), "</details>"]
    return parts


def _table(what: str, lines: Sequence[Line]) -> str:
    headers = [what, "threads", *(f"{cache}, ms: best rival → ours" for cache in CACHES), "ours", "error", ""]
    return markdown_table(headers, [_cells(line) for line in lines], right=(1,))


def _cells(line: Line) -> list[str]:
    best = line.first.best
    ours = best.contender.removeprefix("greenkernels ") if best else "-"
    key = line.first.key
    return [
        key.case if key.dtype == "float32" else f"{key.case} {key.dtype}",
        str(key.threads),
        *(_cell(case) for case in (line.cold, line.warm)),
        ours,
        error(best.error if best else None),
        ", ".join(_remarks(line)),
    ]


def _cell(case: Case | None) -> str:
    """``torch channels_last 282 → 146: 1.95x [1.79, 2.06] wins``."""
    if case is None:
        return "-"
    rival, best, ratio = case.rival or case.ranked(ours=False)[0], case.best, case.ratio()
    if best is None or ratio is None:
        return f"{rival.contender} {_ms(rival.time)} → none of ours is right"
    times = f"{rival.contender} {_ms(rival.time)} → {_ms(best.time)}"
    return f"{times}: {ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}] {case.word}"


def _ms(time: object) -> str:
    return f"{time.value * 1e3:.3g}"


def _remarks(line: Line) -> list[str]:
    remarks = ["stale"] if any(case.stale for case in line.caches) else []
    remarks += ["noisy"] if any(case.noisy for case in line.caches) else []
    best = line.first.best
    if best is not None and "relative_difference" in best.last.extra:
        remarks.append(f"differs from torch by {error(best.last.extra['relative_difference'])}")
    return remarks


def _figures(machine: str, lines: Sequence[Line]) -> list[plots.Plot]:
    """Speed-ups of every line, losing ones included: one figure a cache, one panel a thread number; for sparse layers
    where they break even in its place.
    """
    drawn = []
    for cache in CACHES:
        panels: dict[str, list[plots.SpeedUp]] = {}
        for line in sorted(lines, key=lambda line: not line.is_network):
            case = getattr(line, cache)
            if case is not None and case.ratio() is not None and not line.is_sparse:
                panels.setdefault(thread_words(case.key.threads), []).append(speedup_of(case))
        if panels:
            name = f"speed-ups-{cache}-{_slug(machine)}"
            drawn.append(plots.speed_ups(panels, name, f"Speed-up over the best rival, {cache}"))
    return drawn + _break_even(machine, lines)


def _break_even(machine: str, lines: Sequence[Line]) -> list[plots.Plot]:
    """One figure a cache and thread number."""
    drawn = []
    for cache in CACHES:
        cases = [case for line in lines if line.is_sparse and (case := getattr(line, cache)) is not None]
        for threads in sorted({case.key.threads for case in cases}):
            of_number = [case for case in cases if case.key.threads == threads]
            name = f"break-even-{cache}-{threads}-threads-{_slug(machine)}"
            title = f"Break-even of sparse layers, {thread_words(threads)}, {cache}"
            drawn += break_even_of(of_number, name, title)
    return drawn


def _slug(machine: str) -> str:
    """The machine as part of a file's name: ``intel-xeon-6-207-2``."""
    plain = re.sub(r"\((r|tm|s)\)|processor|cpu|family/model|core", " ", machine.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def write(root: Path, folder: Path) -> list[Path]:
    """Bring the README and its figures up to date; gives the files that changed.

    Raises:
        ValueError: the README has not exactly one pair of markers.
    """
    text, figures = results(folder, root)
    readme = root / "README.md"
    changed = [readme] if write_between_markers(readme, text) else []
    if gpu.BEGIN in readme.read_text(encoding="utf-8"):
        table = gpu.section(gpu.load(folder / gpu.FOLDER))
        if write_between_markers(readme, table, gpu.BEGIN, gpu.END) and not changed:
            changed.append(readme)
    for plot in figures:
        path, data = root / "docs" / "figures" / f"{plot.name}.svg", plot.svg.encode()
        if not path.is_file() or path.read_bytes() != data:
            changed.append(write_whole(path, data))
    return changed


def write_between_markers(readme: Path, text: str, begin: str = BEGIN, end: str = END) -> bool:
    """Put `text` between the markers; True if the file changed.

    Raises:
        ValueError: the file has not exactly one pair of markers.
    """
    old = readme.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{readme}: must have one {begin} and, after it, one {end}")
    before, _, rest = old.partition(begin)
    after = rest.partition(end)[2]
    new = f"{before}{begin}\n{text}\n{end}{after}"
    if new == old:
        return False
    write_whole(readme, new.encode())
    return True
