"""Joules beside every time: counts of what layers do, an analytic model, and a meter; each number with its kind."""

from .backends import DeviceReading, sources
from .breakdown import Estimate, estimate
from .counts import Counted, Counts, Uncounted, count
from .hardware_table import hardware, hardware_names
from .idle import idle_power
from .meter import EnergyMeter
from .model import Joules, joules, split_joules
from .per_call import EnergyPerCall, compare, measure
from .quality import Efficiency, efficiency

__all__ = [
    "Counted",
    "Counts",
    "DeviceReading",
    "Efficiency",
    "EnergyMeter",
    "EnergyPerCall",
    "Estimate",
    "Joules",
    "Uncounted",
    "compare",
    "count",
    "efficiency",
    "estimate",
    "hardware",
    "hardware_names",
    "idle_power",
    "joules",
    "measure",
    "sources",
    "split_joules",
]
