"""Whole networks: measure every layer with every kernel that fits, replace what wins, and say why the rest stays."""

from .convert import explain, restore
from .planner import optimize, plan
from .plans import LayerPlan, NetworkVerdict, Plan

__all__ = ["LayerPlan", "NetworkVerdict", "Plan", "explain", "optimize", "plan", "restore"]
