"""Joules beside every time: counts of what layers do, an analytic model, and a meter; each number with its kind."""

from .counts import Counted, Counts, count
from .model import Joules, joules, split_joules

__all__ = ["Counted", "Counts", "Joules", "count", "joules", "split_joules"]
