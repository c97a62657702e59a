"""Fits the energy table to this machine by four micro-benchmarks; without a counter of energy, only their times.

E = P_static * t + e_flop * operations + e_L2 * bytes from L2 + e_DRAM * bytes from memory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .. import _build
from ..measure import ceilings
from ..measure.clock import Clock
from ..measure.machine import cold_bytes
from ..measure.provenance import Kind, Measurement
from ..measure.rows import write_json
from .backends import choose, sources
from .fit import non_negative_least_squares
from .hardware_table import Hardware, hardware
from .meter import EnergyMeter
from .per_call import GAPS_S
from .reuse import l2_bytes

WINDOW_S = 5.0
TRIALS = 5
UNKNOWNS = ("static watt", "operation", "L2 byte", "DRAM byte")
BASE = "server-cpu"  # whose other figures a calibrated table keeps


@dataclass(frozen=True)
class Load:
    """One micro-benchmark.

    Attributes:
        name: for people.
        run: one call; None for idling.
        operations, l2_bytes, dram_bytes: of one call.
    """

    name: str
    run: Callable[[], object] | None
    operations: float = 0.0
    l2_bytes: float = 0.0
    dram_bytes: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found.

    Attributes:
        rates: "operation" in op/s, "L2 byte" and "DRAM byte" in B/s, measured; a load that cannot run is left out.
        costs: J of each unknown (W for "static watt"), measured; None without a counter.
        residual: of the fit, as a share; None without a counter.
        source: of the joules; None without a counter.
        reason: why there is none.
    """

    rates: dict[str, Measurement]
    costs: dict[str, float] | None = None
    residual: float | None = None
    source: str | None = None
    reason: str = ""
    windows: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path, name: str) -> Path:
        """Write a hardware table for ``hardware=`` that has these costs and the other figures of `BASE`.

        Raises:
            ValueError: there are no costs.
        """
        if self.costs is None:
            raise ValueError(f"calibrate: there are no costs to save: {self.reason}")
        return write_json(path, _table(self, name))


def loads() -> list[Load]:
    """Idling, multiply-adds in registers, a walk through half of L2, a walk through memory; at torch's thread number.

    Raises:
        RuntimeError: there are no compiled kernels, whose loops these are.
    """
    if not _build.ensure_loaded():
        raise RuntimeError(
            "calibrate: needs the compiled kernels; `greenkernels doctor` says how to get them"
        )
    ops, threads = torch.ops.greenkernels, torch.get_num_threads()
    rounds = 1 << 20
    near = torch.ones(l2_bytes() // 2 * threads // 8, dtype=torch.int64)  # each thread walks through its part
    far = torch.ones(max(ceilings.CHUNK_BYTES, cold_bytes()) // 8, dtype=torch.int64)
    loop = "fma" if "fma" in ops.peak_loops().split(",") else ops.peak_loops().split(",")[0]
    return [
        Load("idle", None),
        Load(loop, lambda: ops.peak_loop(loop, rounds), operations=float(ops.peak_loop(loop, rounds))),
        Load("L2", lambda: ops.read_memory(near), l2_bytes=float(near.nbytes)),
        Load(
            "memory", lambda: ops.read_memory(far), l2_bytes=float(far.nbytes), dram_bytes=float(far.nbytes)
        ),
    ]


def calibrate(
    source: str | None = None,
    clock: Clock | None = None,
    micro_benchmarks: list[Load] | None = None,
    window_s: float = WINDOW_S,
    trials: int = TRIALS,
) -> Calibration:
    """Runs the micro-benchmarks in turns and fits costs to the energies of their windows.

    Args:
        source: name of a source of measured joules; default: the first counter that can be read.
        clock: tests put a synthetic one here.
        micro_benchmarks: see `loads`.
        window_s: length of a window.
        trials: windows of each.

    Raises:
        ValueError: no such source, or one of GPUs.
        RuntimeError: the source cannot read, or there are no compiled kernels.
    """
    clock, found = clock or Clock(), micro_benchmarks or loads()
    counter = choose(source, clock)
    if counter.device not in (None, "cpu"):
        raise ValueError(
            f"calibrate: its loads run on the processor, whose joules {counter.name} does not count"
        )
    if counter.counts_work:
        why = "; ".join(f"{name}: {reason}" for name, reason in sources(clock).items() if reason)
        rates = _rates([_window(load, clock, window_s / TRIALS, None) for load in found])
        return Calibration(rates, reason=f"no counter of energy can be read, so times only ({why})")
    meter = EnergyMeter(source=counter.name, clock=clock, watch=True)
    windows = []
    for _ in range(trials):
        for load in found:
            clock.sleep(GAPS_S[1])
            windows.append(_window(load, clock, max(window_s, meter.needed_s), meter))
            if meter.energy_j is None:
                return Calibration(_rates(windows), reason=meter.reason, windows=windows)
    costs, residual = non_negative_least_squares(
        [[w["seconds"], w["operations"], w["l2_bytes"], w["dram_bytes"]] for w in windows],
        [w["joules"] for w in windows],
    )
    return Calibration(
        _rates(windows),
        dict(zip(UNKNOWNS, costs, strict=True)),
        residual,
        counter.name,
        meter.reason,
        windows,
    )


def _window(load: Load, clock: Clock, seconds: float, meter: EnergyMeter | None) -> dict[str, float]:
    """Calls for that long: how much of everything it was."""
    if meter is not None:
        meter.__enter__()
    begin, calls = clock.now(), 0
    try:
        while clock.now() - begin < seconds:
            if load.run is None:
                clock.sleep(seconds)
            else:
                load.run()
            calls += 1
        spent = clock.now() - begin
    finally:
        if meter is not None:
            meter.__exit__(None, None, None)
    amounts = {name: calls * getattr(load, name) for name in ("operations", "l2_bytes", "dram_bytes")}
    joules = 0.0 if meter is None or meter.energy_j is None else meter.energy_j.value
    return {"seconds": spent, "joules": joules, **amounts}


def _rates(windows: list[Mapping[str, float]]) -> dict[str, Measurement]:
    """Amounts by second, each from the load that is made of it."""
    found = {}
    for what, name, other in (
        ("operation", "operations", ()),
        ("L2 byte", "l2_bytes", ("dram_bytes",)),
        ("DRAM byte", "dram_bytes", ()),
    ):
        of_it = [w[name] / w["seconds"] for w in windows if w[name] and not any(w[o] for o in other)]
        if of_it:
            unit = "op/s" if what == "operation" else "B/s"
            found[what] = Measurement.from_repeats(of_it, unit, Kind.MEASURED)
    return found


def _table(found: Calibration, name: str) -> dict[str, object]:
    """The figures of `BASE`, those that were fitted in their place; other types scaled as float32's operation is."""
    base: Hardware = hardware(BASE)
    told = f"fitted on this machine with {found.source}, residual {found.residual:.1%}"
    rows = []
    for figure in base.figures.values():
        verb, _, dtype = figure.what.partition(" ")
        is_operation = verb in ("add", "multiply")
        cost = (
            found.costs["operation" if is_operation else figure.what]
            if is_operation or figure.what in found.costs
            else None
        )
        row: dict[str, object] = {"what": figure.what}
        unit = "watts" if figure.unit == "W" else "joules"
        if cost:  # a cost of 0 is one that the fit could not tell from the others: the base's is kept
            ratio = figure.value / base.figures["add float32"].value if is_operation else 1.0
            row |= {unit: cost * ratio, "citation": told, "estimate": dtype != "float32" and is_operation}
        else:
            row |= {unit: figure.value, "low": figure.low, "high": figure.high, "citation": figure.citation}
        if figure.capacity_bytes is not None:
            row["capacity_bytes"] = figure.capacity_bytes
        rows.append(row)
    return {"name": name, "about": f"This machine: {told}; other figures from {BASE}", "rows": rows}
