"""Seconds and joules of a call: functions in turns, each for whole windows, the device synchronized at both ends.

Each is timed twice: launched one by one from Python, as an eager network calls it, and as a CUDA graph of many calls,
which leaves the CPU out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from greenkernels import energy
from greenkernels.measure import Clock

Functions = Mapping[str, Callable[[], object]]

GRAPH_CALLS = 20


@dataclass(frozen=True)
class Timing:
    """How long to measure.

    Attributes:
        window_s: of one reading; calls are repeated until it is full, so that launches and the clock do not count.
        rounds: readings of each function.
        energy_s: of a reading of the energy counter, which changes every 0.1 s or so.
    """

    window_s: float = 0.03
    rounds: int = 9
    energy_s: float = 2.0

    @classmethod
    def dry(cls) -> Timing:
        """One call of each, no energy."""
        return cls(0.0, 1, 0.0)


@dataclass(frozen=True)
class Graphed:
    """GRAPH_CALLS calls as one CUDA graph; what they return stays alive with it."""

    graph: torch.cuda.CUDAGraph
    outputs: list[object]

    def __call__(self) -> None:
        self.graph.replay()


def as_graphs(functions: Functions) -> dict[str, Graphed]:
    """Those that a CUDA graph can capture; none without a GPU."""
    found = {}
    for name, function in functions.items() if torch.cuda.is_available() else ():
        graph = torch.cuda.CUDAGraph()
        function()
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(graph):
                outputs = [function() for _ in range(GRAPH_CALLS)]
            graph.replay()
            torch.cuda.synchronize()
        except RuntimeError as problem:  # it waits for the device, as some of cuSPARSE's do
            print(f"{name}: launched one by one, a CUDA graph cannot hold it: {str(problem).splitlines()[0]}")
            continue
        found[name] = Graphed(graph, outputs)
    return found


def times(
    functions: Functions, timing: Timing, clock: Clock, graphs: Mapping[str, Graphed]
) -> dict[str, dict[str, float | int | None]]:
    """Name -> median and quartiles of the seconds of a call; by its graph where it has one, and ``eager_s`` without."""
    eager = _taken(functions, timing, clock)
    replayed = _taken(graphs, timing, clock)
    found = {}
    for name in functions:
        best = (
            {key: value / GRAPH_CALLS for key, value in replayed[name].items()}
            if name in graphs
            else eager[name]
        )
        found[name] = {**best, "eager_s": eager[name]["time_s"], "graph": name in graphs}
    return found


def joules(functions: Functions, timing: Timing, graphs: Mapping[str, Graphed]) -> dict[str, float]:
    """Name -> joules of a call by a counter of the GPU, where there is one; the model's are left out."""
    if not functions or not timing.energy_s:
        return {}
    run = {name: graphs.get(name, function) for name, function in functions.items()}
    found = energy.compare(run, min_seconds=timing.energy_s, trials=3)
    measured = {name: one.energy_j for name, one in found.items() if one.energy_j is not None}
    return {
        name: one.value / (GRAPH_CALLS if name in graphs else 1)
        for name, one in measured.items()
        if one.kind == "measured"
    }


def _taken(functions: Functions, timing: Timing, clock: Clock) -> dict[str, dict[str, float]]:
    """Name -> median and quartiles of the seconds of a call of each, in turns."""
    calls = {name: _calls(function, timing.window_s, clock) for name, function in functions.items()}
    readings: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(timing.rounds):
        for name, function in functions.items():
            readings[name].append(_window(function, calls[name], clock) / calls[name])
    return {name: _quartiles(found) for name, found in readings.items()}


def _calls(function: Callable[[], object], window_s: float, clock: Clock) -> int:
    """So many calls fill a window; twice as many are tried until they do."""
    _window(function, 1, clock)  # the first call compiles, loads and allocates
    calls = 1
    while (taken := _window(function, calls, clock)) < window_s:
        calls = max(2 * calls, int(calls * window_s / taken) if taken > window_s / 16 else 0)
    return calls


def _window(function: Callable[[], object], calls: int, clock: Clock) -> float:
    _wait()
    start = clock.now()
    for _ in range(calls):
        function()
    _wait()
    return clock.now() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _quartiles(found: list[float]) -> dict[str, float]:
    if len(found) == 1:
        return {"time_s": found[0], "time_low_s": found[0], "time_high_s": found[0]}
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return {"time_s": median, "time_low_s": low, "time_high_s": high}
