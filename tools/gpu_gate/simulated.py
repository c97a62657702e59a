"""The measures that only a run gives: bank conflicts and sectors, on the PTX simulator."""

from __future__ import annotations

from importlib import import_module

from greenkernels.ptxsim import kernels
from greenkernels.ptxsim.device import Device
from greenkernels.ptxsim.simulation import simulate


def traffic_ratios(stem: str, sizes: list[int]) -> dict[str, float]:
    """Kind of access -> units over the ideal ones, over all launches of one call."""
    module = import_module(f"greenkernels.ptxsim.stems.{stem}")
    simulation = simulate(Device(kernels.compiled(), races=False), module.problem(tuple(sizes)))
    units: dict[str, list[int]] = {}
    for report in simulation.reports:
        for kind, traffic in report.statistics.total().traffic.items():
            known = units.setdefault(kind, [0, 0])
            known[0] += traffic.units
            known[1] += traffic.ideal
    return {kind: used / ideal for kind, (used, ideal) in units.items()}
