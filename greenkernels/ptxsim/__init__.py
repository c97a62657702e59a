"""The PTX simulator: runs what nvcc compiled, on the CPU, and says what is wrong with it and what it costs.

``parse`` reads a PTX file, ``launch`` runs one of its kernels on numpy arrays. Every access is checked: bounds,
alignment, uninitialised memory, races; barriers for divergence and deadlock. An instruction that the
simulator does not know is refused by name. See docs/ptxsim.md.
"""

from .errors import (
    DeadlockError,
    DivergentBarrierError,
    LaunchError,
    MisalignedAccessError,
    OutOfBoundsError,
    PtxError,
    RaceError,
    RunawayError,
    UninitializedReadError,
    UnsupportedPtx,
)
from .instructions import opcodes
from .launching import Limits, Report, launch
from .parser import parse
from .program import Kernel, Module
from .races import Race
from .statistics import Counts, Statistics, Traffic

__all__ = [
    "Counts",
    "DeadlockError",
    "DivergentBarrierError",
    "Kernel",
    "LaunchError",
    "Limits",
    "MisalignedAccessError",
    "Module",
    "OutOfBoundsError",
    "PtxError",
    "Race",
    "RaceError",
    "Report",
    "RunawayError",
    "Statistics",
    "Traffic",
    "UninitializedReadError",
    "UnsupportedPtx",
    "launch",
    "opcodes",
    "parse",
]
