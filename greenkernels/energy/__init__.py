"""Joules beside every time: counts of what layers do, an analytic model, and a meter; each number with its kind."""

from .backends import DeviceReading, sources
from .breakdown import Estimate, estimate
from .calibration import Calibration, calibrate
from .counts import Counted, Counts, Uncounted, count
from .distributed import DistributedMeter, sum_over_ranks
from .hardware_table import hardware, hardware_names
from .idle import idle_power
from .links import Transfer, all_gather, all_reduce, transfer
from .meter import EnergyMeter
from .model import Joules, joules, split_joules
from .per_call import EnergyPerCall, compare, measure
from .processes import DistributedEnergy, ProcessEnergy
from .quality import Efficiency, efficiency
from .simulated import PtxCounts, simulated
from .training import EpochEnergy, TrainingMeter, lightning_callback, trainer_callback
from .units import carbon_g, cost_per_million, per_item, per_wh

__all__ = [
    "Calibration",
    "Counted",
    "Counts",
    "DeviceReading",
    "DistributedEnergy",
    "DistributedMeter",
    "Efficiency",
    "EnergyMeter",
    "EnergyPerCall",
    "EpochEnergy",
    "Estimate",
    "Joules",
    "ProcessEnergy",
    "PtxCounts",
    "TrainingMeter",
    "Transfer",
    "Uncounted",
    "all_gather",
    "all_reduce",
    "calibrate",
    "carbon_g",
    "compare",
    "cost_per_million",
    "count",
    "efficiency",
    "estimate",
    "hardware",
    "hardware_names",
    "idle_power",
    "joules",
    "lightning_callback",
    "measure",
    "per_item",
    "per_wh",
    "simulated",
    "sources",
    "split_joules",
    "sum_over_ranks",
    "trainer_callback",
    "transfer",
]
