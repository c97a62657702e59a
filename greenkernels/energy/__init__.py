"""Joules beside every time: counts of what layers do, an analytic model, and a meter; each number with its kind."""

from .breakdown import Estimate, estimate
from .counts import Counted, Counts, Uncounted, count
from .hardware_table import hardware, hardware_names
from .meter import EnergyMeter
from .model import Joules, joules, split_joules
from .per_call import EnergyPerCall, measure
from .quality import Efficiency, efficiency

__all__ = [
    "Counted",
    "Counts",
    "Efficiency",
    "EnergyMeter",
    "EnergyPerCall",
    "Estimate",
    "Joules",
    "Uncounted",
    "count",
    "efficiency",
    "estimate",
    "hardware",
    "hardware_names",
    "joules",
    "measure",
    "split_joules",
]
