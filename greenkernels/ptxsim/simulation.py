"""A problem for a CUDA kernel, what simulating it gave, and the tables of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from rich.table import Table
from torch import Tensor

from ..energy.model import Joules
from ..energy.simulated import DEFAULT_GPU, simulated
from .bounds import GPUS, least_time_s
from .device import Device
from .launching import Report
from .statistics import Counts, Traffic, ratio_text


@dataclass(frozen=True)
class Problem:
    """One call of an op.

    Attributes:
        op: that is called.
        args: of its schema.
        exact: the result in float64.
        multiply_adds: that the result needs.
    """

    op: str
    args: tuple[Any, ...]
    exact: Tensor
    multiply_adds: int


def sizes_of(names: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """``sizes``, one for each of names like "MxNxK".

    Raises:
        ValueError: there are more or fewer.
    """
    if len(sizes) != len(names.split("x")):
        raise ValueError(f"sizes must be {names}, got {len(sizes)} of them")
    return sizes


def simulate(device: Device, problem: Problem) -> Simulation:
    """Runs a problem on a device.

    Raises:
        PtxError: a detector found something.
    """
    out, exact = device.run(problem.op, *problem.args), problem.exact
    size = exact.norm().item()
    error = (out.double() - exact).norm().item() / size if size else 0.0
    return Simulation(tuple(device.reports), error, problem.multiply_adds)


@dataclass(frozen=True)
class Simulation:
    """One call of a kernel on the simulator, with no report of any detector.

    Attributes:
        reports: one for each launch.
        error: ||out - exact|| / ||exact||, exact in float64.
        multiply_adds: that the result needs.
    """

    reports: tuple[Report, ...]
    error: float
    multiply_adds: int

    def joules(self) -> Joules:
        """Of all launches, kind simulated, every sector from DRAM; without static power.

        Raises:
            ValueError: the table lacks a figure for a type that a launch needs, or nothing was launched.
        """
        if not self.reports:
            raise ValueError("nothing was launched")
        return reduce(add, [simulated(report.statistics) for report in self.reports])

    def to_json(self) -> dict[str, Any]:
        """Counts of each launch, whole and by source line, bounds on the time, and joules, null where unknown."""
        try:
            joules = self.joules().to_json()
        except ValueError:
            joules = None
        return {
            "error": self.error,
            "joules": joules,
            "least_time_s": {name: least_time_s(self.reports, gpu) for name, gpu in GPUS.items()},
            "multiply_adds": self.multiply_adds,
            "launches": [
                {
                    "kernel": report.kernel.name,
                    "grid": report.shape.grid,
                    "block": report.shape.block,
                    "total": _counts_to_json(report.statistics.total()),
                    "lines": {
                        str(line): _counts_to_json(counts)
                        for line, counts in report.statistics.by_line().items()
                    },
                }
                for report in self.reports
            ],
        }


def tables(simulation: Simulation, most_lines: int) -> Iterable[Table]:
    """For each launch its totals and the source lines that issue most instructions; then bounds and joules of all."""
    for report in simulation.reports:
        yield _totals(report, simulation.multiply_adds)
        yield _lines(report, most_lines)
    yield _bounds(simulation.reports)
    yield _joules(simulation)


def _totals(report: Report, multiply_adds: int) -> Table:
    total = report.statistics.total()
    shape = f"{'x'.join(map(str, report.shape.grid))} blocks of {'x'.join(map(str, report.shape.block))}"
    table = Table(title=f"{report.kernel.name}\n{shape}", show_header=False)
    table.add_row("warp instructions", f"{total.issued:,}")
    if multiply_adds:
        per = 32 * total.issued / multiply_adds
        table.add_row("thread instructions per multiply-add", f"{per:.3f}")
    for opcode, counts in list(report.statistics.by_opcode().items())[:6]:
        table.add_row(f"  {opcode}", f"{counts.issued:,} ({counts.issued / total.issued:.1%})")
    for kind, traffic in sorted(total.traffic.items()):
        unit = "wavefronts" if kind.startswith("shared") else "sectors"
        text = f"{traffic.bytes:,} bytes, {traffic.units:,} {unit}, {ratio_text(traffic.ratio)}x the ideal"
        table.add_row(kind, text)
    return table


def _bounds(reports: tuple[Report, ...]) -> Table:
    table = Table(title="all launches, at the least, at boost clock (nothing was timed)", show_header=False)
    for name, gpu in GPUS.items():
        table.add_row(name, f">= {least_time_s(reports, gpu) * 1e6:.3g} us")
    return table


def _joules(simulation: Simulation) -> Table:
    head = (
        f"simulated energy, costs of the table {DEFAULT_GPU}, every sector from DRAM (nothing was measured)"
    )
    table = Table(title=head, show_header=False)
    try:
        joules = simulation.joules()
    except ValueError as problem:
        table.add_row("unknown", str(problem))
        return table
    for name, part in (("operations", joules.compute), ("memory", joules.memory), ("total", joules.total)):
        table.add_row(name, f"{part.value * 1e6:.3g} uJ [{part.low * 1e6:.3g}, {part.high * 1e6:.3g}]")
    return table


def _lines(report: Report, most: int) -> Table:
    table = Table(title="by source line (PTX: what ptxas makes of it is for the gate to say)")
    table.add_column("line", no_wrap=True)
    for name in ("issued", "share", "sectors", "x ideal", "wavefronts", "x ideal"):
        table.add_column(name, justify="right")
    lines = report.statistics.by_line()
    total = sum(counts.issued for counts in lines.values())
    for line, counts in sorted(lines.items(), key=lambda item: -item[1].issued)[:most]:
        sectors, wavefronts = (_merged(counts, space) for space in ("global", "shared"))
        table.add_row(
            str(line),
            f"{counts.issued:,}",
            f"{counts.issued / total:.1%}",
            *(f"{sectors.units:,}" if sectors.requests else "", ratio_text(sectors.ratio)),
            *(f"{wavefronts.units:,}" if wavefronts.requests else "", ratio_text(wavefronts.ratio)),
        )
    return table


def _merged(counts: Counts, space: str) -> Traffic:
    merged = Traffic()
    for kind, traffic in counts.traffic.items():
        if kind.startswith(space):
            merged = merged + traffic
    return merged


def _counts_to_json(counts: Counts) -> dict[str, Any]:
    traffic = {
        kind: {"requests": one.requests, "bytes": one.bytes, "units": one.units, "ideal": one.ideal}
        for kind, one in counts.traffic.items()
    }
    return {"threads": counts.threads, "issued": counts.issued, "traffic": traffic}
