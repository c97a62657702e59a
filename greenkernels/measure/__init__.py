"""One way to measure: contenders in turns, checked outputs, verdicts with intervals, rows that tell their origin."""

from .clock import Clock, ForeignLoad
from .compare import Comparison, compare_rounds
from .contender import Contender
from .kernel_sources import csrc_hash, hash_of_suite, kernel_facts
from .machine import checkout, machine_facts, source_facts, version_facts
from .provenance import Kind, Measurement, MixedKindsError, require_one_kind
from .rotation import relative_error, variations
from .rows import Row, Run, rows_from_turns
from .turns import Schedule, Turns, take_turns
from .work import Work

__all__ = [
    "Clock",
    "Comparison",
    "Contender",
    "ForeignLoad",
    "Kind",
    "Measurement",
    "MixedKindsError",
    "Row",
    "Run",
    "Schedule",
    "Turns",
    "Work",
    "checkout",
    "compare_rounds",
    "csrc_hash",
    "hash_of_suite",
    "kernel_facts",
    "machine_facts",
    "relative_error",
    "require_one_kind",
    "rows_from_turns",
    "source_facts",
    "take_turns",
    "variations",
    "version_facts",
]
