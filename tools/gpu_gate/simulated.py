"""The measures that only a run gives: bank conflicts and sectors, on the PTX simulator."""

from __future__ import annotations

from collections.abc import Iterable

from greenkernels.ptxsim import kernels
from greenkernels.ptxsim.device import Device
from greenkernels.ptxsim.launching import Report
from greenkernels.ptxsim.simulate_command import Layout, problem_of
from greenkernels.ptxsim.simulation import simulate

HOT = 0.05  # of what all lines of a launch move in accesses of one kind; lines with less are not looked at


def hot_lines(entry: dict) -> dict[str, float]:
    """Kind of access and source line -> wavefronts or sectors over the ideal ones, in one call of the entry's stem."""
    layout = Layout(entry["layout"]) if "layout" in entry else None
    problem = problem_of(entry["stem"], tuple(entry["sizes"]), layout)
    return ratios_of(simulate(Device(kernels.compiled(), races=False), problem).reports)


def ratios_of(launches: Iterable[Report]) -> dict[str, float]:
    """The same of these launches: the worst one where a line is hot in several of them."""
    ratios: dict[str, float] = {}
    for report in launches:
        total = report.statistics.total().traffic
        for line, counts in report.statistics.by_line().items():
            for kind, traffic in counts.traffic.items():
                if traffic.ratio is not None and traffic.units >= HOT * total[kind].units:
                    place = f"{kind} in {line}"
                    ratios[place] = max(ratios.get(place, 0.0), traffic.ratio)
    return ratios
