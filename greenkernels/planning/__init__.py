"""Whole networks: measure every layer with every kernel that fits, replace what wins, and say why the rest stays."""

from .api import optimize, plan
from .cache import CacheWarning
from .convert import explain, restore
from .exported import from_exported
from .plans import LayerPlan, NetworkVerdict, Plan

__all__ = [
    "CacheWarning",
    "LayerPlan",
    "NetworkVerdict",
    "Plan",
    "explain",
    "from_exported",
    "optimize",
    "plan",
    "restore",
]
