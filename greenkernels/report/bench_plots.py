"""The plots of one suite of benchmark rows: speed-ups cold beside warm, where sparse layers break even, errors, the
roofline, scaling with threads."""

from __future__ import annotations

from collections.abc import Sequence

from ..measure.provenance import Measurement
from . import plots
from .cases import Case, Standing, speedup_of, thread_words

CACHES = ("cold", "warm")
COMPUTE = {
    "float32": "fma",
    "bfloat16": "bf16",
    "int8": "vnni",
}  # the ceiling that bounds arithmetic in a type


def plots_of(suite: str, cases: Sequence[Case], number: int = 0) -> list[plots.Plot]:
    """Every plot that the rows have data for; `number` tells machines apart in the names."""
    drawn: list[plots.Plot] = []
    prefix = f"{suite}-{number}" if number else suite
    for threads in sorted({case.key.threads for case in cases}):
        mine = [case for case in cases if case.key.threads == threads]
        where = f"{prefix}-{threads}-threads"
        words = f"{suite}, {thread_words(threads)}"
        drawn += _speedups(mine, f"{where}-speed-ups", f"Speed-up, {words}")
        for dtype in dict.fromkeys(case.key.dtype for case in mine):
            of_type = [case for case in mine if case.key.dtype == dtype]
            drawn += _roofline(of_type, f"{where}-roofline-{dtype}", f"Roofline, {words}, {dtype}")
        for cache in CACHES:
            at_once = [case for case in mine if case.key.cache == cache]
            drawn += break_even_of(at_once, f"{where}-break-even-{cache}", f"Break-even, {words}, {cache}")
            drawn += _crossover(at_once, f"{where}-crossover-{cache}", f"Crossover, {words}, {cache}")
        drawn += _joules(mine, f"{where}-joules", f"Energy a call, {words}")
    drawn += _errors(cases, f"{prefix}-errors", f"Error against speed, {suite}")
    return drawn + _scaling(cases, f"{prefix}-scaling", f"Scaling, {suite}")


def _speedups(cases: Sequence[Case], name: str, title: str) -> list[plots.Plot]:
    """Cold beside warm, cold first."""
    panels = {
        cache: [speedup_of(case) for case in cases if case.key.cache == cache and case.ratio() is not None]
        for cache in CACHES
    }
    panels = {cache: rows for cache, rows in panels.items() if rows}
    return [plots.speed_ups(panels, name, title)] if panels else []


def break_even_of(cases: Sequence[Case], name: str, title: str) -> list[plots.Plot]:
    """Where linear layers break even, if rows tell that of any."""
    layers = break_even_layers(cases)
    return [plots.break_even(layers, name, title)] if layers else []


def break_even_layers(cases: Sequence[Case]) -> dict[str, dict[int, dict[float, float]]]:
    """Layer -> rows of its input -> share of zeros -> times as fast as the fastest dense contender."""
    layers: dict[str, dict[int, dict[float, float]]] = {}
    for case in cases:
        extra = case.standings[0].last.extra
        dense = [s for s in case.ranked(ours=False) if s.contender not in extra.get("sparse_rivals", ())]
        if "zeros" not in extra or len(extra["shape"]) != 3 or case.best is None or not dense:
            continue
        m, n, k = extra["shape"]
        of_batch = layers.setdefault(f"{k} to {n}", {}).setdefault(m, {})
        of_batch[extra["zeros"]] = (dense[0].time / case.best.time).value
    return {
        layer: found
        for layer, batches in layers.items()
        if (found := {m: of_batch for m, of_batch in batches.items() if len(of_batch) > 1})
    }


def _crossover(cases: Sequence[Case], name: str, title: str) -> list[plots.Plot]:
    """Of products of squares by several contenders of ours, which differ in how many multiplications they save."""
    contenders: dict[str, dict[int, float]] = {}
    for case in cases:
        sides = set(case.standings[0].last.extra.get("shape", ()))
        if len(sides) == 1 and case.name.startswith("square") and case.rival is not None:
            for standing in case.ranked(ours=True):
                contenders.setdefault(standing.contender, {})[sides.copy().pop()] = case.ratio(standing).value
    found = {who: contenders[who] for who in sorted(contenders) if len(contenders[who]) > 1}
    return [plots.crossover(found, name, title)] if len(found) > 1 else []


def _joules(cases: Sequence[Case], name: str, title: str) -> list[plots.Plot]:
    """The best of both sides, cold where it was taken, where their joules are of one kind."""
    pairs: dict[str, plots.JoulesPair] = {}
    for case in sorted(cases, key=lambda case: CACHES.index(case.key.cache), reverse=True):
        sides = [s.energy for s in (case.rival, case.best) if s is not None]
        if len(sides) == 2 and all(sides):
            pairs[case.name] = plots.JoulesPair(case.name, *sides)
    order = [pairs[name] for name in dict.fromkeys(case.name for case in cases) if name in pairs]
    of_kind = [pair for pair in order if {pair.rival.kind, pair.ours.kind} == {order[0].ours.kind}]
    return [plots.joules_a_call(of_kind, name, title)] if of_kind else []


def _errors(cases: Sequence[Case], name: str, title: str) -> list[plots.Plot]:
    """Every contender that was not thrown out, against the best rival of its case."""
    points = [
        plots.ErrorPoint(standing.contender, case.ratio(standing).value, standing.error)
        for case in cases
        for standing in case.ranked()
        if standing.error is not None and case.ratio(standing) is not None
    ]
    return [plots.error_against_speed(points, None, name, title)] if points else []


def _roofline(cases: Sequence[Case], name: str, title: str) -> list[plots.Plot]:
    """The best of both sides, where rows of one type count operations and bytes and ceilings were taken."""
    sides = [s for case in cases for s in (case.best, case.rival) if s is not None]
    counted = [s for s in sides if s.last.work and s.last.work.flops and s.last.work.bytes and s.time]
    compute, read = (_ceiling(counted, n) for n in (COMPUTE.get(cases[0].key.dtype, ""), "read"))
    if not counted or compute is None or read is None:
        return []
    return [plots.roofline([_point(s) for s in counted], compute, read, name, title)]


def _ceiling(standings: Sequence[Standing], name: str) -> Measurement | None:
    """The highest reading: a ceiling that was disturbed is too low, never too high."""
    found = [row.ceilings[name] for s in standings for row in s.rows.values() if name in row.ceilings]
    return max(found, key=lambda limit: limit.value, default=None)


def _point(standing: Standing) -> plots.RooflinePoint:
    work, seconds = standing.last.work, standing.time.value
    direct = None if work.direct_flops is None else work.direct_flops / seconds
    return plots.RooflinePoint(standing.contender, work.flops / work.bytes, work.flops / seconds, direct)


def _scaling(cases: Sequence[Case], name: str, title: str) -> list[plots.Plot]:
    """The best of ours and the best rival at each thread number, cold where it was taken."""
    numbers = sorted({case.key.threads for case in cases})
    cache = next((c for c in CACHES if any(case.key.cache == c for case in cases)), None)
    times: dict[str, dict[str, dict[int, float]]] = {"best of ours": {}, "best rival": {}}
    for case in cases:
        if case.key.cache == cache and case.best is not None and case.rival is not None:
            for who, standing in (("best of ours", case.best), ("best rival", case.rival)):
                times[who].setdefault(case.name, {})[case.key.threads] = standing.time.value
    contenders = {
        who: [t for t in by_case.values() if numbers[0] in t and len(t) > 1] for who, by_case in times.items()
    }
    contenders = {who: found for who, found in contenders.items() if found}
    return [plots.scaling(contenders, name, f"{title}, {cache}")] if contenders else []
